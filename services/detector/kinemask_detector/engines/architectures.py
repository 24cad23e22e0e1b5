"""Which class runs which kind of checkpoint, without loading any.

A checkpoint's `config.json` names an architecture; a class for it takes a `Checkpoint` and a device
and gives a `DetectorEngine` that is a `Loadable`. Other packages add theirs by entry points of the
group `kinemask_detector.architectures`, each named after an architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any, TypeAlias, cast

from kinemask_chassis.weights.checkpoints import Checkpoint

from kinemask_detector.engines.base import DetectorEngine

GROUP = "kinemask_detector.architectures"
EngineClass: TypeAlias = Callable[[Checkpoint, str], DetectorEngine[Any, Any]]

_HF = "kinemask_detector.engines.hf"
_SOFTMAX = f"{_HF}.closed_set:SoftmaxDetector"
_FOCAL = f"{_HF}.closed_set:FocalDetector"
_OURS = {
    "GroundingDinoForObjectDetection": f"{_HF}.grounding_dino:GroundingDino",
    "MMGroundingDinoForObjectDetection": f"{_HF}.grounding_dino:GroundingDino",  # LLMDet
    "OmDetTurboForObjectDetection": f"{_HF}.omdet_turbo:OmDetTurbo",
    "OwlViTForObjectDetection": f"{_HF}.owlv2:OwlVit",
    "Owlv2ForObjectDetection": f"{_HF}.owlv2:Owlv2",
    "DetrForObjectDetection": _SOFTMAX,
    "TableTransformerForObjectDetection": _SOFTMAX,
    "YolosForObjectDetection": _SOFTMAX,
    "ConditionalDetrForObjectDetection": _FOCAL,
    "DFineForObjectDetection": _FOCAL,
    "DabDetrForObjectDetection": _FOCAL,
    "DeformableDetrForObjectDetection": _FOCAL,
    "LwDetrForObjectDetection": _FOCAL,
    "RTDetrForObjectDetection": _FOCAL,
    "RTDetrV2ForObjectDetection": _FOCAL,
    "RfDetrForObjectDetection": _FOCAL,
}


def architectures() -> dict[str, metadata.EntryPoint]:
    """By the name that a config gives, where the class is. Registered ones replace ours."""
    ours = {name: metadata.EntryPoint(name, value, GROUP) for name, value in _OURS.items()}
    return ours | {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


def engine_of(
    checkpoint: Checkpoint, device: str, entry: metadata.EntryPoint
) -> DetectorEngine[Any, Any]:
    """The engine of a checkpoint; loads its class, and with it torch.

    Raises:
        ValueError, OSError: its files are damaged.
    """
    return cast(EngineClass, entry.load())(checkpoint, device)
