"""Rules by name on frames: those they leave out keep their pixels, and the audit stays true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kinemask import masks
from kinemask.effects import Planes
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2
from kinemask_gateway.rendering.coverage import Coverage
from kinemask_gateway.rendering.drawing import Drawing
from kinemask_gateway.rendering.rules import rules_of
from kinemask_gateway.tracks.values import (
    MaskOrigin,
    ObjectState,
    TrackedFrame,
    TrackedName,
    TrackedObject,
)
from numpy.typing import NDArray

HEIGHT, WIDTH = 61, 121
ADA, BOB = np.zeros((2, HEIGHT, WIDTH), np.bool_)
ADA[11:50, 11:61] = True
BOB[11:50, 61:111] = True


def seen(
    object_id: int, mask: NDArray[np.bool_], name: str | None, words: str = "face"
) -> TrackedObject:
    box = masks.mask_box(mask)
    assert box is not None
    return TrackedObject(
        *(object_id, words, words, 0.9, ObjectState.CONFIRMED, MaskOrigin.FOLLOWED),
        (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        masks.encode_rle(mask),
        int(mask.sum()),
        None if name is None else TrackedName("", name, 0.9, decided=True),
    )


def noise() -> Planes:
    rng = np.random.default_rng(3)
    half = (HEIGHT + 1) // 2, (WIDTH + 1) // 2
    y = rng.integers(40, 200, (HEIGHT, WIDTH), np.uint8)
    u, v = rng.integers(40, 100, (2, *half), np.uint8)
    return Planes(y, u, v, 1)


def rule(*effects: live_pb2.Effect, **fields: object) -> pb.RenderRule:
    return pb.RenderRule(effects=effects, **fields)  # type: ignore[arg-type]  # fields by name


GROWN = live_pb2.Effect(name="solid", grow_px=9, color_rgb=0)


def rendered(*rules: pb.RenderRule, objects: tuple[TrackedObject, ...]) -> tuple[Planes, Coverage]:
    planes, coverage = noise(), Coverage()
    Drawing(rules_of(rules)).draw(planes, TrackedFrame(0, 0, objects), coverage)
    return planes, coverage


BOTH = (seen(1, ADA, "Ada"), seen(2, BOB, "Bob"))


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(rule(GROWN, except_names=["Ada"]), id="growth"),
        pytest.param(rule(GROWN, only_names=["bob"]), id="only"),
        pytest.param(
            rule(live_pb2.Effect(name="solid", color_rgb=0), except_names=["Ada"], feather_px=9),
            id="feather",
        ),
        pytest.param(rule(GROWN, GROWN, except_names=["Ada"]), id="two effects"),
        pytest.param(rule(GROWN, except_names=["Ada"], object_ids=[2]), id="she is in no list"),
    ],
)
def test_the_one_left_out_keeps_every_pixel(told: pb.RenderRule) -> None:
    before = noise()
    planes, coverage = rendered(told, objects=BOTH)
    assert np.array_equal(planes.y[ADA], before.y[ADA])
    assert (planes.y[BOB] == 16).all()
    # Columns 60 and 61 share their colour, one Ada's and one Bob's: it stays covered.
    assert np.array_equal(planes.u[6:25, 6:30], before.u[6:25, 6:30])
    assert (planes.u[6:25, 30:55] == 128).all()
    assert (planes.v[6:25, 30:55] == 128).all()
    assert coverage.of(1).share_sum == 0.0
    assert coverage.of(2).share_sum == 1.0


def test_without_names_nothing_is_given_back() -> None:
    planes, coverage = rendered(rule(GROWN, object_ids=[2]), objects=BOTH)
    assert (planes.y[11:50, 52:61] == 16).all()
    assert coverage.of(1).share_sum == pytest.approx(9 / 50)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"origin": MaskOrigin.LEAK_GUARD}, id="leak guard"),
        pytest.param({"score": 0.5}, id="low score"),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_beside_an_unsure_mask_a_guard_stays_covered(
    number: int, change: dict[str, object]
) -> None:
    objects = [*BOTH]
    objects[number] = replace(objects[number], **change)  # type: ignore[arg-type]  # by name
    before = noise()
    planes, coverage = rendered(rule(GROWN, except_names=["Ada"]), objects=tuple(objects))
    assert (planes.y[11:50, 59:] == 16).sum() >= 39 * 52  # 5 % of 50 px are two columns of Ada's
    assert (planes.y[11:50, 59:61] == 16).all()
    assert np.array_equal(planes.y[11:50, 11:59], before.y[11:50, 11:59])
    assert coverage.of(1).share_sum == pytest.approx(2 / 50)
    assert coverage.of(2).share_sum == 1.0


def test_somebody_known_by_a_box_alone_stays_covered_in_all_of_it() -> None:
    lone = replace(BOTH[1], rle=b"", area_px=0, box_xyxy=(41.0, 11.0, 111.0, 50.0))
    planes, _ = rendered(rule(GROWN, except_names=["Ada"]), objects=(BOTH[0], lone))
    assert (planes.y[11:50, 41:111] == 16).all()
    assert (planes.y[11:50, 11:30] != 16).all()
    outside = replace(lone, box_xyxy=(200.0, 11.0, 210.0, 50.0))
    rendered(rule(GROWN, except_names=["Ada"]), objects=(BOTH[0], outside))


def test_what_an_earlier_rule_drew_stays() -> None:
    """Ada is grey by the first rule; the second gives back that, not the source."""
    grey = rule(live_pb2.Effect(name="solid", color_rgb=0xFFFFFF), object_ids=[1])
    planes, coverage = rendered(grey, rule(GROWN, except_names=["Ada"]), objects=BOTH)
    assert (planes.y[ADA] == 235).all()
    assert (planes.y[BOB] == 16).all()
    assert coverage.of(1).share_sum == 1.0


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(rule(GROWN, except_names=["Ada"], prompts=["face"]), id="of no list"),
        pytest.param(rule(GROWN, only_names=["Bob"], prompts=["face"]), id="only"),
    ],
)
@pytest.mark.parametrize("words", ["person", "chair"])
def test_what_is_around_a_covered_face_does_not_take_its_growth_away(
    told: pb.RenderRule, words: str
) -> None:
    around = np.zeros_like(BOB)
    around[2:60, 52:120] = True
    planes, _ = rendered(told, objects=(BOTH[1], seen(3, around, None, words)))
    assert (planes.y[11:50, 52:120] == 16).all()


def test_whoever_is_undecided_is_covered_and_gets_nothing_back() -> None:
    planes, coverage = rendered(
        rule(GROWN, except_names=["Ada"]), objects=(seen(1, ADA, None), BOTH[1])
    )
    assert (planes.y[ADA | BOB] == 16).all()
    assert coverage.of(1).share_sum == 1.0


def test_a_cutout_of_one_name_shows_nobody_else() -> None:
    planes, coverage = rendered(
        rule(live_pb2.Effect(name="cutout"), only_names=["Ada"]), objects=BOTH
    )
    assert (planes.y[BOB] == 16).all()
    assert coverage.of(2).share_sum == 1.0
