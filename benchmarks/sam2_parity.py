"""How far the streaming SAM 2 core is from the official predictor, scenario by scenario.

Run: `python -m benchmarks.sam2_parity [--seed N] [--size PX] [--frames N] [--tiny]`. Both run the
same random weights on the same tensors, without the official CUDA extension (so without holes
being filled). Ends with one JSON line. `worst_batched` is of the scenarios with several objects,
run as one batch by the tier `fast`; all others run by the tier `exact`. `--independence`,
`--late-prompt` and `--correction` measure ours against itself instead (see `sam2_properties`).
Needs the extra `kinemask-segmenter[sam2]`.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from kinemask_segmenter.engines.sam2.core import CoreConfig, MemoryPolicy
from kinemask_segmenter.engines.sam2.forward import Forward, Points
from kinemask_segmenter.engines.sam2.models import fast_forward

from benchmarks import sam2_models
from benchmarks.sam2_models import Follower
from benchmarks.sam2_properties import PROPERTIES


@dataclass(frozen=True)
class Said:
    """One prompt, as shares of the frame's size."""

    frame: int
    object_id: int = 1
    points: Sequence[tuple[float, float]] = ()
    labels: Sequence[int] = ()
    box: tuple[float, float, float, float] | None = None
    mask: tuple[float, float, float, float] | None = None
    """A filled rectangle."""


@dataclass(frozen=True)
class Scenario:
    """What is said and done while the frames go by."""

    prompts: Sequence[Said]
    hidden: range = range(0)
    """Frames on which the object score is forced below zero."""
    removed: dict[int, int] = field(default_factory=dict)
    """Object to remove before a frame."""
    reverse: bool = False
    """Once all frames were seen, walk back to the first; what is compared is the way back."""


_POINT = Said(0, points=[(0.4, 0.5)], labels=[1])
_BOX = (0.2, 0.3, 0.6, 0.7)
_OTHER = Said(0, 2, points=[(0.7, 0.3)], labels=[1])
SINGLE = {
    "one_point": Scenario([_POINT]),
    "box": Scenario([Said(0, box=_BOX)]),
    "mask": Scenario([Said(0, mask=_BOX)]),
    "box_with_points": Scenario([Said(0, points=[(0.4, 0.5)], labels=[1], box=_BOX)]),
    "negative_points": Scenario([Said(0, points=[(0.4, 0.5), (0.8, 0.8)], labels=[1, 0])]),
    "occlusion": Scenario([_POINT], hidden=range(12, 18)),
    "correction_official": Scenario([_POINT, Said(20, points=[(0.6, 0.6)], labels=[0])]),
    "reverse": Scenario([Said(-1, points=[(0.4, 0.5)], labels=[1])], reverse=True),
    "reverse_after_forward": Scenario([_POINT], reverse=True),
}
SEVERAL = {
    "three_objects": Scenario([_POINT, _OTHER, Said(0, 3, box=_BOX)]),
    "added_at_8": Scenario([_POINT, Said(8, 2, points=[(0.7, 0.3)], labels=[1])]),
    "removed_at_10": Scenario([_POINT, _OTHER], removed={10: 2}),
}
Masks = list[dict[int, torch.Tensor]]


def main(argv: Sequence[str] | None = None) -> None:
    """Run every scenario and print the JSON line."""
    args = _arguments().parse_args(argv)
    if args.frames < 30:
        raise SystemExit(f"expected at least 30 frames, got {args.frames}")
    # The official predictor says at every mask that its CUDA extension is missing.
    warnings.filterwarnings("ignore", message=".*[Ss]kipping the post-processing.*")
    torch.set_num_threads(args.threads)
    model = sam2_models.build(args.seed, args.size, tiny=args.tiny)
    images = sam2_models.frames(args.seed, args.frames, args.size)
    asked = [name for name in PROPERTIES if getattr(args, name)]
    if asked:
        print(json.dumps({name: PROPERTIES[name](model, images) for name in asked}))
        return
    scenarios = {**SINGLE, **SEVERAL}
    found = {name: difference(model, images, each) for name, each in scenarios.items()}
    together = fast_forward(model)
    report = {
        "scenarios": found,
        "worst_single": max(found[name] for name in SINGLE),
        "worst_several": max(found[name] for name in SEVERAL),
        "worst_batched": max(
            difference(model, images, each, together) for each in SEVERAL.values()
        ),
    }
    print(json.dumps(report))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128, help="model input in pixels")
    parser.add_argument("--frames", type=int, default=40, help="at least 30")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="sam2.1_hiera_t, not a small trunk")
    for name, measure in PROPERTIES.items():
        flag, help_text = "--" + name.replace("_", "-"), (measure.__doc__ or "").splitlines()[0]
        parser.add_argument(flag, action="store_true", help=help_text)
    return parser


def difference(
    model: Any, images: torch.Tensor, scenario: Scenario, forward: Forward | None = None
) -> float:
    """Largest absolute difference of full-size logits, over frames and objects.

    `forward` is ours; the tier `exact` where it is None.

    Raises:
        ValueError: the two do not show the same objects.
    """
    worst = 0.0
    for theirs, mine in zip(
        official(model, images, scenario), ours(model, images, scenario, forward), strict=True
    ):
        if theirs.keys() != mine.keys():
            raise ValueError(f"expected objects {sorted(theirs)}, got {sorted(mine)}")
        worst = max([worst, *(float((theirs[key] - mine[key]).abs().max()) for key in theirs)])
    return worst


def official(model: Any, images: torch.Tensor, scenario: Scenario) -> Masks:
    """Frame by frame: prompts, then propagation from that frame to that frame."""
    state = sam2_models.official_state(model, images)
    shown: Masks = []
    for index in range(len(images)):
        sam2_models.show_objects(model, index not in scenario.hidden)
        for said in _said_on(scenario, index, len(images)):
            if index > 0 and said.object_id in state["obj_ids"]:
                _propagate(model, state, index)  # a correction is one of a frame already tracked
            _tell_official(model, state, said)
        if index in scenario.removed:
            model.remove_object(state, scenario.removed[index], need_output=False)
        # Nothing to propagate before the first prompt: without an object it raises.
        shown.append(_propagate(model, state, index) if state["obj_ids"] else {})
    if scenario.reverse:
        back = model.propagate_in_video(state, _turn(scenario, len(images)), reverse=True)
        return [dict(zip(ids, logits.split(1), strict=True)) for _, ids, logits in back]
    return shown


def _turn(scenario: Scenario, frames: int) -> int:
    """Where to walk back from: the official predictor fails where there is no later frame and no
    prompt, for want of pointers."""
    return frames - 1 if _said_on(scenario, frames - 1, frames) else frames - 2


def _said_on(scenario: Scenario, index: int, frames: int) -> list[Said]:
    return [each for each in scenario.prompts if each.frame % frames == index]


def _propagate(model: Any, state: Any, index: int) -> dict[int, torch.Tensor]:
    # `max_frame_num_to_track=0` is one frame: the official count is one too many.
    _, ids, logits = next(model.propagate_in_video(state, index, 0))
    return dict(zip(ids, logits.split(1), strict=True))


def _tell_official(model: Any, state: Any, said: Said) -> None:
    size, frame = model.image_size, said.frame % state["num_frames"]
    if said.mask is not None:
        model.add_new_mask(state, frame, said.object_id, _rectangle(said.mask, size))
        return
    model.add_new_points_or_box(
        state,
        frame,
        said.object_id,
        points=np.array(said.points, np.float32) * size if said.points else None,
        labels=np.array(said.labels, np.int32) if said.points else None,
        box=np.array(said.box, np.float32) * size if said.box else None,
    )


def ours(
    model: Any, images: torch.Tensor, scenario: Scenario, forward: Forward | None = None
) -> Masks:
    """The same with the streaming core."""
    kept = len(images) if scenario.reverse else 4
    config = CoreConfig(retained_frames=kept, fill_hole_area_px=0, policy=MemoryPolicy.OFFICIAL)
    core = Follower(model, config, forward)
    shown: Masks = []
    for index, image in enumerate(images):
        sam2_models.show_objects(model, index not in scenario.hidden)
        core.add_frame(image)
        if index in scenario.removed:
            core.remove(scenario.removed[index])
        masks = core.track(index)
        for said in _said_on(scenario, index, len(images)):
            logits = core.prompt(index, said.object_id, *for_core(said, model.image_size))
            masks.setdefault(said.object_id, logits)
        shown.append(_all_full(masks, model.image_size))
    if scenario.reverse:
        back = range(_turn(scenario, len(images)), -1, -1)
        return [_all_full(each, model.image_size) for each in core.walk(back)]
    return shown


def _all_full(masks: dict[int, torch.Tensor], size: int) -> dict[int, torch.Tensor]:
    return {key: _full(each, size) for key, each in masks.items()}


def for_core(said: Said, size: int) -> tuple[Points | None, torch.Tensor | None]:
    """A prompt as the core takes it: points, or a mask."""
    if said.mask is not None:
        return None, _rectangle(said.mask, size)[None, None].float()
    box = [] if said.box is None else [said.box[:2], said.box[2:]]
    labels = [2, 3] * (said.box is not None) + list(said.labels)
    xy = np.array([*box, *said.points], np.float32) * size
    # Scaled as the official predictor does, down to the last bit.
    scaled = torch.from_numpy(xy)[None] / torch.tensor([size, size]) * size
    return Points(scaled, torch.tensor([labels], dtype=torch.int32)), None


def _rectangle(box: tuple[float, float, float, float], size: int) -> torch.Tensor:
    x_min, y_min, x_max, y_max = (int(each * size) for each in box)
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[y_min:y_max, x_min:x_max] = True
    return mask


def _full(logits: torch.Tensor, size: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        logits, size=(size, size), mode="bilinear", align_corners=False
    )


if __name__ == "__main__":
    main()
