"""How fast a SAM 2 stream is beside the official predictor, on the same weights and frames.

Run: `python -m benchmarks.sam2_speed [--sizes 512 1024] [--objects 1 4 8] [--precisions fp32 bf16]
[--models tiny] [--frames N] [--threads N] [--save]`, or on a card all there is to measure by
`python -m benchmarks.sam2_speed --device cuda --official-compiled --ours-compiled --save`.

Random weights; both follow the same objects from the same memory, in all precisions, and take turns
frame by frame, so that a busy machine is busy for all; of each one's frames the fastest quarter
counts. Before that, memory is filled as after 16 frames: attention costs more until then. bf16 is
autocast for the official predictor, weights cast once for ours. Ends with one JSON line: official
time over ours by the tiers `fast` and `exact`, our fp32 time over our bf16 time, and how well masks
of `fast` agree with those of `exact` in fp32; with several models, keys begin with the model's
name. Compiled runs are compared with each other, where both are, under `compiled_ratios`. `--save`
writes the report into benchmarks/results/ under the hardware's name. Needs the extra
`kinemask-segmenter[sam2]`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from kinemask_segmenter.engines.sam2.buckets import CompileOptions
from kinemask_segmenter.engines.sam2.compiled import CompiledForward
from kinemask_segmenter.engines.sam2.core import CoreConfig
from kinemask_segmenter.engines.sam2.forward import Forward, Points
from kinemask_segmenter.engines.sam2.memory import POINTER_FRAMES
from kinemask_segmenter.engines.sam2.models import exact, fast_forward

from benchmarks import sam2_models
from benchmarks.hardware import device_of, hardware_name, save
from benchmarks.sam2_models import Follower

Masks = dict[int, torch.Tensor]
Report = dict[str, dict[str, float]]
_PARTS = "ratios", "exact_ratios", "compiled_ratios", "bf16_over_fp32", "mask_iou_to_exact", "ms"
_BEFORE = POINTER_FRAMES + 1
"""Frames that memory is filled for."""
_LARGE_PX = 1024
_UNTIMED = 3
"""The frame that is prompted, and those that pay for what is made once."""


@dataclass(frozen=True)
class Usual:
    """What is measured unless something else is asked for."""

    models: tuple[str, ...]
    sizes: tuple[int, ...]
    objects: tuple[int, ...]


_USUAL = {
    "cpu": Usual(("tiny",), (512, 1024), (1, 4, 8)),
    "cuda": Usual(("tiny", "small", "base-plus", "large"), (1024,), (1, 4, 16)),
}


@dataclass(frozen=True)
class Case:
    """One combination."""

    model: str
    size: int
    objects: int
    prefix: str
    """What its keys in the report begin with."""


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
    args.device = device_of(args.device)
    report: Report = {name: {} for name in _PARTS}
    usual = _USUAL[args.device]
    for model in args.models or usual.models:
        several = len(args.models or usual.models) > 1
        for size in args.sizes or usual.sizes:
            for objects in args.objects or usual.objects:
                case = Case(model, size, objects, f"{model}-" if several else "")
                _measure_all(args, case, report)
    whole = {
        "hardware": hardware_name(args.device),
        "device": args.device,
        "torch": torch.__version__,
        "models": args.models or usual.models,
        **{name: part for name, part in report.items() if part},
    }
    if args.save:
        print(f"saved to {save('sam2_speed', whole)}", file=sys.stderr)
    print(json.dumps(whole))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--sizes", type=int, nargs="+", help="model input in pixels")
    parser.add_argument("--objects", type=int, nargs="+")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--models", nargs="+", choices=sorted(sam2_models.CONFIGS))
    parser.add_argument("--frames", type=int, default=5, help="timed at 1024 px; smaller: more")
    parser.add_argument("--threads", type=int, default=2, help="of a CPU")
    parser.add_argument(
        "--official-compiled", action="store_true", help="the official vos_optimized too; CUDA"
    )
    parser.add_argument("--ours-compiled", action="store_true", help="our tier fast compiled too")
    parser.add_argument("--save", action="store_true", help="into benchmarks/results/")
    return parser


def _measure_all(args: argparse.Namespace, case: Case, report: Report) -> None:
    """All precisions and both sides, in turns frame by frame."""
    count = round(args.frames * max(1.0, (_LARGE_PX / case.size) ** 2))
    images = sam2_models.frames(0, count + _UNTIMED, case.size).to(args.device)
    runners = _runners(args, case, images)
    spent: dict[str, list[float]] = {name: [] for name in runners}
    agreement: dict[str, list[float]] = {precision: [] for precision in args.precisions}
    for image in images[1:]:
        shown = {name: timed(each.step, image, spent[name]) for name, each in runners.items()}
        for precision, found in agreement.items():
            found.append(_iou(shown[f"{precision}-fast"], shown["fp32-exact"]))
    # The first frames pay for what is made, or compiled, once.
    seconds = {name: _undisturbed(each[_UNTIMED - 1 :]) for name, each in spent.items()}
    size = f"{case.prefix}{case.size}"
    for precision, found in agreement.items():
        key = f"{size}-{precision}-{case.objects}obj"
        of = {
            name.removeprefix(f"{precision}-"): each
            for name, each in seconds.items()
            if name.startswith(precision)
        }
        _report(key, of, report)
        report["mask_iou_to_exact"][key] = round(statistics.mean(found), 5)
    if {"fp32", "bf16"} <= agreement.keys():
        gain = seconds["fp32-fast"] / seconds["bf16-fast"]
        report["bf16_over_fp32"][f"{size}-{case.objects}obj"] = round(gain, 3)
    print(f"{size} px, {case.objects} objects: {seconds}", file=sys.stderr, flush=True)


def _report(key: str, seconds: dict[str, float], report: Report) -> None:
    """Take in one precision's seconds a frame."""
    report["ratios"][key] = round(seconds["official"] / seconds["fast"], 3)
    if "exact" in seconds:
        report["exact_ratios"][key] = round(seconds["official"] / seconds["exact"], 3)
    if {"official_compiled", "fast_compiled"} <= seconds.keys():
        gain = seconds["official_compiled"] / seconds["fast_compiled"]
        report["compiled_ratios"][key] = round(gain, 3)
    report["ms"].update({f"{key}-{name}": round(s * 1e3, 1) for name, s in seconds.items()})


def _runners(args: argparse.Namespace, case: Case, images: torch.Tensor) -> dict[str, Any]:
    """By precision and name, in the order in which they take their turns."""
    runners: dict[str, Any] = {}
    for precision in args.precisions:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        for name, each in _of_precision(args, case, dtype, images).items():
            runners[f"{precision}-{name}"] = each
    if "fp32-exact" not in runners:
        model = sam2_models.build(0, case.size, model=case.model, device=args.device)
        runners["fp32-exact"] = Ours(model, exact(model), images[0], case.objects)
    return runners


def _of_precision(
    args: argparse.Namespace, case: Case, dtype: torch.dtype, images: torch.Tensor
) -> dict[str, Any]:
    model = sam2_models.build(0, case.size, model=case.model, device=args.device)
    fast = fast_forward(model, dtype)
    runners: dict[str, Any] = {
        "official": Official(model, images, case.objects, dtype),
        "fast": Ours(model, fast, images[0], case.objects),
    }
    if dtype is torch.float32:
        runners["exact"] = Ours(model, exact(model), images[0], case.objects)
    if args.official_compiled:
        theirs = sam2_models.build(
            0, case.size, model=case.model, device=args.device, compiled=True
        )
        runners["official_compiled"] = Official(theirs, images, case.objects, dtype)
    if args.ours_compiled:
        built = CompiledForward(fast, CompileOptions(buckets=_buckets(case.objects)))
        built.warm_up()
        runners["fast_compiled"] = Ours(model, built.forward, images[0], case.objects)
    return runners


def _buckets(objects: int) -> tuple[int, ...]:
    """One picture, and all objects as one batch."""
    return tuple(sorted({1, min(objects, 16)}))


def _undisturbed(seconds: Sequence[float]) -> float:
    """Mean of the fastest quarter: what else runs on a machine only ever adds time."""
    return statistics.mean(sorted(seconds)[: max(1, len(seconds) // 4)])


def timed(step: Callable[[torch.Tensor], Masks], image: torch.Tensor, spent: list[float]) -> Masks:
    """What a step gives; its seconds are added to `spent`."""
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
    row, column = divmod(number - 1, 9)
    place = torch.tensor([[[size * 0.1 * (1 + column), size * (0.5 + 0.2 * row)]]])
    return Points(place, torch.tensor([[1]], dtype=torch.int32))


if __name__ == "__main__":
    main()
