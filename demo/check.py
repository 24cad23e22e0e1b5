"""Is the demo's output what it should be: every frame at its time, every face unrecognisable?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from kinemask.video import VideoReader

from demo.photographs import Mask, Rgb
from demo.scene import scene_frame

BLURRED_BELOW = 0.5
"""A face counts as blurred if less than this share of its detail is left."""


@dataclass(frozen=True)
class Timing:
    """When the frames of a video are shown."""

    times_s: tuple[float, ...]
    """Seconds, one a frame."""

    def differs_from(self, other: Timing, tolerance_s: float = 0.001) -> str:
        """What is different, for a person; empty if nothing is."""
        if len(self.times_s) != len(other.times_s):
            return f"{len(self.times_s)} frames in, {len(other.times_s)} out"
        for index, (one, two) in enumerate(zip(self.times_s, other.times_s, strict=True)):
            if abs(one - two) > tolerance_s:
                return f"frame {index} is at {one:.4f} s in, at {two:.4f} s out"
        return ""


def timing_of(video: Path) -> Timing:
    """Read a whole video for its frames' times.

    Raises:
        VideoError: it cannot be read.
    """
    return Timing(tuple(frame.time_s for frame in VideoReader(video)))


def detail_left(clip: Path, output: Path) -> Iterator[float]:
    """For each frame of the made clip: the share of the face's detail that the output still has.

    The detail is the mean size of the Laplacian inside the true face. 1 is untouched, 0 is flat.
    """
    pairs = zip(VideoReader(clip), VideoReader(output), strict=True)
    for index, (before, after) in enumerate(pairs):
        face = scene_frame(index).face
        yield _detail(after.image, face) / _detail(before.image, face)


def _detail(image: Rgb, region: Mask) -> float:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    return float(edges[region].mean())
