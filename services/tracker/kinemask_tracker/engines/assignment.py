"""Pairing tracks with detections one to one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import (  # type: ignore[import-untyped]  # scipy ships no type information
    linear_sum_assignment,
)

from kinemask_tracker.engines.boxes import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Pairs = tuple[IntArray, IntArray]


def pair_allowed(score: FloatArray, allowed: BoolArray) -> Pairs:
    """The pairing of greatest total score among allowed pairs; the rest stay unpaired.

    `score` `(N, M)` must be positive wherever `allowed` `(N, M)` holds.
    Returns row and column indices of the pairs.
    """
    return _solve(np.where(allowed, score, 0.0), allowed)


def pair_then_filter(score: FloatArray, allowed: BoolArray) -> Pairs:
    """Pair by total score over all pairs, then give up those not allowed (as SORT does).

    Pairs that nobody contests are taken as they are.
    """
    return _solve(score, allowed)


def _solve(score: FloatArray, allowed: BoolArray) -> Pairs:
    if not allowed.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if allowed.sum(axis=0).max() == 1 and allowed.sum(axis=1).max() == 1:
        rows, columns = np.nonzero(allowed)
        return rows, columns
    rows, columns = linear_sum_assignment(score, maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]
