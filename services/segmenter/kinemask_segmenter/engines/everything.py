"""What is asked of a whole picture, whatever the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EverythingOptions:
    """Which masks of a whole picture to keep."""

    points_per_side: int = 32
    score_threshold: float = 0.8
    """Least rating by the model itself, 0..1."""
    stability_threshold: float = 0.95
    """Least IoU of the masks at a stricter and a looser cut-off, 0..1."""
    overlap_threshold: float = 0.7
    """Of two masks whose boxes overlap by more than this IoU the better stays."""
    min_area_px: int = 0
