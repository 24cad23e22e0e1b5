"""Constant-velocity Kalman filters over boxes, all tracks at once.

The filters of SORT (Bewley et al. 2016), ByteTrack (Zhang et al. 2022, after DeepSORT) and BoT-SORT
(Aharon et al. 2022) have diagonal noise, so each box coordinate is a filter of its own with a value
and a velocity. A filter bank is therefore one array `(N, 5, 4)` float64: for each track and
coordinate the value, its velocity per frame, and the covariance's three distinct entries. Updates
are elementwise; nothing is inverted, so nothing can become singular.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinemask_tracker.engines.boxes import FloatArray, centre_size, from_centre_size

VALUE, VELOCITY, VAR, COV, VAR_VELOCITY = range(5)
_LEAST_SIZE = 1e-6


class MotionModel(Protocol):
    """How a box is written as four numbers, and how uncertain each is."""

    def encode(self, boxes_xyxy: FloatArray) -> FloatArray:
        """`(N, 4)` xyxy -> `(N, 4)` coordinates."""
        ...

    def decode(self, values: FloatArray) -> FloatArray:
        """`(N, 4)` coordinates -> `(N, 4)` xyxy of positive size."""
        ...

    def first_variance(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`(N, 4)` variances of value and velocity of a track seen once."""
        ...

    def process_variance(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`(N, 4)` variances that one frame adds to value and velocity."""
        ...

    def measurement_variance(self, values: FloatArray) -> FloatArray:
        """`(N, 4)` variance of a detected box's coordinates."""
        ...


def start(model: MotionModel, boxes_xyxy: FloatArray) -> FloatArray:
    """`(N, 4)` boxes -> `(N, 5, 4)` filters at rest there."""
    bank = np.zeros((len(boxes_xyxy), 5, 4))
    bank[:, VALUE] = model.encode(boxes_xyxy)
    bank[:, VAR], bank[:, VAR_VELOCITY] = model.first_variance(bank[:, VALUE])
    return bank


def predict(model: MotionModel, bank: FloatArray, frames: float | FloatArray) -> FloatArray:
    """The filters `frames` frames later, one number or `(N, 1)`.

    The result is exactly that of as many single steps with the noise held constant.
    """
    value_noise, velocity_noise = model.process_variance(bank[:, VALUE])
    steps, ramp = frames, frames * (frames - 1) / 2
    squares = ramp * (2 * frames - 1) / 3
    moved = bank.copy()
    moved[:, VALUE] += steps * bank[:, VELOCITY]
    moved[:, VAR] += steps * (2 * bank[:, COV] + steps * bank[:, VAR_VELOCITY] + value_noise)
    moved[:, VAR] += squares * velocity_noise
    moved[:, COV] += steps * bank[:, VAR_VELOCITY] + ramp * velocity_noise
    moved[:, VAR_VELOCITY] += steps * velocity_noise
    _keep_positive(moved, bank)
    return moved


def correct(model: MotionModel, bank: FloatArray, boxes_xyxy: FloatArray) -> FloatArray:
    """`(N, 5, 4)` filters after each saw its `(N, 4)` box."""
    variance = bank[:, VAR]
    inverse = 1.0 / (variance + model.measurement_variance(bank[:, VALUE]))
    gain, velocity_gain = variance * inverse, bank[:, COV] * inverse
    surprise = model.encode(boxes_xyxy) - bank[:, VALUE]
    seen = bank.copy()
    seen[:, VALUE] += gain * surprise
    seen[:, VELOCITY] += velocity_gain * surprise
    seen[:, VAR] *= 1.0 - gain
    seen[:, COV] *= 1.0 - gain
    seen[:, VAR_VELOCITY] -= velocity_gain * bank[:, COV]
    _keep_positive(seen, bank)
    return seen


def _keep_positive(after: FloatArray, before: FloatArray) -> None:
    """Sizes and ratios never reach zero: one that would stops shrinking instead."""
    gone = after[:, VALUE, 2:] < _LEAST_SIZE
    if gone.any():
        np.copyto(after[:, VALUE, 2:], before[:, VALUE, 2:], where=gone)
        after[:, VELOCITY, 2:][gone] = 0.0


def freeze_size(bank: FloatArray, rows: NDArray[np.bool_]) -> None:
    """Stop the size of these tracks from changing: an unseen object is not known to grow."""
    bank[rows, VELOCITY, 2:] = 0.0


class AreaModel:
    """SORT and OC-SORT: centre x, centre y, area, aspect ratio; the ratio has no velocity.

    The variances are those that SORT is published with, in pixels whatever the box's size.
    """

    _FIRST = np.array([10.0, 10.0, 10.0, 10.0])
    _FIRST_VELOCITY = np.array([1e4, 1e4, 1e4, 0.0])
    _PROCESS = np.array([1.0, 1.0, 1.0, 1.0])
    _PROCESS_VELOCITY = np.array([1e-2, 1e-2, 1e-4, 0.0])
    _MEASUREMENT = np.array([1.0, 1.0, 10.0, 10.0])

    def encode(self, boxes_xyxy: FloatArray) -> FloatArray:
        centre, size = centre_size(boxes_xyxy)
        area, ratio = size[:, :1] * size[:, 1:], size[:, :1] / size[:, 1:]
        return np.concatenate([centre, area, ratio], axis=1)

    def decode(self, values: FloatArray) -> FloatArray:
        width = np.sqrt(values[:, 2] * values[:, 3])
        return from_centre_size(values[:, :2], np.stack([width, values[:, 2] / width], axis=1))

    def first_variance(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._FIRST, self._FIRST_VELOCITY

    def process_variance(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._PROCESS, self._PROCESS_VELOCITY

    def measurement_variance(self, values: FloatArray) -> FloatArray:
        return self._MEASUREMENT


class HeightModel:
    """ByteTrack: centre x, centre y, aspect ratio, height; noise in proportion to the height."""

    def encode(self, boxes_xyxy: FloatArray) -> FloatArray:
        centre, size = centre_size(boxes_xyxy)
        return np.concatenate([centre, size[:, :1] / size[:, 1:], size[:, 1:]], axis=1)

    def decode(self, values: FloatArray) -> FloatArray:
        size = np.stack([values[:, 2] * values[:, 3], values[:, 3]], axis=1)
        return from_centre_size(values[:, :2], size)

    def first_variance(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._variance(values, 1 / 10, 1e-2), self._variance(values, 1 / 16, 1e-5)

    def process_variance(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._variance(values, 1 / 20, 1e-2), self._variance(values, 1 / 160, 1e-5)

    def measurement_variance(self, values: FloatArray) -> FloatArray:
        return self._variance(values, 1 / 20, 1e-1)

    @staticmethod
    def _variance(values: FloatArray, of_height: float, of_ratio: float) -> FloatArray:
        deviation = np.repeat(values[:, 3:] * of_height, 4, axis=1)
        deviation[:, 2] = of_ratio
        return deviation * deviation


class SteadySizeModel:
    """BoT-SORT's filter: centre x, centre y, width, height; noise in proportion to the size.

    The deviations are BoT-SORT's, except that a size is taken to change by a quarter as much as
    a place does: things move past a camera faster than they grow.
    """

    _FIRST = np.array([1 / 10, 1 / 10, 1 / 10, 1 / 10])
    _FIRST_VELOCITY = np.array([1 / 16, 1 / 16, 1 / 64, 1 / 64])
    _PROCESS = np.array([1 / 20, 1 / 20, 1 / 80, 1 / 80])
    _PROCESS_VELOCITY = np.array([1 / 160, 1 / 160, 1 / 640, 1 / 640])
    _MEASUREMENT = np.array([1 / 20, 1 / 20, 1 / 20, 1 / 20])

    def encode(self, boxes_xyxy: FloatArray) -> FloatArray:
        return np.concatenate(centre_size(boxes_xyxy), axis=1)

    def decode(self, values: FloatArray) -> FloatArray:
        return from_centre_size(values[:, :2], values[:, 2:])

    def first_variance(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._variance(values, self._FIRST), self._variance(values, self._FIRST_VELOCITY)

    def process_variance(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._variance(values, self._PROCESS), self._variance(values, self._PROCESS_VELOCITY)

    def measurement_variance(self, values: FloatArray) -> FloatArray:
        return self._variance(values, self._MEASUREMENT)

    @staticmethod
    def _variance(values: FloatArray, of_size: FloatArray) -> FloatArray:
        deviation = values[:, [2, 3, 2, 3]] * of_size
        return np.asarray(deviation * deviation)
