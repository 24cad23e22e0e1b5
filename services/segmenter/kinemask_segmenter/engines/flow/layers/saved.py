"""Layers as JSON and arrays, and back, for a stream's snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from kinemask_segmenter.engines.flow.layers.layers import Layers
from kinemask_segmenter.engines.flow.layers.pose import Pose
from kinemask_segmenter.engines.flow.layers.template import Template

Array = NDArray[np.generic]

_PATCHES = ("mean", "spread", "inside", "hidden")


class TemplateHeader(BaseModel):
    """What of a template is no array."""

    object_id: int
    corner_xy: tuple[int, int]
    pose: tuple[float, float, float, float]
    pace: tuple[float, float, float, float]
    frames: int
    strange_frames: int
    held: bool
    shown: bool = False
    """Snapshots of before it was known have none."""


class LayersHeader(BaseModel):
    """What of all layers is no array."""

    templates: list[TemplateHeader]
    order: list[tuple[int, int, float]]


def put_layers(layers: Layers, arrays: dict[str, Array]) -> LayersHeader:
    """Add the arrays under the objects' ids; the rest is returned."""
    return LayersHeader(
        templates=[_put(key, item, arrays) for key, item in layers.templates.items()],
        order=[(*pair, side) for pair, side in layers.order.items()],
    )


def take_layers(header: LayersHeader, arrays: Mapping[str, Array]) -> Layers:
    """What `put_layers` put.

    Raises:
        KeyError: an array is missing.
    """
    templates = {item.object_id: _take(item, arrays) for item in header.templates}
    return Layers(templates, {(one, other): side for one, other, side in header.order})


def _put(key: int, item: Template, arrays: dict[str, Array]) -> TemplateHeader:
    patches = item.mean, item.spread, item.inside, item.hidden
    arrays.update({f"{key}/{n}": each for n, each in zip(_PATCHES, patches, strict=True)})
    if item.edge is not None:
        arrays[f"{key}/edge"] = item.edge
    return TemplateHeader(
        object_id=key,
        corner_xy=item.corner_xy,
        pose=astuple(item.pose),
        pace=astuple(item.pace),
        frames=item.frames,
        strange_frames=item.strange_frames,
        held=item.edge is not None,
        shown=item.shown,
    )


def _take(item: TemplateHeader, arrays: Mapping[str, Array]) -> Template:
    key = item.object_id
    mean, spread, inside, hidden = (arrays[f"{key}/{n}"].astype(np.float32) for n in _PATCHES)
    edge = arrays[f"{key}/edge"].astype(np.float32) if item.held else None
    return Template(
        item.corner_xy,
        mean,
        spread,
        inside,
        hidden,
        Pose(*item.pose),
        Pose(*item.pace),
        item.frames,
        item.strange_frames,
        edge,
        item.shown,
    )
