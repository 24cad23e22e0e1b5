"""What comes back of an effect on planes to those who stay visible, and what never does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask.effects import (
    EffectObject,
    EffectSpec,
    Outline,
    Planes,
    coming_back,
    make_planar_effect,
    restore,
)
from kinemask.masks import mask_box

Bytes = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]
Scene = tuple[int, int, list[Outline], list[Outline]]


def flat(height: int, width: int) -> Planes:
    half = (height + 1) // 2, (width + 1) // 2
    return Planes(
        *(np.full((height, width), 200, np.uint8), np.full(half, 90, np.uint8)),
        *(np.full(half, 160, np.uint8), 1),
    )


def painted(height: int, width: int, kept: list[Outline], covered: list[Outline]) -> Planes:
    """Everything covered by a black box that is larger than the frame, less what comes back."""
    planes = flat(height, width)
    effect = make_planar_effect(EffectSpec("solid", color=(0, 0, 0), region="box", grow_px=99))
    items = [EffectObject(one.mask, window_xyxy=one.window_xyxy) for one in covered]
    effect.draw(planes, items, coming_back(kept, covered, height, width))
    return planes


def ellipse(height: int, width: int, place: tuple[int, int], radii: tuple[int, int]) -> BoolMask:
    rows, columns = np.mgrid[0:height, 0:width]
    distance = ((columns - place[0]) / radii[0]) ** 2 + ((rows - place[1]) / radii[1]) ** 2
    return np.asarray(distance <= 1, np.bool_)


def cut(one: Outline) -> Outline:
    """The same, of its box alone."""
    box = mask_box(one.mask)
    if box is None:
        return one
    return Outline(one.mask[box[1] : box[3], box[0] : box[2]], one.score, box)


@st.composite
def crossing(draw: st.DrawFn) -> Scene:
    """A frame with up to three kept and three covered who may overlap, sure and unsure."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 70))

    def anybody() -> Outline:
        place = draw(st.integers(-5, 75)), draw(st.integers(-5, 65))
        radii = draw(st.integers(1, 30)), draw(st.integers(1, 30))
        mask = ellipse(height, width, place, radii)
        return Outline(mask, draw(st.sampled_from([0.0, 0.7, 0.9])))

    kept, covered = ([anybody() for _ in range(draw(st.integers(1, 3)))] for _ in range(2))
    return height, width, kept, covered


def union(outlines: list[Outline], height: int, width: int) -> BoolMask:
    masks = [one.within((0, 0, width, height)) for one in outlines]
    return np.asarray(np.logical_or.reduce(masks), np.bool_)


@given(crossing())
def test_no_pixel_of_a_covered_mask_ever_comes_back(scene: Scene) -> None:
    height, width, _, covered = scene
    hidden = union(covered, height, width)
    planes = painted(*scene)
    if not hidden.any():
        assert (planes.y == 200).all()
        return
    assert (planes.y[hidden] == 16).all()
    colours = hidden_blocks(hidden)
    assert (planes.u[colours] == 128).all()
    assert (planes.v[colours] == 128).all()


@given(crossing())
def test_windows_and_pictures_give_back_alike(scene: Scene) -> None:
    """A mask of a window and one of the frame mean the same, in planes as in RGB."""
    height, width, kept, covered = scene
    if not union(covered, height, width).any():
        return
    whole = painted(*scene)
    part = painted(height, width, [cut(one) for one in kept], [cut(one) for one in covered])
    assert np.array_equal(whole.y, part.y)
    assert np.array_equal(whole.u, part.u)
    picture = np.full((height, width, 3), 16, np.uint8)
    restore(picture, np.full_like(picture, 200), kept, covered)
    assert np.array_equal(picture[:, :, 0], whole.y)


@given(crossing())
def test_a_blocks_colour_comes_back_only_with_all_of_its_pixels(scene: Scene) -> None:
    height, width, _, covered = scene
    planes = painted(*scene)
    if not union(covered, height, width).any():
        return
    stays = hidden_blocks(planes.y == 16)
    assert np.array_equal(planes.u == 128, stays)
    assert np.array_equal(planes.v == 128, stays)


def hidden_blocks(mask: BoolMask) -> BoolMask:
    """Which chroma samples have a pixel of the mask."""
    even = np.pad(mask, ((0, mask.shape[0] % 2), (0, mask.shape[1] % 2)))
    quads = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2)
    return np.asarray(quads.any(axis=(1, 3)))


@pytest.mark.parametrize("name", ["dim", "cutout", "desaturate"])
def test_effects_on_the_background_give_nobody_anything_back(name: str) -> None:
    """They are meant for everybody but the objects; giving that back would uncover them."""
    shown, other = ellipse(40, 60, (15, 20), (8, 8)), ellipse(40, 60, (40, 20), (8, 8))
    one, two = flat(40, 60), flat(40, 60)
    effect = make_planar_effect(EffectSpec(name))
    effect.draw(one, [EffectObject(shown)])
    effect.draw(two, [EffectObject(shown)], coming_back([Outline(other)], [Outline(shown)], 40, 60))
    assert np.array_equal(one.y, two.y)
    assert np.array_equal(one.u, two.u)
    assert np.array_equal(one.v, two.v)


def test_what_is_out_of_reach_is_not_looked_at() -> None:
    kept = coming_back([Outline(ellipse(90, 90, (80, 80), (6, 6)))], [], 90, 90)
    effect = make_planar_effect(EffectSpec("solid"))
    touched = effect.draw(flat(90, 90), [EffectObject(ellipse(90, 90, (9, 9), (6, 6)))], kept)
    assert touched.back == ()
    assert "mask" not in vars(kept[0])
