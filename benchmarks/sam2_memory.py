"""Whether a SAM 2 stream stays as small as it began.

Run: `python -m benchmarks.sam2_memory [--frames 2000] [--size PX]`. One object is followed by a
small model with random weights; beside it the official predictor on a few frames. Ends with one
JSON line: bytes of the stream's tensors at some frames, growth of the process's memory from frame
200 to the end, and what the official predictor adds with every frame.
Needs the extra `kinemask-segmenter[sam2]`.
"""

from __future__ import annotations

import argparse
import gc
import json
import warnings
from collections.abc import Sequence
from typing import Any

import psutil
import torch
from kinemask_segmenter.engines.sam2.forward import Points

from benchmarks import sam2_models
from benchmarks.sam2_models import Follower

_LOOKED_AT = (20, 200)
_OFFICIAL_FRAMES = (20, 60)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=2000, help="more than 200")
    parser.add_argument("--size", type=int, default=64, help="model input in pixels")
    args = parser.parse_args(argv)
    if args.frames <= max(_LOOKED_AT):
        raise SystemExit(f"expected more than {max(_LOOKED_AT)} frames, got {args.frames}")
    warnings.filterwarnings("ignore", message=".*[Ss]kipping the post-processing.*")
    torch.set_num_threads(1)
    model = sam2_models.build(0, args.size)
    state, resident = _ours(model, args.size, args.frames)
    report = {
        "state_bytes": state,
        "rss_growth_pct": round((resident[-1] / resident[0] - 1) * 100, 2),
        "official_bytes_per_frame": round(_official_bytes_per_frame(model, args.size)),
    }
    print(json.dumps(report))


def _ours(model: Any, size: int, frames: int) -> tuple[dict[str, int], list[int]]:
    """Bytes of state by frame, and resident bytes at frame 200 and the last."""
    follower = Follower(model)
    images = sam2_models.frames(0, 32, size)
    state: dict[str, int] = {}
    resident = []
    for number in range(frames):
        index = follower.add_frame(images[number % len(images)])
        follower.track(index)
        if number == 0:
            follower.prompt(index, 1, _click(size))
        if number + 1 in (*_LOOKED_AT, frames):
            state[str(number + 1)] = follower.core.state_bytes
        if number + 1 in (max(_LOOKED_AT), frames):
            gc.collect()
            resident.append(psutil.Process().memory_info().rss)
    return state, resident


def _click(size: int) -> Points:
    place = torch.tensor([[[0.4 * size, 0.5 * size]]])
    return Points(place, torch.tensor([[1]], dtype=torch.int32))


def _official_bytes_per_frame(model: Any, size: int) -> float:
    """Bytes of the tensors that its state gains with every frame, input included."""
    totals = []
    for count in _OFFICIAL_FRAMES:
        state = sam2_models.official_state(model, sam2_models.frames(0, count, size))
        model.add_new_points_or_box(state, 0, 1, points=[[0.4 * size, 0.5 * size]], labels=[1])
        for _ in model.propagate_in_video(state):
            pass
        seen: dict[int, int] = {}
        _weigh(state, seen)
        totals.append(sum(seen.values()))
    fewer, more = _OFFICIAL_FRAMES
    return (totals[1] - totals[0]) / (more - fewer)


def _weigh(value: Any, seen: dict[int, int]) -> None:
    """Bytes of every tensor below a value, by the storage that holds it."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
    elif isinstance(value, dict):
        for each in value.values():
            _weigh(each, seen)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _weigh(each, seen)


if __name__ == "__main__":
    main()
