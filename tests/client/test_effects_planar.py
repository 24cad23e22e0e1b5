"""Effects on YCbCr planes: what they change, what they hide, and how they look beside RGB's."""

import itertools
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask.effects import (
    EFFECT_NAMES,
    PLANAR_EFFECT_NAMES,
    EffectObject,
    EffectSpec,
    Planes,
    draw_planar_label,
    make_effect,
    make_planar_effect,
    palette_color,
)
from kinemask.masks import mask_box

Bytes = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]
BACKGROUND = ("dim", "cutout", "desaturate")


def noise(height: int = 60, width: int = 80, seed: int = 0) -> Planes:
    rng = np.random.default_rng(seed)
    half = (height + 1) // 2, (width + 1) // 2
    y = rng.integers(16, 236, (height, width), np.uint8)
    u, v = rng.integers(16, 236, (2, *half), np.uint8)
    return Planes(y, u, v, 1)


def copied(planes: Planes) -> Planes:
    return Planes(planes.y.copy(), planes.u.copy(), planes.v.copy(), planes.matrix)


def disc(height: int, width: int, x: float, y: float, radius: float) -> BoolMask:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.asarray(np.hypot(columns - x, rows - y) <= radius, np.bool_)


def blocks(mask: BoolMask) -> BoolMask:
    """Which chroma samples have a pixel of the mask."""
    height, width = mask.shape
    even = np.pad(mask, ((0, height % 2), (0, width % 2)))
    quads = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2)
    return np.asarray(quads.any(axis=(1, 3)))


def parts(planes: Planes) -> tuple[Bytes, Bytes, Bytes]:
    return planes.y, planes.u, planes.v


@st.composite
def scene(draw: st.DrawFn) -> tuple[Planes, list[EffectObject], BoolMask]:
    """Noise with up to three objects, and the union of their masks."""
    height, width = draw(st.integers(1, 50)), draw(st.integers(1, 60))
    objects, union = [], np.zeros((height, width), np.bool_)
    for index in range(draw(st.integers(0, 3))):
        x, y = draw(st.integers(-5, 65)), draw(st.integers(-5, 55))
        mask = disc(height, width, x, y, draw(st.sampled_from([0, 1, 8, 30, 200])))
        objects.append(EffectObject(mask=mask, color=palette_color(index)))
        union |= mask
    return noise(height, width, draw(st.integers(0, 9))), objects, union


@pytest.mark.parametrize("name", PLANAR_EFFECT_NAMES)
@given(scene=scene(), intensity=st.sampled_from([None, 0.0, 0.3, 1.0]))
def test_only_the_region_changes(
    name: str, scene: tuple[Planes, list[EffectObject], BoolMask], intensity: float | None
) -> None:
    before, objects, union = scene
    after = copied(before)
    make_planar_effect(EffectSpec(name, intensity)).draw(after, objects)
    may_change = ~union if name in BACKGROUND else union
    for old, new in zip(parts(before), parts(after), strict=True):
        touched = old != new
        allowed = may_change if old.shape == union.shape else blocks(may_change)
        assert not (touched & ~allowed).any()


@pytest.mark.parametrize("feather_px", [0, 5])
@pytest.mark.parametrize("region", ["mask", "box"])
@given(scene=scene())
def test_solid_shows_nothing_of_what_it_covers(
    region: Literal["mask", "box"],
    feather_px: int,
    scene: tuple[Planes, list[EffectObject], BoolMask],
) -> None:
    one, objects, union = scene
    other = copied(one)
    # All that is known of a covered pixel: its own brightness, and its block's colour.
    other.y[union] ^= 0x5A
    other.u[blocks(union)] ^= 0x33
    other.v[blocks(union)] ^= 0x77
    solid = make_planar_effect(EffectSpec("solid", region=region), feather_px)
    solid.draw(one, objects)
    solid.draw(other, objects)
    assert all(map(np.array_equal, parts(one), parts(other)))


@pytest.mark.parametrize("name", PLANAR_EFFECT_NAMES)
@given(scene=scene(), grow_px=st.sampled_from([0, 4]), feather_px=st.sampled_from([0, 3]))
def test_a_mask_of_a_window_is_drawn_alike(
    name: str,
    scene: tuple[Planes, list[EffectObject], BoolMask],
    grow_px: int,
    feather_px: int,
) -> None:
    whole, objects, _ = scene
    part = copied(whole)
    effect = make_planar_effect(EffectSpec(name, grow_px=grow_px), feather_px)
    effect.draw(whole, objects)
    effect.draw(part, [windowed(item) for item in objects])
    assert all(map(np.array_equal, parts(whole), parts(part)))


def windowed(item: EffectObject) -> EffectObject:
    assert item.mask is not None
    box = mask_box(item.mask) or (0, 0, 0, 0)
    crop = item.mask[box[1] : box[3], box[0] : box[2]]
    return item if not crop.size else replace(item, mask=crop, window_xyxy=box)


@given(scene=scene())
def test_a_cutout_shows_nothing_of_the_background(
    scene: tuple[Planes, list[EffectObject], BoolMask],
) -> None:
    one, objects, union = scene
    other = copied(one)
    other.y[~union] ^= 0x5A
    other.u[blocks(~union)] ^= 0x33
    other.v[blocks(~union)] ^= 0x77
    cutout = make_planar_effect(EffectSpec("cutout"))
    cutout.draw(one, objects)
    cutout.draw(other, objects)
    assert all(map(np.array_equal, parts(one), parts(other)))


@pytest.mark.parametrize(
    ("name", "feather_px"),
    list(itertools.product(["blur", "pixelate", "solid", "overlay"], [3, 12])),
)
def test_a_feather_is_whole_inside_and_fades_outside(name: str, feather_px: int) -> None:
    before, mask = noise(), disc(60, 80, 40, 30, 12)
    item = EffectObject(mask=mask, color=(0, 0, 255))
    hard, soft = copied(before), copied(before)
    make_planar_effect(EffectSpec(name, grow_px=2)).draw(hard, [item])
    make_planar_effect(EffectSpec(name, grow_px=2), feather_px).draw(soft, [item])
    near = disc(60, 80, 40, 30, 13 + 2 + feather_px + 1)
    changed = soft.y != before.y
    assert not changed[~near].any()
    assert changed[near & ~disc(60, 80, 40, 30, 15)].mean() > 0.4
    if name in ("solid", "overlay"):  # the others average over a larger rectangle
        assert np.array_equal(soft.y[mask], hard.y[mask])


def test_feathered_background_is_kept_whole_on_the_object() -> None:
    before, mask = noise(), disc(60, 80, 40, 30, 12)
    after = copied(before)
    make_planar_effect(EffectSpec("cutout", color=(0, 0, 0)), 6).draw(
        after, [EffectObject(mask=mask)]
    )
    assert np.array_equal(after.y[mask], before.y[mask])
    assert (after.y[~disc(60, 80, 40, 30, 20)] == 16).all()
    ring = disc(60, 80, 40, 30, 15) & ~disc(60, 80, 40, 30, 14)
    assert (after.y[ring] < before.y[ring]).mean() > 0.9


def test_touched_says_where_the_whole_effect_is() -> None:
    mask = disc(60, 80, 40, 30, 12)
    for name, expected in (("solid", mask), ("cutout", ~mask)):
        covered = np.zeros((60, 80), np.uint8)
        effect = make_planar_effect(EffectSpec(name))
        effect.draw(noise(), [EffectObject(mask=mask)]).add_to(covered)
        assert np.array_equal(covered > 0, expected)


@pytest.mark.parametrize("name", EFFECT_NAMES)
@pytest.mark.parametrize("matrix", [1, 6])
def test_it_looks_like_the_effect_on_rgb(name: str, matrix: int) -> None:
    height, width = 120, 160
    rows, columns = np.mgrid[0:height, 0:width]
    rgb = np.stack([columns, rows, 200 - columns], axis=2).astype(np.uint8)
    item = EffectObject(mask=disc(height, width, 80, 60, 40), color=(20, 120, 220))
    planes = _planes_of(rgb, matrix)
    make_planar_effect(EffectSpec(name)).draw(planes, [item])
    expected = _planes_of(make_effect(name).apply(rgb, [item]), matrix)
    for found, wanted in zip(parts(planes), parts(expected), strict=True):
        difference = np.abs(found.astype(int) - wanted)
        assert difference.mean() < 1.5
        assert np.percentile(difference, 95) <= 10  # the mask's edge, in halved colours


def _planes_of(rgb: Bytes, matrix: int) -> Planes:
    height, width = rgb.shape[:2]
    half = np.empty((height // 2, width // 2), np.uint8)
    y, u, v = Planes(np.empty((height, width), np.uint8), half, half, matrix).from_rgb(rgb)

    def halved(plane: Bytes) -> Bytes:
        quads = plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        return np.asarray(np.rint(quads), np.uint8)

    return Planes(y, halved(u), halved(v), matrix)


@pytest.mark.parametrize("shape", [(60, 80), (61, 81), (8, 8)])
def test_a_label_is_drawn_inside_of_the_frame(shape: tuple[int, int]) -> None:
    before = noise(*shape)
    after = copied(before)
    draw_planar_label(after, "Änne #3", (255, 255, 255), shape[1] - 3, 5)
    changed = before.y != after.y
    assert changed.any() == (shape[0] >= 16)
    assert not changed[20:].any()


def test_colours_are_those_of_the_standard() -> None:
    # ITU-R BT.709-6, 3.4 and 3.5: white, red and blue in 8 bits.
    assert noise().samples((255, 255, 255)) == (235, 128, 128)
    assert noise().samples((255, 0, 0)) == (63, 102, 240)
    assert noise().samples((0, 0, 255)) == (32, 240, 118)


def test_what_is_refused() -> None:
    quad = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="unknown effect 'melt', expected one of blur"):
        make_planar_effect(EffectSpec("melt"))
    with pytest.raises(ValueError, match="feather"):
        make_planar_effect(EffectSpec("blur"), -1)
    with pytest.raises(ValueError, match="chroma"):
        Planes(quad, quad, quad, 1)
    blur, mask = make_planar_effect(EffectSpec("blur")), np.ones((4, 4), np.bool_)
    for window in ((0, 0, 5, 4), (78, 0, 82, 4)):
        with pytest.raises(ValueError, match="expected a"):
            blur.draw(noise(), [EffectObject(mask, window_xyxy=window)])
    with pytest.raises(ValueError, match="matrix"):
        Planes(quad, quad[:2, :2], quad[:2, :2], 2)
