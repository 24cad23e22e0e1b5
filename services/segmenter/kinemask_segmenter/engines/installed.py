"""The engines that can run here, as settings, packages and weights allow."""

from __future__ import annotations

import importlib.util

from kinemask_segmenter.engines.base import SegmenterEngine
from kinemask_segmenter.engines.flow import FlowEngine
from kinemask_segmenter.engines.registry import AbsentModel, EngineSet
from kinemask_segmenter.engines.sam2.checkpoints import KNOWN, Checkpoint, present
from kinemask_segmenter.settings import SegmenterSettings

_NEEDS = ("torch", "torchvision", "sam2")
_INSTALL = "pip install 'kinemask-segmenter[sam2]'"
_PULL = "kinemask models pull {name}"
# Named where its code cannot be imported to ask it.
_SMALLEST = "sam2.1-hiera-tiny"


def installed_engines(settings: SegmenterSettings) -> EngineSet:
    """SAM 2 where its packages and weights are here, then flow.

    Raises:
        ValueError: a checkpoint was named and cannot be used, or weights are not what was pinned.
    """
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        why = f"{', '.join(missing)} not installed: {_INSTALL}"
        if settings.sam2_checkpoint is not None:
            raise ValueError(f"KINEMASK_SAM2_CHECKPOINT is set, but {why}")
        absent = [AbsentModel(_SMALLEST, "sam2", why)]
        return EngineSet([FlowEngine()], f"auto chose flow: no SAM 2, {why}", absent)
    sam2, absent = _sam2_engines(settings)
    if sam2:
        return EngineSet([*sam2, FlowEngine()], f"auto chose {sam2[0].info.name}", absent)
    notice = "auto chose flow: no SAM 2 weights are on this machine"
    return EngineSet([FlowEngine()], f"{notice}; {_PULL.format(name=_SMALLEST)}", absent)


def _sam2_engines(
    settings: SegmenterSettings,
) -> tuple[list[SegmenterEngine], list[AbsentModel]]:
    found = present(settings.models_dir)
    if settings.sam2_checkpoint is not None:
        path = settings.sam2_checkpoint
        found.insert(0, Checkpoint(path.stem, path.absolute(), settings.sam2_config, None))
    here = {checkpoint.name for checkpoint in found}
    absent = [
        AbsentModel(
            known.name,
            "sam2",
            f"no weights in {settings.models_dir}: {_PULL.format(name=known.name)}",
        )
        for known in KNOWN
        if known.name not in here
    ]
    return [_sam2_engine(checkpoint, settings) for checkpoint in found], absent


def _sam2_engine(checkpoint: Checkpoint, settings: SegmenterSettings) -> SegmenterEngine:
    # Imported here: it loads torch, which takes seconds and may not be installed.
    from kinemask_segmenter.engines.sam2.buckets import CompileOptions
    from kinemask_segmenter.engines.sam2.engine import Sam2Config, Sam2Engine

    config = Sam2Config(
        device=settings.sam2_device,
        input_size_px=settings.sam2_input_size_px,
        retained_frames=settings.sam2_retained_frames,
        max_retained_frames=max(settings.sam2_retained_frames, settings.sam2_max_retained_frames),
        device_frames=settings.sam2_device_frames,
        max_conditioning=settings.sam2_max_conditioning,
        cached_pictures=settings.sam2_cached_pictures,
        tier=settings.sam2_tier,
        precision=settings.sam2_precision,
        compiled=CompileOptions() if settings.sam2_compile == "on" else None,
        max_batch=settings.sam2_max_batch,
    )
    return Sam2Engine(checkpoint, config)
