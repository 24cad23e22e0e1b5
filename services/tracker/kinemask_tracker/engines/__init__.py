"""Tracking engines by name."""

from __future__ import annotations

from kinemask_tracker.engines.base import (
    Detections,
    FrameTracks,
    Observation,
    Track,
    Tracker,
    TrackState,
)
from kinemask_tracker.engines.bytetrack import ByteTracker
from kinemask_tracker.engines.config import TrackerConfig, TrackerSettings
from kinemask_tracker.engines.kinetrack import KineTracker
from kinemask_tracker.engines.ocsort import OcSortTracker
from kinemask_tracker.engines.sort import SortTracker

__all__ = [
    "DEFAULT",
    "Detections",
    "FrameTracks",
    "Observation",
    "Track",
    "TrackState",
    "Tracker",
    "TrackerConfig",
    "TrackerSettings",
    "algorithm_names",
    "create_tracker",
]

DEFAULT = KineTracker.name
_TRACKERS = {t.name: t for t in (KineTracker, SortTracker, ByteTracker, OcSortTracker)}


def create_tracker(name: str = "auto", config: TrackerConfig | None = None) -> Tracker:
    """A new tracker; `auto` is the default algorithm.

    Raises:
        ValueError: there is no algorithm of that name.
    """
    kind = _TRACKERS.get(DEFAULT if name == "auto" else name)
    if kind is None:
        raise ValueError(f"expected one of auto, {', '.join(_TRACKERS)}, got {name!r}")
    return kind(config or TrackerConfig())


def algorithm_names() -> tuple[str, ...]:
    """Names that `create_tracker` takes besides `auto`, the default first."""
    return (DEFAULT, *(name for name in _TRACKERS if name != DEFAULT))
