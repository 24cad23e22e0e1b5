"""Where a template lies on the next frame.

Gauss-Newton on the lightness with robust weights (Baker and Matthews, "Lucas-Kanade 20 years on",
IJCV 56, 2004; weights of Geman and McClure), for a shift, growth and turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kinemask_segmenter.engines.flow.follow import Bools
from kinemask_segmenter.engines.flow.layers.pose import Pose, to_patch
from kinemask_segmenter.engines.flow.layers.template import Template, slopes
from kinemask_segmenter.engines.flow.pixels import Floats

_ROUNDS = 12
_ENOUGH = 0.01
_FEWEST_PIXELS = 30
_LITTLE = 0.04
"""Part of an object in sight below which nothing can be said of where it is."""
_ENOUGH_TO_TURN = 0.2
"""Part of an object in sight below which only its shift is looked for."""
_MOST_MISFIT = 12.0
"""Robust difference of lightness above which what was found is something else."""
_STIFF = 0.02
"""How much growth and turn are held back, as part of what the pixels say of them."""
_GOOD_MISFIT = 4.0
"""What is left of quiet video's noise: no other pose would be better."""
_PACE_RATE = 0.3
_BEYOND = -1000.0


@dataclass(frozen=True)
class Fit:
    """A pose and how well it explains the frame."""

    pose: Pose
    misfit: float
    """Robust mean of the lightness's difference; infinite where too little is in sight."""


def follow(
    template: Template, lightness: Floats, mask: Bools | None, shift_xy: tuple[float, float]
) -> None:
    """Move a template to where its picture is on the next frame.

    Where too little of it is in sight to say, or what is found there is unlikely, it goes on as it
    went.

    Args:
        lightness: `(H, W)` of the whole frame, 0..255.
        mask: `(H, W)` where the object is, if nothing touches it.
        shift_xy: by how much what is seen of it moved, in pixels.
    """
    pace = template.pace
    going_on = template.pose.plus(pace)
    share = _share_in_sight(template)
    if share >= _LITTLE:
        moved = template.pose.plus(Pose(*shift_xy))
        starts = [going_on, moved, template.pose, *_centred(template, mask)]
        fit = align(template, lightness, starts)
        if fit.misfit <= _MOST_MISFIT:
            newest = fit.pose.minus(template.pose)
            rate = 1.0 if pace == Pose() else _PACE_RATE
            template.pace = Pose(
                pace.x + rate * (newest.x - pace.x), pace.y + rate * (newest.y - pace.y)
            )
            template.pose = fit.pose
            return
    template.pose, template.pace = going_on, pace


def _centred(template: Template, mask: Bools | None) -> list[Pose]:
    """The pose that lays the middle of the template's mask on that of the frame's."""
    if mask is None or not mask.any() or not (template.inside > 0.5).any():
        return []
    moved = template.matrix() @ np.array([*_middle(template.inside > 0.5), 1])
    x, y = np.array(_middle(mask)) - moved
    return [template.pose.plus(Pose(float(x), float(y)))]


def _middle(mask: Bools) -> tuple[float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0] + columns[-1]) / 2, float(rows[0] + rows[-1]) / 2


def _share_in_sight(template: Template) -> float:
    core = _core(template)
    seen = int(np.count_nonzero(core & (template.hidden < 0.5)))
    return seen / max(1, int(np.count_nonzero(core)))


def align(template: Template, lightness: Floats, starts: Sequence[Pose]) -> Fit:
    """The best pose found from any of the starts; the first good one saves the others' time.

    Args:
        lightness: `(H, W)` of the whole frame, 0..255.
        starts: at least one; the first is kept where too little is in sight.
    """
    best = _align_from(template, lightness, starts[0])
    for start in starts[1:]:
        if best.misfit <= _GOOD_MISFIT:
            break
        best = min(best, _align_from(template, lightness, start), key=lambda fit: fit.misfit)
    return best


def _align_from(template: Template, lightness: Floats, start: Pose) -> Fit:
    wanted = _core(template) & (template.hidden < 0.5)
    if np.count_nonzero(wanted) < _FEWEST_PIXELS:
        return Fit(start, np.inf)
    shift_only = _share_in_sight(template) < _ENOUGH_TO_TURN
    slopes = _slopes(template)[: 2 if shift_only else 4]
    pose, misfit = start, np.inf
    for _ in range(_ROUNDS):
        found = _difference(template, lightness, pose, wanted)
        if found is None:
            return Fit(start, np.inf)
        difference, weight, misfit = found
        step = _step(slopes, difference, weight, _radius(template))
        pose = pose.plus(step)
        if max(abs(step.x), abs(step.y)) < _ENOUGH:
            break
    return Fit(pose, misfit)


def _core(template: Template) -> Bools:
    """Pixels that surely are the object's."""
    if template.edge is not None:
        return np.asarray(template.edge > 1)
    inside = (template.inside > 0.5).astype(np.uint8)
    return np.asarray(cv2.erode(inside, np.ones((3, 3), np.uint8)) > 0)


def _slopes(template: Template) -> Floats:
    """`(4, h, w)`: how the lightness changes with x, y, growth and turn (per patch radius)."""
    across, along = slopes(template.mean)
    width, height = template.size
    radius = np.float32(_radius(template))
    x = (np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)) / radius
    y = ((np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2)) / radius)[:, None]
    return np.stack([across, along, across * x + along * y, along * x - across * y])


def _radius(template: Template) -> float:
    return max(template.size) / 2


def _difference(
    template: Template, lightness: Floats, pose: Pose, wanted: Bools
) -> tuple[Floats, Floats, float] | None:
    """Frame less template, each pixel's weight, and the misfit; None if nothing is in sight."""
    matrix = pose.matrix(template.corner_xy, template.size)
    shown = to_patch(lightness, matrix, template.size, _BEYOND)
    seen = wanted & (shown >= 0)
    if np.count_nonzero(seen) < _FEWEST_PIXELS:
        return None
    difference = shown - template.mean[..., 0]
    usual = 1.48 * float(np.median(np.abs(difference[seen]))) + 1
    weight = np.where(seen, 1 / (1 + (difference / (2 * usual)) ** 2) ** 2, 0)
    return difference, weight.astype(np.float32), usual


def _step(slopes: Floats, difference: Floats, weight: Floats, radius: float) -> Pose:
    flat = slopes.reshape(len(slopes), -1)
    weighted = flat * weight.ravel()
    normal = (weighted @ flat.T).astype(np.float64)
    # Shifts may be as large as they like; growth and turn are small between frames.
    stiff = np.array([0.0, 0.0, _STIFF, _STIFF])[: len(normal)] * np.diag(normal)
    normal += np.diag(stiff + 1e-3)
    x, y, *rest = np.linalg.solve(normal, weighted @ difference.ravel())
    grow, turn = rest or (0.0, 0.0)
    return Pose(-float(x), -float(y), -float(grow) / radius, -float(turn) / radius)
