"""The engines that can run here, as packages and weights allow."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from kinemask_chassis.weights.absent import (
    AbsentModel,
    absent_models,
    damaged_model,
    in_order,
    install_hint,
)
from kinemask_chassis.weights.checkpoints import PICKLES, SAFETENSORS, Checkpoint, present

from kinemask_captioner.engines.registry import AnyEngine, EngineSet
from kinemask_captioner.settings import CaptionerSettings

SERVICE, ENGINE = "captioner", "transformers"
FAMILIES = {
    "BlipForConditionalGeneration": "blip",
    "Florence2ForConditionalGeneration": "florence2",
    "SmolVLMForConditionalGeneration": "smolvlm",
}
"""From what a checkpoint's config says to the family of its engine."""
_NEEDS = ("torch", "torchvision", "transformers", "PIL")

_log = structlog.get_logger(__name__)


def installed_engines(settings: CaptionerSettings) -> EngineSet:
    """One engine for each checkpoint in the models' folder, and what the known others lack."""
    found = present(settings.models_dir, SERVICE, FAMILIES, (SAFETENSORS, PICKLES))
    install = install_hint(_NEEDS, "kinemask-captioner[transformers]")
    absent = absent_models(SERVICE, ENGINE, found, install)
    if install:
        return EngineSet(absent=absent)
    engines, damaged = _engines(found, settings.captioner_device)
    return EngineSet(engines, in_order(SERVICE, [*damaged, *absent]))


def _engines(found: Sequence[Checkpoint], device: str) -> tuple[list[AnyEngine], list[AbsentModel]]:
    if not found:
        return [], []
    # Imported here: it loads torch, which takes seconds and may not be installed.
    from kinemask_captioner.engines.hf.engine import TransformersEngine

    engines: list[AnyEngine] = []
    damaged = []
    for one in found:
        try:
            engines.append(TransformersEngine(one, FAMILIES[one.architecture], device))
        except ValueError as error:
            _log.error("model_damaged", model=one.name, why=str(error))
            damaged.append(damaged_model(one, ENGINE, error))
    return engines, damaged
