"""Every number that steers the flow engine, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FlowConfig:
    """Lengths are pixels of the working image unless the name says otherwise."""

    work_area_px: int = 420_000
    """Frames with more pixels than this are worked on at reduced size (854x480 is not reduced)."""
    flow_area_px: int = 105_000
    """Optical flow runs at no more than this many pixels."""
    retained_frames: int = 32
    """How many recent frames can still be prompted, where a stream asks for no number."""
    max_retained_frames: int = 256
    """As many as a stream may ask for; up to 2 MB each."""

    prior_softness_px: float = 6.0
    """Distance from the carried contour over which the prior gains one unit of log-odds."""
    prior_clip: float = 3.0
    prior_weight: float = 1.5
    colour_clip: float = 4.0
    """Largest log-odds the classifier may claim."""
    search_px: int = 40
    """How far from the carried mask the object may appear on the next frame."""
    cut_step: int = 2
    """The contour is drawn at one part in this many of the working size."""

    prompt_samples: int = 6000
    recent_samples: int = 1500
    recent_banks: int = 6
    recent_every: int = 3
    """Frames between two additions to the short-term memory."""
    initial_steps: int = 400
    initial_rate: float = 5e-3
    steps_per_frame: int = 6
    rate: float = 1.5e-3
    batch: int = 1024
    hidden: tuple[int, int] = (32, 16)
    feature_noise: float = 0.15
    light_jitter: float = 0.2
    label_smoothing: float = 0.03

    lost_area_fraction: float = 0.04
    """An object smaller than this part of its usual area counts as gone."""
    found_fraction: float = 0.35
    """Part of the last known box that must look like the object for it to count as back."""
    search_growth: float = 0.06
    """How fast the window of the search for a lost object grows, in its own sizes per frame."""
