"""How the trackers hold up on perturbed clips and on made-up scenes.

    python -m benchmarks.tracker_stress [--data FOLDER] [--seeds N] [--only WORD]

Each row sums its clips and seeds. Without `--data` only the made-up scenes run. Ends with one JSON
line: per condition and algorithm MOTA, IDF1, HOTA (percent) and identity switches; then means.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from kinemask_tracker.engines import algorithm_names

from benchmarks.mot_data import MotSequence, find_sequences
from benchmarks.mot_scenes import (
    KINDS,
    drop_detections,
    every_kth_frame,
    jitter_boxes,
    make_scene,
    reversed_in_time,
    scale_scores,
)
from benchmarks.tracker_mot import score

DETECTOR_INTERVALS = (3, 5, 10)


def perturbed(clips: Sequence[MotSequence], seeds: int) -> Iterator[tuple[str, list[MotSequence]]]:
    """Conditions made from real clips."""
    rounds = range(seeds)
    yield "clip", list(clips)
    yield "clip, reversed", [reversed_in_time(c) for c in clips]
    for share in (0.1, 0.2):
        dropped = [drop_detections(c, share, seed) for c in clips for seed in rounds]
        yield f"clip, {share:.0%} dropped", dropped
    for share in (0.03, 0.06):
        moved = [jitter_boxes(c, share, seed) for c in clips for seed in rounds]
        yield f"clip, {share:.0%} jitter", moved
    yield "clip, every 2nd frame", [every_kth_frame(c, 2, keep_frame_ids=False) for c in clips]
    yield "clip, scores x 0.35", [scale_scores(c, 0.35) for c in clips]
    for k in DETECTOR_INTERVALS[:2]:
        rare = [every_kth_frame(c, k, keep_frame_ids=True) for c in clips]
        yield f"clip, detector every {k}", rare


def made_up(seeds: int) -> Iterator[tuple[str, list[MotSequence]]]:
    """Conditions made from scenes."""
    for name, kind in KINDS.items():
        scenes = [make_scene(name, kind, seed) for seed in range(seeds)]
        yield name, scenes
        for k in DETECTOR_INTERVALS:
            rare = [every_kth_frame(scene, k, keep_frame_ids=True) for scene in scenes]
            yield f"{name}, detector every {k}", rare


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table and the JSON line."""
    parser = argparse.ArgumentParser(description="Stress the trackers.")
    parser.add_argument("--data", type=Path, help="a clip, or a folder of clips")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="conditions whose name has this in it")
    options = parser.parse_args(arguments)
    conditions = list(made_up(options.seeds))
    if options.data is not None:
        conditions = [*perturbed(find_sequences(options.data), options.seeds), *conditions]
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name, clips in conditions:
        if options.only in name:
            table[name] = measure(clips)
            print_row(name, table[name])
    means = {a: _mean([row[a] for row in table.values()]) for a in algorithm_names()}
    print_row("mean", means)
    print(json.dumps({"conditions": table, "mean": means}))
    return 0


def measure(clips: Sequence[MotSequence]) -> dict[str, dict[str, float]]:
    """Figures of every algorithm over these clips."""
    row: dict[str, dict[str, float]] = {}
    for algorithm in algorithm_names():
        counts = score(algorithm, clips, repeats=1).counts
        row[algorithm] = {
            "mota": round(counts.mota, 1),
            "idf1": round(counts.idf1, 1),
            "hota": round(counts.hota, 1),
            "switches": counts.switches,
        }
    return row


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    keys = rows[0] if rows else {}
    return {key: round(float(np.mean([row[key] for row in rows])), 1) for key in keys}


def print_row(name: str, row: dict[str, dict[str, float]]) -> None:
    """One line: MOTA / IDF1 / HOTA / switches of each algorithm."""
    cells = [f"{a} " + " / ".join(f"{value:g}" for value in v.values()) for a, v in row.items()]
    print(f"{name:28s} " + "   ".join(f"{cell:38s}" for cell in cells), flush=True)


if __name__ == "__main__":
    sys.exit(main())
