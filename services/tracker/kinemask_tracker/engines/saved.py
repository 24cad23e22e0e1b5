"""A tracker's state as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack

from kinemask_tracker.engines.labels import LabelBook
from kinemask_tracker.engines.table import TrackTable

_VERSION = 1


@dataclass(frozen=True)
class SavedState:
    """All that a tracker carries from one frame to the next."""

    next_id: int
    frame_id: int
    """Of the latest frame, -1 before the first."""
    runs: int
    """Detector runs so far."""
    labels: LabelBook
    tracks: TrackTable


def save(algorithm: str, config: Mapping[str, Json], state: SavedState) -> bytes:
    """The state as one checksummed blob, bound to an algorithm and its config."""
    facts: dict[str, Json] = {"config": dict(config), "labels": list(state.labels.names)}
    others = {
        "counters": np.array([state.next_id, state.frame_id, state.runs], np.int64),
        "score_scales": state.labels.scales,
    }
    return pack(f"tracker/{algorithm}", _VERSION, facts, state.tracks.columns() | others)


def load(algorithm: str, config: Mapping[str, Json], blob: bytes) -> SavedState:
    """The inverse of `save`.

    Raises:
        SnapshotError: the blob is damaged, or of another version, algorithm or config.
    """
    found = unpack(blob, f"tracker/{algorithm}", _VERSION)
    if found.facts.get("config") != dict(config):
        raise SnapshotError(
            f"expected a snapshot of {dict(config)}, found {found.facts.get('config')}"
        )
    try:
        names, scales = found.facts["labels"], found.arrays["score_scales"].astype(np.float64)
        next_id, frame_id, runs = found.arrays["counters"].tolist()
        tracks = TrackTable.from_columns(found.arrays)
    except (KeyError, ValueError) as error:
        raise SnapshotError(f"expected a tracker's state, found something else: {error}") from error
    if not isinstance(names, list) or scales.shape != (len(names),):
        raise SnapshotError(f"expected a score scale per label, found {names} and {scales.shape}")
    book = LabelBook([str(name) for name in names], scales)
    return SavedState(next_id, frame_id, runs, book, tracks)
