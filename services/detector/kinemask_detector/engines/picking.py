"""From a model's scores for every place and label to detections: NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemask_detector.engines.base import Detection
from kinemask_detector.engines.boxes import Floats, clip, suppress

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Scored:
    """What a model says of one picture. Q places, C labels."""

    boxes: NDArray[np.float32]
    """`(Q, 4)`: centre x, centre y, width, height, as shares of the picture."""
    scores: NDArray[np.float32]
    """`(Q, C)`: 0..1."""


@dataclass(frozen=True)
class Question:
    """What is wanted of the scores."""

    height: int
    width: int
    """Of the original picture, in pixels."""
    labels: tuple[str, ...]
    """C names, as the model calls them."""
    prompts: tuple[str, ...]
    """The prompt that each label answers, as it was sent; empty if there were none."""
    wanted: NDArray[np.bool_]
    """`(C,)`: labels that may be told."""
    score_threshold: float
    overlap_threshold: float
    """1 keeps everything."""
    top_k: int
    several_labels: bool
    """Whether one place may be told under several labels; else under its best one alone."""
    square: bool = False
    """Whether boxes are shares of the square that holds the picture in its upper left corner."""


def pick(scored: Scored, question: Question) -> list[Detection]:
    """What is good enough, once a label and place, best first.

    Of every place the best label is taken, or the Q best pairs of place and label; then the score
    threshold, the wanted labels, greedy suppression within each label, and the best `top_k`.
    """
    places, columns = _pairs(scored.scores, question.several_labels)
    scores = scored.scores[places, columns].astype(np.float64)
    good = (scores >= question.score_threshold) & question.wanted[columns]
    places, columns, scores = places[good], columns[good], scores[good]
    boxes = _in_pixels(scored.boxes[places].astype(np.float64), question)
    kept = _kept(boxes, columns, scores, question)
    return [
        Detection(
            box_xyxy=(float(x0), float(y0), float(x1), float(y1)),
            score=float(score),
            label=question.labels[column],
            prompt=question.prompts[column],
        )
        for (x0, y0, x1, y1), score, column in zip(
            boxes[kept], scores[kept], columns[kept], strict=True
        )
    ]


def _pairs(scores: NDArray[np.float32], several: bool) -> tuple[Indices, Indices]:
    """Places and labels that may be told: `(N,)` each."""
    count, labels = scores.shape
    if not labels:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    if not several:
        return np.arange(count), scores.argmax(axis=1)
    flat = scores.ravel()
    best = np.argpartition(-flat, count - 1)[:count] if labels > 1 else np.arange(count)
    places, columns = np.divmod(best, labels)
    return places, columns


def _in_pixels(boxes: Floats, question: Question) -> Floats:
    """`(N, 4)` xyxy, cut to the picture."""
    height, width = question.height, question.width
    if question.square:
        height = width = max(height, width)
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    corners = np.hstack([centre - half, centre + half]) * [width, height, width, height]
    return clip(corners, question.height, question.width)


def _kept(boxes: Floats, columns: Indices, scores: Floats, question: Question) -> Indices:
    """Indices of what stays, best first."""
    # A box in the padding is empty once it is cut; a NaN compares as False.
    real = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    kept = [np.zeros(0, np.intp)]
    for column in np.unique(columns[real]):
        of_label = real[columns[real] == column]
        stays = suppress(
            boxes[of_label], scores[of_label], question.overlap_threshold, most=question.top_k
        )
        kept.append(of_label[stays])
    together = np.concatenate(kept)
    order = np.argsort(-scores[together], kind="stable")
    return together[order[: question.top_k]]
