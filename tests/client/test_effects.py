"""Effects: what they change, what they never change, and what they never let through."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask.effects import (
    EFFECT_NAMES,
    EffectObject,
    EffectSpec,
    make_effect,
    palette_color,
)

Image = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]
HIDING = ("blur", "pixelate", "solid")


def noise(height: int = 120, width: int = 160, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def disc(height: int, width: int, x: float, y: float, radius: float) -> BoolMask:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.asarray(np.hypot(columns - x, rows - y) <= radius, np.bool_)


def box_mask(height: int, width: int, box: tuple[int, int, int, int]) -> BoolMask:
    mask = np.zeros((height, width), np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def changed(before: Image, after: Image) -> BoolMask:
    return np.asarray((before != after).any(axis=2), np.bool_)


@st.composite
def scene(draw: st.DrawFn) -> tuple[Image, list[EffectObject]]:
    """A frame of noise with up to three objects: discs, specks, everything, nothing."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    objects = []
    for index in range(draw(st.integers(0, 3))):
        x, y = draw(st.integers(-5, 95)), draw(st.integers(-5, 75))
        mask = disc(height, width, x, y, draw(st.sampled_from([0, 1, 8, 30, 200])))
        objects.append(EffectObject(mask=mask, color=palette_color(index)))
    return noise(height, width, draw(st.integers(0, 9))), objects


@pytest.mark.parametrize("name", EFFECT_NAMES)
@given(scene=scene(), intensity=st.sampled_from([None, 0.0, 0.3, 1.0]))
def test_only_the_region_changes(
    name: str, scene: tuple[Image, list[EffectObject]], intensity: float | None
) -> None:
    image, objects = scene
    before = image.copy()
    after = make_effect(name, intensity=intensity).apply(image, objects)
    assert np.array_equal(image, before)  # the input stays
    assert after.shape == image.shape
    assert after.dtype == np.uint8
    union = np.zeros(image.shape[:2], np.bool_)
    for item in objects:
        union |= item.mask if item.mask is not None else False
    outside_region = union if name == "dim" else ~union
    assert not changed(before, after)[outside_region].any()


@pytest.mark.parametrize("name", EFFECT_NAMES)
def test_the_region_does_change(name: str) -> None:
    image, mask = noise(), disc(120, 160, 80, 60, 40)
    after = make_effect(name).apply(image, [EffectObject(mask=mask)])
    touched = changed(image, after)
    region = ~mask if name == "dim" else mask
    if name == "outline":
        assert touched[60, 41]
        assert not touched[60, 80]
    else:
        assert touched[region].mean() > 0.9


@pytest.mark.parametrize("name", EFFECT_NAMES)
def test_in_place_gives_the_same_picture(name: str) -> None:
    image, objects = noise(), [EffectObject(mask=disc(120, 160, 30, 20, 40), label="one")]
    copied = make_effect(name).apply(image, objects)
    drawn = make_effect(name).apply(image, objects, in_place=True)
    assert drawn is image
    assert np.array_equal(drawn, copied)


@pytest.mark.parametrize("intensity", [0.0, 0.5, 1.0, None])
def test_solid_does_not_depend_on_what_it_covers(intensity: float | None) -> None:
    mask = disc(120, 160, 80, 60, 40)
    effect = make_effect("solid", intensity=intensity, color=(10, 200, 30))
    one = effect.apply(noise(seed=1), [EffectObject(mask=mask)])[mask]
    two = effect.apply(noise(seed=2), [EffectObject(mask=mask)])[mask]
    assert np.array_equal(one, two)
    strength = 1 if intensity is None else intensity
    assert (one == [round(10 * strength), round(200 * strength), round(30 * strength)]).all()


@pytest.mark.parametrize("name", ["blur", "pixelate"])
@pytest.mark.parametrize(
    "side_px",
    [
        pytest.param(40, id="small face"),
        pytest.param(120, id="face"),
        pytest.param(600, id="face near the camera"),
    ],
)
def test_detail_of_a_tenth_of_the_object_is_gone(name: str, side_px: int) -> None:
    """Stripes as fine as an eye in a face leave what a flat grey leaves, at any size."""
    stripe_px = side_px // 20
    columns = np.arange(side_px + 40)
    stripes = np.where(columns // stripe_px % 2, 220, 40).astype(np.uint8)
    image = np.repeat(np.tile(stripes, (side_px + 40, 1))[:, :, None], 3, axis=2)
    box = (20, 20, 20 + side_px, 20 + side_px)
    mask = box_mask(side_px + 40, side_px + 40, box)
    hidden = make_effect(name).apply(image, [EffectObject(mask=mask)])[mask].astype(float)
    assert np.ptp(image[mask]) == 180
    assert hidden.std() < 12


def test_pixelate_keeps_a_handful_of_colours() -> None:
    mask = box_mask(300, 300, (40, 40, 240, 240))
    hidden = make_effect("pixelate").apply(noise(300, 300), [EffectObject(mask=mask)])
    assert len(np.unique(hidden[mask], axis=0)) <= 25
    finer = make_effect("pixelate", intensity=0.2).apply(noise(300, 300), [EffectObject(mask=mask)])
    assert len(np.unique(finer[mask], axis=0)) > 100


@pytest.mark.parametrize("name", HIDING)
def test_a_box_too_small_uncovers_nothing(name: str) -> None:
    image, mask = noise(), disc(120, 160, 80, 60, 40)
    tight = EffectObject(mask=mask, box_xyxy=(75, 55, 85, 65))
    loose = EffectObject(mask=mask)
    effect = make_effect(name)
    assert np.array_equal(effect.apply(image, [tight]), effect.apply(image, [loose]))


@pytest.mark.parametrize(
    ("grow_px", "grow_fraction", "radius"),
    [
        pytest.param(5, 0.0, 25, id="pixels"),
        pytest.param(0, 0.25, 30, id="a share of the longer side"),
        pytest.param(5, 0.25, 35, id="both"),
        pytest.param(1000, 0, 1000, id="over the whole frame"),
    ],
)
def test_growth(grow_px: float, grow_fraction: float, radius: float) -> None:
    image, mask = noise(), disc(120, 160, 70, 60, 20)
    effect = make_effect("solid", grow_px=grow_px, grow_fraction=grow_fraction, color=(0, 0, 0))
    covered = (effect.apply(np.maximum(image, 1), [EffectObject(mask=mask)]) == 0).all(axis=2)
    assert covered[disc(120, 160, 70, 60, radius - 1.5)].all()
    assert not covered[~disc(120, 160, 70, 60, radius + 1.5)].any()


@pytest.mark.parametrize(
    ("item", "box"),
    [
        pytest.param(
            EffectObject(box_xyxy=(10.6, 20.2, 30.1, 40.9)),
            (10, 20, 31, 41),
            id="a box without mask",
        ),
        pytest.param(
            EffectObject(box_xyxy=(-9, -9, 5, 7)), (0, 0, 5, 7), id="a box over the frame's edge"
        ),
        pytest.param(EffectObject(box_xyxy=(500, 500, 600, 600)), None, id="a box outside"),
        pytest.param(
            EffectObject(mask=np.zeros((120, 160), np.bool_), box_xyxy=(10, 10, 20, 20)),
            None,
            id="an empty mask: the object is not there",
        ),
    ],
)
def test_objects_without_pixels(item: EffectObject, box: tuple[int, int, int, int] | None) -> None:
    image = np.full((120, 160, 3), 9, np.uint8)
    after = make_effect("solid", color=(255, 255, 255)).apply(image, [item])
    expected = box_mask(120, 160, box) if box else np.zeros((120, 160), np.bool_)
    assert np.array_equal(changed(image, after), expected)


def test_the_box_region_covers_the_masks_box() -> None:
    image, mask = np.full((120, 160, 3), 9, np.uint8), disc(120, 160, 70, 60, 20)
    effect = make_effect(EffectSpec("solid", region="box", color=(0, 0, 0)))
    after = effect.apply(image, [EffectObject(mask=mask)])
    assert np.array_equal(changed(image, after), box_mask(120, 160, (50, 40, 91, 81)))


def test_dim_without_objects_dims_everything() -> None:
    image = np.full((40, 60, 3), 200, np.uint8)
    assert (make_effect("dim", intensity=0.5).apply(image, []) == 100).all()
    assert not make_effect("dim", intensity=1).apply(image, []).any()


def test_the_outline_is_smooth_and_inside() -> None:
    image, mask = np.zeros((400, 400, 3), np.uint8), disc(400, 400, 200, 200, 150)
    line = make_effect("outline", intensity=1, color=(255, 255, 255)).apply(
        image, [EffectObject(mask=mask)]
    )[:, :, 0]
    rows, columns = np.mgrid[0:400, 0:400]
    inset_px = 150 - np.hypot(columns - 200, rows - 200)
    assert (line[(inset_px > 1.5) & (inset_px < 3.5)] > 240).all()
    assert not line[(inset_px > 8) | (inset_px < -1)].any()
    assert len(np.unique(line)) > 20  # many shades: anti-aliased


@pytest.mark.parametrize(
    ("box", "label"),
    [
        pytest.param((5, 5, 50, 60), "top left", id="no room above"),
        pytest.param((300, 100, 318, 130), "at the right edge", id="no room at the right"),
        pytest.param((-40, 260, -10, 300), "outside", id="box outside the frame"),
        pytest.param((10, 100, 60, 150), "far too long " * 30, id="longer than the frame"),
        pytest.param((10, 100, 60, 150), "Zoë 东京", id="letters the font lacks"),
    ],
)
def test_labels_stay_inside_and_touch_only_their_pill(
    box: tuple[float, float, float, float], label: str
) -> None:
    image, mask = noise(240, 320), disc(240, 320, 160, 200, 20)
    effect = make_effect("overlay")
    plain = effect.apply(image, [EffectObject(mask=mask, box_xyxy=box)])
    labelled = effect.apply(image, [EffectObject(mask=mask, box_xyxy=box, label=label)])
    rows, columns = np.nonzero(changed(plain, labelled))
    assert len(rows) > 200
    assert np.ptp(rows) + 1 <= 16
    assert np.ptp(columns) + 1 <= 320


@pytest.mark.parametrize("label", ["", " ", "\u0301"])
def test_a_label_without_letters_is_none(label: str) -> None:
    image, mask = noise(), disc(120, 160, 80, 60, 20)
    effect = make_effect("overlay")
    plain = effect.apply(image, [EffectObject(mask=mask)])
    assert np.array_equal(effect.apply(image, [EffectObject(mask=mask, label=label)]), plain)


def test_frames_too_small_for_a_label() -> None:
    image = noise(6, 9)
    item = EffectObject(mask=np.ones((6, 9), np.bool_), label="x")
    assert make_effect("overlay").apply(image, [item]).shape == (6, 9, 3)


def test_bad_values_are_named() -> None:
    known = "blur, pixelate, solid, outline, dim, overlay"
    with pytest.raises(ValueError, match=f"unknown effect 'sparkle', expected one of {known}"):
        make_effect("sparkle")
    with pytest.raises(ValueError, match=r"intensity of 0\.\.1, found 1\.5"):
        make_effect("blur", intensity=1.5)
    with pytest.raises(ValueError, match=r"intensity of 0\.\.1, found nan"):
        make_effect("blur", intensity=float("nan"))
    with pytest.raises(ValueError, match="growth of 0 or more, found -1 px"):
        make_effect("blur", grow_px=-1)
    with pytest.raises(ValueError, match=r"three channels of 0\.\.255"):
        make_effect("solid", color=(0, 0, 300))
    with pytest.raises(ValueError, match="mask or a box, found neither"):
        EffectObject()
    with pytest.raises(ValueError, match="finite box"):
        EffectObject(box_xyxy=(0, 0, float("inf"), 9))
    with pytest.raises(ValueError, match=r"mask of the frame's \(120, 160\), found \(10, 10\)"):
        make_effect("blur").apply(noise(), [EffectObject(mask=np.ones((10, 10), np.bool_))])
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8, found \(120, 160\)"):
        make_effect("blur").apply(noise()[:, :, 0], [])
    with pytest.raises(ValueError, match="contiguous, writeable"):
        make_effect("blur").apply(noise()[:, ::-1], [], in_place=True)


def test_a_view_of_an_image_is_taken_too() -> None:
    image, mask = noise(), disc(120, 160, 80, 60, 30)
    flipped = make_effect("blur").apply(image[:, ::-1], [EffectObject(mask=mask[:, ::-1])])
    assert not changed(image[:, ::-1], flipped)[~mask[:, ::-1]].any()
    assert changed(image[:, ::-1], flipped)[mask[:, ::-1]].any()


def test_palette_colours_are_stable_and_far_apart() -> None:
    colors = [palette_color(i) for i in range(12)]
    for one, two in itertools.combinations(colors, 2):
        assert np.linalg.norm(np.subtract(one, two)) > 45
    assert palette_color(1000) == palette_color(1000)
    assert len({palette_color(i) for i in range(200)}) == 200
    for object_id in (-3, 10**12):
        assert all(0 <= channel <= 255 for channel in palette_color(object_id))
    for object_id in range(12, 60):
        assert palette_color(object_id) != palette_color(object_id + 1)
