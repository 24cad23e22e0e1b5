"""What galleries call the models."""

from __future__ import annotations

from kinemask_faces.engines.base import FaceModelInfo
from kinemask_faces.gallery.records import ModelKey
from kinemask_faces.runner import ModelRunner


def key_of(info: FaceModelInfo) -> ModelKey:
    """Of a model."""
    return ModelKey(info.name, info.revision, info.dimensions)


def key_of_runner(runner: ModelRunner) -> ModelKey:
    """Of the model that a thread runs."""
    return key_of(runner.model.info)
