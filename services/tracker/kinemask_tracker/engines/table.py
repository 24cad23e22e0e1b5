"""The tracks of one stream as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kinemask_tracker.engines.boxes import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

HISTORY = 4
"""Sights kept per track: OC-SORT measures direction between sights three frames apart."""


@dataclass
class TrackTable:
    """Columns of equal length N, one row per living track, ids ascending.

    Rows are only ever appended and removed together, so a row number is valid within one update.
    """

    ids: IntArray
    labels: IntArray
    """`(N,)` index into the tracker's list of labels."""
    states: IntArray
    """`(N,)` values of `TrackState`."""
    streak: IntArray
    """`(N,)` detector runs in a row that found the track, its first not counted."""
    hits: IntArray
    """`(N,)` detector runs that found the track, its first not counted."""
    missed_runs: IntArray
    """`(N,)` detector runs in a row that did not."""
    first_frame: IntArray
    last_frame: IntArray
    """`(N,)` frame id of the latest sight."""
    detection: IntArray
    """`(N,)` this frame's detection, -1 for none."""
    observed: BoolArray
    """`(N,)` whether this frame had an observation of the track."""
    scores: FloatArray
    bank: FloatArray
    """`(N, 5, 4)` Kalman filters, see `motion`."""
    sighted_bank: FloatArray
    """`(N, 5, 4)` the filters as they were right after the latest sight."""
    boxes: FloatArray
    """`(N, 4)` xyxy now: seen or predicted."""
    history: FloatArray
    """`(N, HISTORY, 4)` xyxy of the latest sights, newest first."""
    history_frame: IntArray
    """`(N, HISTORY)` their frame ids; sights that never were repeat the first."""

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls) -> TrackTable:
        """A table without rows."""
        none = np.zeros(0, np.int64)
        return cls.of_new(none, none, 0, np.zeros((0, 5, 4)), np.zeros((0, 4)))

    @classmethod
    def of_new(
        cls, ids: IntArray, labels: IntArray, frame_id: int, bank: FloatArray, boxes: FloatArray
    ) -> TrackTable:
        """Tentative tracks seen for the first time on `frame_id`, score 0, detection -1."""
        count = len(ids)
        now = np.full(count, frame_id, np.int64)
        return cls(
            ids=ids,
            labels=labels,
            states=np.ones(count, np.int64),
            streak=np.zeros(count, np.int64),
            hits=np.zeros(count, np.int64),
            missed_runs=np.zeros(count, np.int64),
            first_frame=now,
            last_frame=now.copy(),
            detection=np.full(count, -1, np.int64),
            observed=np.zeros(count, np.bool_),
            scores=np.zeros(count),
            bank=bank,
            sighted_bank=bank.copy(),
            boxes=boxes,
            history=np.repeat(boxes[:, None, :], HISTORY, axis=1),
            history_frame=np.full((count, HISTORY), frame_id, np.int64),
        )

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Every column by name, not copied."""
        return {name: getattr(self, name) for name in _COLUMNS}

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[np.generic]]) -> TrackTable:
        """The inverse of `columns`.

        Raises:
            ValueError: a column is missing, or has another type, row shape or length than the rest.
        """
        length = len(columns.get("ids", ()))
        for name, like in cls.empty().columns().items():
            found = columns.get(name)
            shape = (length, *like.shape[1:])
            if found is None or found.dtype != like.dtype or found.shape != shape:
                raise ValueError(f"expected column {name} of {like.dtype} {shape}")
        return cls(**{name: columns[name] for name in _COLUMNS})  # type: ignore[arg-type]  # dtypes are checked above

    def keep(self, rows: BoolArray) -> None:
        """Remove the rows where `rows` `(N,)` is False."""
        for name in _COLUMNS:
            setattr(self, name, getattr(self, name)[rows])

    def append(self, other: TrackTable) -> None:
        """Add the other table's rows below."""
        for name in _COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))

    def see(
        self, rows: IntArray, frame_id: int, boxes_xyxy: FloatArray, scores: FloatArray
    ) -> None:
        """Note that these rows were sighted there; their filters must be up to date already."""
        self.last_frame[rows] = frame_id
        self.missed_runs[rows] = 0
        self.scores[rows] = scores
        self.history[rows, 1:] = self.history[rows, :-1]
        self.history_frame[rows, 1:] = self.history_frame[rows, :-1]
        self.history[rows, 0] = boxes_xyxy
        self.history_frame[rows, 0] = frame_id
        self.sighted_bank[rows] = self.bank[rows]


_COLUMNS = tuple(f.name for f in fields(TrackTable))
