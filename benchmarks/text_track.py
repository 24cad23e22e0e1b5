"""Track jobs against the truth: `python -m benchmarks.text_track [--compare-per-frame]`.

A clip of photographs that move, enter, cross and leave over two shots (track_scenes) is tracked
by words, by real services in processes of their own, with a scripted detector in front of the
embedded segmenter. Two jobs run: one whose detector misses a share of all boxes and moves the
others, without the leak guard, for idf1, switches, mean_iou, missed_object_frames and fps; and one
with the leak guard whose detector is blind for every thing for runs of frames, for
uncovered_frames and frames_at_risk (the share of frames that the job lists).

`--compare-per-frame` runs the naive way too (track_naive) on the same services, with a detector
that costs ten propagation steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from kinemask.v1 import detector_pb2, live_pb2
from kinemask.v1 import jobs_pb2 as pb

from benchmarks.harness import service_process
from benchmarks.scripted_detector import Script
from benchmarks.track_naive import run_naive
from benchmarks.track_scenes import DATA, Truth, render
from benchmarks.track_scores import score
from benchmarks.track_stack import Ran, track_stack
from benchmarks.track_steps import step_ms

_WORDS = ("dog", "car", "face")


def main(arguments: Sequence[str] | None = None) -> int:
    """The process's exit code."""
    options = _parsed(arguments)
    if not (DATA / "davis").is_dir():
        print(f"no photographs at {DATA}: nothing can be measured", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        truth = render(clip, options.frames)
        compared = options.compare_per_frame
        figures = (_compared if compared else _measured)(folder, clip, truth, options)
    print(json.dumps(figures))
    return 0


def _measured(
    folder: Path, clip: Path, truth: Truth, options: argparse.Namespace
) -> dict[str, float]:
    script = Script(truth.boxes, truth.words, options.missed, options.jitter, seed=options.seed)
    plain = _ran(folder / "plain", clip, script, guard=False, every=options.every)
    blind = replace(script, missed=0.0, dropout_frames=options.dropout)
    guarded = _ran(folder / "guarded", clip, blind, guard=True, every=options.every)
    figures: dict[str, float] = asdict(score(truth.masks, plain.masks))
    covered = score(truth.masks, guarded.masks)
    at_risk = {
        frame
        for risk in guarded.job.track_result.at_risk
        for frame in range(risk.first_frame_index, risk.last_frame_index + 1)
    }
    figures["uncovered_frames"] = covered.uncovered_frames
    figures["fps"] = options.frames / plain.took_s
    figures["frames_at_risk"] = len(at_risk) / options.frames
    print(f"with the guard: {covered}", file=sys.stderr)
    return {key: round(value, 4) for key, value in figures.items()}


def _compared(
    folder: Path, clip: Path, truth: Truth, options: argparse.Namespace
) -> dict[str, float]:
    """The job against the naive way, on one stack; all of its time counts, its queue's too."""
    script = Script(truth.boxes, truth.words, options.missed, options.jitter, seed=options.seed)
    with service_process("kinemask_segmenter") as (address, _):
        step = step_ms(clip, truth, address)
    dear = replace(script, cost_ms=10 * step)
    path = folder / "script.npz"
    dear.save(path)
    with track_stack(folder / "data", path) as stack:
        ran = stack.track(job_spec(stack.upload(clip), every=options.every))
        behind = stack.addresses
        naive = run_naive(clip, _WORDS, behind["detector_addresses"], behind["segmenter_addresses"])
    job, plain = score(truth.masks, ran.masks), score(truth.masks, naive.masks)
    print(f"a step {step:.1f} ms, a detection {dear.cost_ms:.0f} ms", file=sys.stderr)
    print(f"job {ran.took_s:.1f} s {job}", file=sys.stderr)
    print(f"naive {naive.took_s:.1f} s {plain}", file=sys.stderr)
    figures = {
        "speed_ratio": naive.took_s / ran.took_s,
        "iou_ratio": job.mean_iou / plain.mean_iou,
    }
    return {key: round(value, 4) for key, value in figures.items()}


def _ran(folder: Path, clip: Path, script: Script, *, guard: bool, every: int) -> Ran:
    folder.mkdir()
    path = folder / "script.npz"
    script.save(path)
    with track_stack(folder / "data", path) as stack:
        video_id = stack.upload(clip)
        return stack.track(job_spec(video_id, guard=guard, every=every))


def job_spec(video_id: str, *, guard: bool = False, every: int = 5) -> pb.TrackJobSpec:
    """A job that looks for everything in the clip."""
    options = detector_pb2.DetectOptions(prompts=_WORDS)
    spec = pb.TrackJobSpec(
        video_id=video_id, detect=live_pb2.DetectStage(options=options, every_n_frames=every)
    )
    spec.adaptive.max_every_n_frames = 2 * every
    if guard:
        spec.leak_guard.SetInParent()
    return spec


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--every", type=int, default=5, help="detect on every n-th frame")
    parser.add_argument("--missed", type=float, default=0.2, help="share of boxes missed")
    parser.add_argument("--jitter", type=float, default=0.02, help="share of a box's side")
    parser.add_argument("--compare-per-frame", action="store_true", help="run the naive way too")
    parser.add_argument("--seed", type=int, default=7, help="of what the detector gets wrong")
    parser.add_argument("--dropout", type=int, default=15, help="frames in a row not found")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
