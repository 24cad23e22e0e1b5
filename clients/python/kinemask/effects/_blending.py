"""How colours get onto planes: by weights, which say how much of each sample is replaced."""

import cv2
import numpy as np

from kinemask.effects._painters import line_opacity, outline_px
from kinemask.effects._planes import Plane, Planes, Samples, any_of_block, mean_of_block
from kinemask.effects._region import Weights
from kinemask.effects._weights import Soft


def outline(planes: Planes, region: Soft, samples: Samples, intensity: float) -> None:
    """A line along the inner side of a region's edge; its width goes by the intensity."""
    opacity = line_opacity(region.inside, outline_px(intensity, *planes.y.shape))
    blend_samples(planes, region, samples, opacity, mean_of_block(opacity))


def fill(planes: Planes, region: Soft, samples: Samples) -> None:
    """One colour over a region; where its edge is hard, no trace of what was there."""
    chroma_weights = region.chroma_weights()
    if not region.hard:
        blend_samples(planes, region, samples, region.weights, chroma_weights)
        return
    weights = (region.weights, chroma_weights, chroma_weights)
    for part, sample, share in zip(parts(planes, region), samples, weights, strict=True):
        cv2.copyTo(np.full(part.shape, sample, np.uint8), share, part)


def blend_samples(
    planes: Planes, region: Soft, samples: Samples, weights: Weights, chroma_weights: Weights
) -> None:
    """One colour to the share of `weights`, on chroma of `chroma_weights` (255: wholly)."""
    shares = (weights, chroma_weights, chroma_weights)
    for part, sample, share in zip(parts(planes, region), samples, shares, strict=True):
        blend(part, np.full(part.shape, sample, np.uint8), share, hard=False)


def parts(planes: Planes, region: Soft) -> tuple[Plane, Plane, Plane]:
    """What of the planes lies in a region's window, as views."""
    return region.luma(planes.y), region.chroma(planes.u), region.chroma(planes.v)


def kept_chroma(region: Soft) -> Weights:
    """What of a block's colour is kept: no more than of any of its pixels."""
    given_up: Weights = 255 - region.weights
    return 255 - any_of_block(given_up)


def blend(target: Plane, source: Plane, weights: Weights, hard: bool) -> None:
    """Write `source` into `target` to the share of `weights` (255: wholly). All of one size."""
    if hard:
        cv2.copyTo(source, weights, target)
        return
    share = weights.astype(np.float32)
    target[:] = cv2.blendLinear(source, target.copy(), share, 255 - share)


def look_up(plane: Plane, goal: int, share: float) -> None:
    """Move every sample of a plane towards a goal, which it reaches at share 0."""
    table = np.rint(goal + (np.arange(256) - goal) * share)
    cv2.LUT(plane, np.clip(table, 0, 255).astype(np.uint8), plane)
