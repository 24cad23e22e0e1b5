"""What a caller may set of a tracker."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class TrackerConfig:
    """What a caller may set; None leaves a field at the algorithm's own value.

    Raises:
        ValueError: a count is negative or a threshold is outside 0..1.
    """

    min_hits: int | None = None
    """Detections after the first that confirm a track."""
    max_lost_frames: int | None = None
    """How long a track outlives its last sight, in frames. Where the detector runs on every k-th
    frame a track still survives up to two missed runs."""
    high_score: float | None = None
    """Detections from this score on are associated first."""
    low_score: float | None = None
    """Detections below this score are ignored."""
    new_track_score: float | None = None
    """A detection from this score on may start a track."""
    min_iou: float | None = None
    """Least overlap of a track's predicted box with its detection."""
    class_aware: bool = True
    """Whether labels separate tracks. When False a track keeps its first label."""

    def __post_init__(self) -> None:
        for name in ("min_hits", "max_lost_frames"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"expected {name} of at least 0, got {value}")
        for name in ("high_score", "low_score", "new_track_score", "min_iou"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"expected {name} within 0..1, got {value}")


@dataclass(frozen=True)
class TrackerSettings:
    """A `TrackerConfig` with every field decided."""

    min_hits: int
    max_lost_frames: int
    high_score: float
    low_score: float
    new_track_score: float
    min_iou: float
    class_aware: bool = True

    def overridden(self, config: TrackerConfig) -> TrackerSettings:
        """These settings with the fields that `config` gives in their place."""
        given = {f.name: getattr(config, f.name) for f in fields(config)}
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return TrackerSettings(**(kept | {k: v for k, v in given.items() if v is not None}))
