"""How fast a SAM 2 stream is beside the official predictor, on the same weights and frames.

Run: `python -m benchmarks.sam2_speed [--sizes 512 1024] [--objects 1 4 8] [--precisions fp32 bf16]
[--model tiny] [--frames N] [--threads N]`. Random weights; both follow the same objects from the
same memory, and take turns frame by frame, so that a busy machine is busy for both. Before that,
memory is filled as after 16 frames: attention costs more until then. bf16 is autocast for the
official predictor, weights cast once for ours. On CUDA the official predictor also runs compiled
(`--compiled`). Ends with one JSON line: official time over ours by the tiers `fast` and `exact`,
our fp32 time over our bf16 time, and how well masks of `fast` agree with those of `exact`.
Needs the extra `kinemask-segmenter[sam2]`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from kinemask_segmenter.engines.sam2.core import CoreConfig
from kinemask_segmenter.engines.sam2.forward import Forward, Points
from kinemask_segmenter.engines.sam2.memory import POINTER_FRAMES
from kinemask_segmenter.engines.sam2.models import exact, fast_forward

from benchmarks import sam2_models
from benchmarks.sam2_models import Follower

Masks = dict[int, torch.Tensor]
_BEFORE = POINTER_FRAMES + 1
"""Frames that memory is filled for."""


class Ours:
    """A stream whose memory is full."""

    def __init__(self, model: Any, forward: Forward, image: torch.Tensor, objects: int) -> None:
        self._follower = Follower(model, CoreConfig(fill_hole_area_px=0), forward)
        index = self._follower.add_frame(image)
        for key in range(1, objects + 1):
            self._follower.prompt(index, key, _click(model.image_size, key))
        core = self._follower.core
        for memory in core.memories.values():
            begun = memory.conditioning[0]
            for past in range(1, _BEFORE):
                memory.recent[past] = replace(begun, low_res_logits=None)
        core.restore(_BEFORE, core.memories)

    def step(self, image: torch.Tensor) -> Masks:
        """The next frame."""
        return self._follower.track(self._follower.add_frame(image))


class Official:
    """The official predictor with as many frames behind it."""

    def __init__(self, model: Any, images: torch.Tensor, objects: int, dtype: torch.dtype) -> None:
        self._model = model
        self._cast = dtype is not torch.float32
        self._frame = _BEFORE
        every = torch.cat([images[:1].expand(_BEFORE, -1, -1, -1), images[1:]])
        with self._precision():
            self._state = sam2_models.official_state(model, every)
            for key in range(1, objects + 1):
                place = _click(model.image_size, key).xy[0] / model.image_size
                model.add_new_points_or_box(
                    self._state, 0, key, points=place * model.image_size, labels=[1]
                )
            model.propagate_in_video_preflight(self._state)
        for held in self._state["output_dict_per_obj"].values():
            begun = held["cond_frame_outputs"][0]
            for past in range(1, _BEFORE):
                held["non_cond_frame_outputs"][past] = begun

    def step(self, _: torch.Tensor) -> Masks:
        """The next frame."""
        with self._precision():
            _, ids, logits = next(self._model.propagate_in_video(self._state, self._frame, 0))
        self._frame += 1
        return dict(zip(ids, logits, strict=True))

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if not self._cast:
            return contextlib.nullcontext()
        autocast: contextlib.AbstractContextManager[Any] = torch.autocast(
            str(self._model.device.type), dtype=torch.bfloat16
        )
        return autocast


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every combination and print the JSON line."""
    args = _arguments().parse_args(argv)
    warnings.filterwarnings("ignore", message=".*[Ss]kipping the post-processing.*")
    torch.set_num_threads(args.threads)
    report: dict[str, dict[str, float]] = {
        name: {} for name in ("ratios", "exact_ratios", "bf16_over_fp32", "mask_iou_to_exact", "ms")
    }
    for size in args.sizes:
        for objects in args.objects:
            ours = {
                precision: _measure(args, size, objects, precision, report)
                for precision in args.precisions
            }
            if len(ours) == 2:
                gain = ours["fp32"] / ours["bf16"]
                report["bf16_over_fp32"][f"{size}-{objects}obj"] = round(gain, 3)
    print(json.dumps({"device": _device_name(), "model": args.model, **report}))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--model", choices=sorted(sam2_models.CONFIGS), default="tiny")
    parser.add_argument("--frames", type=int, default=5, help="timed frames each")
    parser.add_argument("--threads", type=int, default=2, help="of a CPU")
    parser.add_argument("--compiled", action="store_true", help="official with vos_optimized, CUDA")
    return parser


def _measure(
    args: argparse.Namespace,
    size: int,
    objects: int,
    precision: str,
    report: dict[str, dict[str, float]],
) -> float:
    """Seconds a frame of the tier fast."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = sam2_models.build(0, size, model=args.model, device=device)
    theirs = model
    if args.compiled:
        theirs = sam2_models.build(0, size, model=args.model, device=device, compiled=True)
    images = sam2_models.frames(0, args.frames + 2, size)
    runners: dict[str, Any] = {
        "official": Official(theirs, images, objects, dtype),
        "fast": Ours(model, fast_forward(model, dtype), images[0], objects),
        "exact": Ours(model, exact(model), images[0], objects),
    }
    spent: dict[str, list[float]] = {name: [] for name in runners}
    agreement = []
    for image in images[1:]:
        shown = {name: _timed(each.step, image, spent[name]) for name, each in runners.items()}
        agreement.append(_iou(shown["fast"], shown["exact"]))
    # The first frame pays for what is made once.
    seconds = {name: statistics.median(each[1:]) for name, each in spent.items()}
    key = f"{size}-{precision}-{objects}obj"
    report["ratios"][key] = round(seconds["official"] / seconds["fast"], 3)
    if precision == "fp32":
        report["exact_ratios"][key] = round(seconds["official"] / seconds["exact"], 3)
    report["mask_iou_to_exact"][key] = round(statistics.mean(agreement), 5)
    report["ms"].update({f"{key}-{name}": round(s * 1e3, 1) for name, s in seconds.items()})
    return seconds["fast"]


def _timed(step: Callable[[torch.Tensor], Masks], image: torch.Tensor, spent: list[float]) -> Masks:
    begun_s = time.perf_counter()
    found = step(image)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    spent.append(time.perf_counter() - begun_s)
    return found


def _iou(some: Masks, others: Masks) -> float:
    """Mean over objects; of masks at a quarter of the model's size."""
    found = []
    for key, mine in some.items():
        small = mine.shape[-2:]
        other = torch.nn.functional.interpolate(
            others[key].float().reshape(1, 1, *others[key].shape[-2:]), small
        )
        one, two = mine.reshape(small) > 0, other.reshape(small) > 0
        found.append(float((one & two).sum() / (one | two).sum().clamp(min=1)))
    return statistics.mean(found)


def _click(size: int, number: int) -> Points:
    place = torch.tensor([[[size * (0.1 * number), size * 0.5]]])
    return Points(place, torch.tensor([[1]], dtype=torch.int32))


def _device_name() -> str:
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"cpu, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
