"""Tracks as lines of text: MOTChallenge and CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from kinemask_gateway.exporting.source import TrackSource
from kinemask_gateway.tracks.values import TrackedObject

COLUMNS = (
    *("frame_index", "time_s", "object_id", "label", "prompt", "name", "name_decided"),
    *("score", "state", "origin", "x_min", "y_min", "x_max", "y_max", "area_px"),
)


def write_mot(path: Path, source: TrackSource) -> None:
    """`frame, id, left, top, width, height, score, -1, -1, -1`, frames from 1.

    The format: Milan et al., "MOT16: A Benchmark for Multi-Object Tracking", 2016, table 5.
    """
    with path.open("w", encoding="ascii") as file:
        for frame in source.frames():
            for entry in frame.objects:
                x_min, y_min, x_max, y_max = _box(entry)
                box = f"{x_min:g},{y_min:g},{x_max - x_min:g},{y_max - y_min:g}"
                number = frame.frame_index - source.first + 1
                file.write(f"{number},{entry.object_id},{box},{entry.score:.6g},-1,-1,-1\n")


def write_csv(path: Path, source: TrackSource) -> None:
    """A head, then a line for each object and frame (RFC 4180)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for frame in source.frames():
            for entry in frame.objects:
                out.writerow((frame.frame_index, f"{frame.time_us / 1e6:.6f}", *_row(entry)))


def _row(entry: TrackedObject) -> tuple[object, ...]:
    name = entry.name
    return (
        *(entry.object_id, entry.label, entry.prompt),
        *(name.name if name else "", int(name.decided) if name else 0),
        *(f"{entry.score:.6g}", entry.state.name.lower(), entry.origin.name.lower()),
        *(f"{edge:g}" for edge in _box(entry)),
        entry.area_px,
    )


def _box(entry: TrackedObject) -> tuple[float, float, float, float]:
    return entry.box_xyxy or (0.0, 0.0, 0.0, 0.0)
