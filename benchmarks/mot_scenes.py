"""Made-up tracking scenes with known truth, and ways to make a clip harder.

The scenes are box worlds, no pixels: people walk, dance or run about a 1280x720 image at 30
frames/s, hide each other, and a detector of known faults looks at them. They exist to compare
trackers away from the few clips at hand, not to resemble any of those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.mot_data import DetectedBoxes, MotSequence
from benchmarks.mot_metrics import LabelledBoxes, iou_matrix

FloatArray = NDArray[np.float64]
WIDTH_PX, HEIGHT_PX = 1280.0, 720.0


@dataclass(frozen=True)
class SceneKind:
    """How a scene's objects move and how well they are detected."""

    objects: int
    height_px: tuple[float, float]
    aspect: float
    """Width over height."""
    speed: float
    """Typical speed in heights per frame."""
    wander: float
    """How much of its speed an object changes in a frame, 0..1."""
    sway: float = 0.0
    """Amplitude in heights of a sideways swing of about a second."""
    shake_px: float = 0.0
    """Standard deviation of the camera's movement from frame to frame."""
    frames: int = 300


KINDS = {
    "walkers": SceneKind(8, (120, 300), 0.4, 0.02, 0.05),
    "crowd": SceneKind(25, (80, 200), 0.4, 0.02, 0.1),
    "dancers": SceneKind(8, (200, 280), 0.5, 0.03, 0.3, sway=0.5),
    "runners": SceneKind(10, (80, 160), 0.4, 0.09, 0.02),
    "faces": SceneKind(6, (30, 90), 0.8, 0.06, 0.2, sway=0.3),
    "shaky": SceneKind(8, (120, 300), 0.4, 0.02, 0.05, shake_px=8.0),
}


def make_scene(name: str, kind: SceneKind, seed: int) -> MotSequence:
    """A scene of this kind; the same seed gives the same scene."""
    rng = np.random.default_rng(seed)
    paths = _paths(kind, rng)  # (frames, objects, 4)
    order = np.argsort(-paths[0, :, 3])  # whoever stands lowest is nearest, all through
    truth, found = [], []
    for boxes in paths:
        visible = _visible_share(boxes, order)
        inside = iou_matrix(boxes, np.array([[0, 0, WIDTH_PX, HEIGHT_PX]]))[:, 0] > 0
        ids = np.flatnonzero(inside).astype(np.int64)
        truth.append(LabelledBoxes(ids + 1, boxes[ids]))
        found.append(_detect(boxes[ids], visible[ids], rng))
    none = tuple(np.zeros((0, 4)) for _ in truth)
    return MotSequence(f"{name}-{seed}", 1, tuple(found), tuple(truth), none)


def _paths(kind: SceneKind, rng: np.random.Generator) -> FloatArray:
    count, frames = kind.objects, kind.frames
    height = rng.uniform(*kind.height_px, count)
    place = rng.uniform([0, 0.3 * HEIGHT_PX], [WIDTH_PX, 0.8 * HEIGHT_PX], (count, 2))
    goal = rng.normal(0, 1, (count, 2)) * [1.0, 0.25] * (kind.speed * height)[:, None]
    velocity, phase = goal.copy(), rng.uniform(0, 2 * np.pi, count)
    period, camera = rng.uniform(25, 45, count), np.zeros(2)
    out = np.zeros((frames, count, 4))
    for frame in range(frames):
        turn = rng.random(count) < kind.wander / 5
        goal[turn] = goal[turn] * rng.choice([-1.0, 0.0, 1.5], (int(turn.sum()), 1))
        velocity += (goal - velocity) * 0.1 + rng.normal(0, 1, (count, 2)) * (
            kind.wander * 0.2 * kind.speed * height
        )[:, None]
        place += velocity
        goal[(place < 0) | (place > [WIDTH_PX, HEIGHT_PX])] *= -1  # most come back
        place = np.clip(place, -60, [WIDTH_PX + 60, HEIGHT_PX + 60])
        swing = kind.sway * height * np.sin(phase + 2 * np.pi * frame / period)
        camera = camera * 0.9 + rng.normal(0, 1, 2) * kind.shake_px
        centre = place + camera + np.stack([swing, np.zeros(count)], axis=1)
        half = np.stack([height * kind.aspect, height], axis=1) / 2
        out[frame] = np.concatenate([centre - half, centre + half], axis=1)
    return out


def _visible_share(boxes: FloatArray, order: NDArray[np.intp]) -> FloatArray:
    """`(N,)` the part of each box that no nearer box hides; overlapping hiders count once each."""
    visible = np.ones(len(boxes))
    for rank, index in enumerate(order):
        nearer = boxes[order[:rank]]
        box = boxes[index]
        sides = np.minimum(box[2:], nearer[:, 2:]) - np.maximum(box[:2], nearer[:, :2])
        hidden = np.clip(sides, 0, None).prod(axis=1).sum() / (box[2:] - box[:2]).prod()
        visible[index] = max(0.0, 1.0 - hidden)
    return visible


def _detect(boxes: FloatArray, visible: FloatArray, rng: np.random.Generator) -> DetectedBoxes:
    """Miss the hidden, blur the rest by 4% of its size, add a false alarm every few frames."""
    seen = rng.random(len(boxes)) < np.clip(visible * 1.6 - 0.3, 0.0, 0.97)
    boxes, visible = boxes[seen], visible[seen]
    size = boxes[:, 2:] - boxes[:, :2]
    noisy = boxes + rng.normal(0, 0.04, boxes.shape) * np.concatenate([size, size], axis=1)
    scores = np.clip(0.25 + 0.7 * visible + rng.normal(0, 0.08, len(boxes)), 0.05, 0.99)
    false = rng.poisson(0.2)
    corner = rng.uniform(0, [WIDTH_PX, HEIGHT_PX], (false, 2))
    extent = rng.uniform(40, 200, (false, 1)) * [0.4, 1.0]
    noisy = np.concatenate([noisy, np.concatenate([corner, corner + extent], axis=1)])
    scores = np.concatenate([scores, rng.beta(3, 4, false)])
    return _suppressed(DetectedBoxes(noisy, scores))


def _suppressed(found: DetectedBoxes, most_iou: float = 0.6) -> DetectedBoxes:
    """Greedy non-maximum suppression, as detectors end with."""
    overlap = iou_matrix(found.boxes_xyxy, found.boxes_xyxy)
    kept: list[int] = []
    for index in np.argsort(-found.scores).tolist():
        if all(overlap[index, other] <= most_iou for other in kept):
            kept.append(index)
    return DetectedBoxes(found.boxes_xyxy[kept], found.scores[kept])


def drop_detections(clip: MotSequence, share: float, seed: int) -> MotSequence:
    """Lose this share of the detections at random."""
    rng = np.random.default_rng(seed)
    found = []
    for frame in clip.detections:
        kept = rng.random(len(frame.scores)) >= share
        found.append(DetectedBoxes(frame.boxes_xyxy[kept], frame.scores[kept]))
    return replace(clip, detections=tuple(found))


def jitter_boxes(clip: MotSequence, share: float, seed: int) -> MotSequence:
    """Move each detected side by noise of this share of the box's size."""
    rng = np.random.default_rng(seed)
    found = []
    for frame in clip.detections:
        size = frame.boxes_xyxy[:, 2:] - frame.boxes_xyxy[:, :2]
        noise = rng.normal(0, share, frame.boxes_xyxy.shape) * np.tile(size, 2)
        moved = np.sort((frame.boxes_xyxy + noise).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        found.append(DetectedBoxes(moved, frame.scores))
    return replace(clip, detections=tuple(found))


def reversed_in_time(clip: MotSequence) -> MotSequence:
    """The clip from its last frame to its first."""
    return replace(
        clip,
        detections=clip.detections[::-1],
        truth=clip.truth[::-1],
        distractors_xyxy=clip.distractors_xyxy[::-1],
    )


def every_kth_frame(clip: MotSequence, k: int, *, keep_frame_ids: bool) -> MotSequence:
    """Only frames 0, k, 2k...

    With `keep_frame_ids` the tracker is told of the gaps (a detector that runs on every k-th
    frame of a video); without, it is the video of a slow camera.
    """
    return replace(
        clip,
        detections=clip.detections[::k],
        truth=clip.truth[::k],
        distractors_xyxy=clip.distractors_xyxy[::k],
        frame_step=clip.frame_step * k if keep_frame_ids else clip.frame_step,
    )


def scale_scores(clip: MotSequence, factor: float) -> MotSequence:
    """The same clip from a detector whose scores are this much lower."""
    found = tuple(DetectedBoxes(f.boxes_xyxy, f.scores * factor) for f in clip.detections)
    return replace(clip, detections=found)
