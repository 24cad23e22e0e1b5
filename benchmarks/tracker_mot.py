"""How well and how fast the trackers follow people in MOTChallenge clips.

    python -m benchmarks.tracker_mot --data FOLDER

FOLDER is one clip (`det.txt` and `gt.txt`, or `det/det.txt` and `gt/gt.txt`) or a folder of clips,
whose counts are then summed. Confirmed tracks that were seen on the frame count, as in published
evaluations; nothing is filled in afterwards. The harness first shows itself right on TUD-Campus, if
that clip is there: SORT must give the row that its authors publish. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kinemask_tracker.engines import Detections, algorithm_names, create_tracker

from benchmarks.mot_data import DetectedBoxes, MotSequence, find_sequences, without_distracted
from benchmarks.mot_metrics import LabelledBoxes, MotCounts, evaluate

GOLDEN_CLIP = "TUD-Campus"
GOLDEN = {"mota": 62.7, "motp": 73.7, "fp": 15, "fn": 113, "switches": 6}
"""SORT on TUD-Campus with the public detections, as published with its reference code."""
GOLDEN_SIZE = (640, 480)
GOLDEN_TOLERANCE = 0.1
SPEED_REPEATS = 3


@dataclass(frozen=True)
class Outcome:
    """What one algorithm made of some clips."""

    counts: MotCounts
    frames_per_second: float

    def __str__(self) -> str:
        c = self.counts
        return (
            f"MOTA {c.mota:5.1f}  MOTP {c.motp:5.1f}  IDF1 {c.idf1:5.1f}  HOTA {c.hota:5.1f}  "
            f"FP {c.false_positives:4d}  FN {c.misses:4d}  switches {c.switches:3d}  "
            f"{self.frames_per_second:6.0f} frames/s"
        )


def as_detections(found: DetectedBoxes) -> Detections:
    """A frame's rows as the engine takes them; scores outside 0..1 are cut off."""
    scores = np.clip(found.scores, 0.0, 1.0).astype(np.float32)
    return Detections(found.boxes_xyxy.astype(np.float32), scores, ("person",) * len(scores))


def run_tracker(name: str, clip: MotSequence) -> tuple[list[LabelledBoxes], float]:
    """Tracks per frame, and the seconds spent inside the tracker."""
    inputs = [as_detections(found) for found in clip.detections]
    tracker = create_tracker(name)
    results: list[LabelledBoxes] = []
    seconds = 0.0
    for index, detections in enumerate(inputs):
        frame_id = clip.first_frame_id + index * clip.frame_step
        began = time.perf_counter()
        tracks = tracker.update(frame_id, detections)
        seconds += time.perf_counter() - began
        counted = tracks.confirmed_now
        results.append(LabelledBoxes(tracks.ids[counted], tracks.boxes_xyxy[counted].astype(float)))
    return results, seconds


def score(name: str, clips: Sequence[MotSequence], repeats: int = SPEED_REPEATS) -> Outcome:
    """Run an algorithm over all clips; speed is that of the fastest of `repeats` rounds."""
    counts, frames, best = MotCounts(), sum(len(clip.truth) for clip in clips), float("inf")
    for repeat in range(repeats):
        runs = [run_tracker(name, clip) for clip in clips]
        best = min(best, sum(seconds for _, seconds in runs))
        if repeat == 0:
            for clip, (tracks, _) in zip(clips, runs, strict=True):
                counts += _evaluate(clip, tracks)
    return Outcome(counts, frames / best if best > 0 else 0.0)


def _evaluate(clip: MotSequence, tracks: Sequence[LabelledBoxes]) -> MotCounts:
    rows = zip(tracks, clip.truth, clip.distractors_xyxy, strict=True)
    return evaluate(clip.truth, [without_distracted(*row) for row in rows])


def check_harness(clips: Sequence[MotSequence]) -> bool:
    """Print SORT's row on the golden clip beside the published one; False if they differ."""
    golden = next((clip for clip in clips if clip.name == GOLDEN_CLIP), None)
    if golden is None:
        print(f"harness not checked: {GOLDEN_CLIP} is not among the clips", file=sys.stderr)
        return True
    measured = golden_row(golden)
    print(f"harness, SORT on {GOLDEN_CLIP}: measured {measured}, published {GOLDEN}")
    return all(abs(measured[key] - value) < GOLDEN_TOLERANCE for key, value in GOLDEN.items())


def golden_row(clip: MotSequence) -> dict[str, float]:
    """SORT's figures on the golden clip, counted as its authors did: boxes cut at the image."""
    tracks, _ = run_tracker("sort", clip)
    counts = evaluate(
        [cut_at_image(frame, GOLDEN_SIZE) for frame in clip.truth],
        [cut_at_image(frame, GOLDEN_SIZE) for frame in tracks],
    )
    return {
        "mota": round(counts.mota, 2),
        "motp": round(counts.motp, 2),
        "fp": counts.false_positives,
        "fn": counts.misses,
        "switches": counts.switches,
    }


def cut_at_image(frame: LabelledBoxes, size_px: tuple[int, int]) -> LabelledBoxes:
    """Boxes without what lies outside an image of this width and height."""
    return LabelledBoxes(frame.ids, np.clip(frame.boxes_xyxy, 0, [*size_px, *size_px]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table and the JSON line; 1 if the harness does not reproduce the golden row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="a clip, or a folder of clips")
    clips = find_sequences(parser.parse_args(arguments).data)
    right = check_harness(clips)
    outcomes = {name: score(name, clips) for name in algorithm_names()}
    for name, outcome in outcomes.items():
        print(f"{name:10s} {outcome}")
    print(json.dumps({"default": algorithm_names()[0], "algorithms": _summary(outcomes)}))
    return 0 if right else 1


def _summary(outcomes: dict[str, Outcome]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "mota": round(outcome.counts.mota, 1),
            "idf1": round(outcome.counts.idf1, 1),
            "hota": round(outcome.counts.hota, 1),
            "switches": outcome.counts.switches,
            "fps": round(outcome.frames_per_second, 1),
        }
        for name, outcome in outcomes.items()
    }


if __name__ == "__main__":
    sys.exit(main())
