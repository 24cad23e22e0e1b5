"""Mask codecs against pycocotools and against each other."""

import tracemalloc

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kinemask import masks
from kinemask.images import ImageDecodeError
from pycocotools import mask as coco  # type: ignore[import-untyped]  # it ships no types

BoolMask = npt.NDArray[np.bool_]


@st.composite
def any_mask(draw: st.DrawFn) -> BoolMask:
    """Noise of any density, or rectangles, of any small size (1xN and Nx1 too)."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))
    density = draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
    seed = draw(st.integers(0, 2**32 - 1))
    mask = np.random.default_rng(seed).random(shape) < density
    if draw(st.booleans()):
        top, left = draw(st.integers(0, shape[0])), draw(st.integers(0, shape[1]))
        mask[top:, left:] = draw(st.booleans())
    return np.asarray(mask, np.bool_)


def coco_encode(mask: BoolMask) -> bytes:
    counts = coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    assert isinstance(counts, bytes)
    return counts


@given(any_mask())
def test_rle_is_pycocotools_byte_for_byte(mask: BoolMask) -> None:
    counts = masks.encode_rle(mask)
    assert counts == coco_encode(mask)
    assert np.array_equal(masks.decode_rle(counts, *mask.shape), mask)
    assert masks.rle_area(counts, *mask.shape) == mask.sum()


@given(any_mask())
def test_a_window_is_the_part_that_counts(mask: BoolMask) -> None:
    found = masks.decode_rle_window(masks.encode_rle(mask), *mask.shape)
    box = masks.mask_box(mask)
    assert (found is None) == (box is None)
    if found is not None and box is not None:
        assert found[1] == box
        assert np.array_equal(found[0], mask[box[1] : box[3], box[0] : box[2]])


@given(any_mask())
def test_boxes_agree_with_the_pixels(mask: BoolMask) -> None:
    box = masks.mask_box(mask)
    assert masks.rle_box(masks.encode_rle(mask), *mask.shape) == box
    rows, columns = np.nonzero(mask)
    if not len(rows):
        assert box is None
    else:
        assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@given(any_mask())
def test_packed_and_png_round_trip(mask: BoolMask) -> None:
    assert np.array_equal(masks.decode_packed(masks.encode_packed(mask), *mask.shape), mask)
    assert np.array_equal(masks.decode_png_mask(masks.encode_png_mask(mask), *mask.shape), mask)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(np.zeros((720, 1280), np.bool_), id="empty"),
        pytest.param(np.ones((720, 1280), np.bool_), id="full"),
        pytest.param(np.ones((1, 700), np.bool_), id="one row"),
        pytest.param(np.ones((700, 1), np.bool_), id="one column"),
        pytest.param(np.indices((200, 201)).sum(0) % 2 == 1, id="chequers, more runs than slices"),
        pytest.param(np.indices((200, 200)).sum(0) % 2 == 0, id="chequers, starts and ends set"),
        pytest.param(np.ones((30, 40), np.bool_)[::-1, ::-1], id="negative strides"),
        pytest.param(np.eye(30, 40, dtype=np.bool_).T, id="column-major"),
        pytest.param(np.eye(60, 80, dtype=np.bool_)[::2, ::3], id="strided"),
    ],
)
def test_special_masks(mask: BoolMask) -> None:
    counts = masks.encode_rle(mask)
    assert counts == coco_encode(mask)
    assert np.array_equal(masks.decode_rle(counts, *mask.shape), mask)
    assert np.array_equal(masks.decode_packed(masks.encode_packed(mask), *mask.shape), mask)
    assert np.array_equal(masks.decode_png_mask(masks.encode_png_mask(mask), *mask.shape), mask)


def test_long_counts_take_many_characters() -> None:
    mask = np.zeros((3000, 4000), np.bool_)
    mask[1500:, 3999] = True
    counts = masks.encode_rle(mask)
    assert counts == coco_encode(mask)
    assert np.array_equal(masks.decode_rle(counts, 3000, 4000), mask)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((10, 5, 20, 15), id="exact"),
        pytest.param((9.2, 4.9, 20.1, 15.3), id="fractions round outwards"),
        pytest.param((-50.0, -1.0, 900.0, 1e9), id="reaching outside"),
    ],
)
def test_a_box_around_the_foreground_changes_nothing(
    box: tuple[float, float, float, float],
) -> None:
    mask = np.zeros((30, 40), np.bool_)
    mask[5:15, 10:20] = np.eye(10, dtype=np.bool_)
    assert masks.encode_rle(mask, box) == masks.encode_rle(mask)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        pytest.param((2, 3, 7, 8), np.s_[3:8, 2:7], id="inside"),
        pytest.param((5, 5, 5, 9), np.s_[0:0, 0:0], id="no width"),
        pytest.param((90, 90, 99, 99), np.s_[0:0, 0:0], id="outside"),
        pytest.param((9, 9, 1, 1), np.s_[0:0, 0:0], id="inverted"),
    ],
)
def test_foreground_outside_the_box_is_ignored(
    box: tuple[float, float, float, float], kept: tuple[slice, slice]
) -> None:
    expected = np.zeros((12, 10), np.bool_)
    expected[kept] = True
    counts = masks.encode_rle(np.ones((12, 10), np.bool_), box)
    assert counts == coco_encode(expected)


def test_a_box_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        masks.encode_rle(np.ones((4, 4), np.bool_), (0, 0, float("nan"), 4))


@pytest.mark.parametrize(
    ("counts", "height", "width", "message"),
    [
        pytest.param(b"", 4, 4, "one or more characters", id="empty"),
        pytest.param(b"\x00", 4, 4, "48..111", id="below the alphabet"),
        pytest.param(b"p", 4, 4, "48..111", id="above the alphabet"),
        pytest.param(b"P", 4, 4, "cut short", id="last count unfinished"),
        pytest.param(b"PPPPPPPPPP0", 4, 4, "at most 7 characters", id="count too long"),
        pytest.param(b"O", 4, 4, "0 or more, found -1", id="negative count"),
        pytest.param(b"5", 4, 4, "add up to 16, found 5", id="too few pixels"),
        pytest.param(b"l0l0", 4, 4, "add up to 16, found 56", id="too many pixels"),
        pytest.param(b"0" * 1000, 4, 4, "at most 119 characters", id="too many counts"),
        pytest.param(b"0", 0, 4, "positive", id="no height"),
        pytest.param(b"0", 4, -1, "positive", id="negative width"),
        pytest.param(b"0", 10**6, 10**6, "the limit is", id="over the pixel limit"),
    ],
)
def test_malformed_rle_says_what_was_expected(
    counts: bytes, height: int, width: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        masks.decode_rle(counts, height, width)
    with pytest.raises(ValueError, match=message):
        masks.rle_area(counts, height, width)
    with pytest.raises(ValueError, match=message):
        masks.rle_box(counts, height, width)


def test_malformed_rle_allocates_nothing_of_the_masks_size() -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match="add up to"):
        masks.decode_rle(b"5555", 10_000, 10_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


@given(st.binary(max_size=40), st.integers(1, 12), st.integers(1, 12))
def test_any_bytes_decode_or_are_refused(data: bytes, height: int, width: int) -> None:
    for decoder in (masks.decode_rle, masks.decode_packed, masks.decode_png_mask):
        try:
            mask = decoder(data, height, width)
        except ValueError:
            continue
        assert mask.shape == (height, width)
        assert mask.dtype == np.bool_


@given(st.text(alphabet="0123456789PQRSO", max_size=12), st.integers(1, 6), st.integers(1, 6))
def test_any_accepted_rle_has_its_own_area_and_box(text: str, height: int, width: int) -> None:
    counts = text.encode()
    try:
        mask = masks.decode_rle(counts, height, width)
    except ValueError:
        return
    assert masks.rle_area(counts, height, width) == mask.sum()
    assert masks.rle_box(counts, height, width) == masks.mask_box(mask)


def test_runs_of_no_length_are_allowed() -> None:
    counts = b"42002"  # 4, 2, 0, 0+2, 2+0: background, foreground, none, foreground, background
    assert masks.rle_area(counts, 5, 2) == 4
    assert masks.rle_box(counts, 5, 2) == masks.mask_box(masks.decode_rle(counts, 5, 2))


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(np.zeros((4, 4), np.uint8), id="not bool"),
        pytest.param(np.zeros((4, 4, 1), np.bool_), id="three axes"),
        pytest.param(np.zeros((0, 4), np.bool_), id="no rows"),
    ],
)
def test_encoders_want_a_bool_mask(mask: BoolMask) -> None:
    for encoder in (masks.encode_rle, masks.encode_packed, masks.encode_png_mask):
        with pytest.raises(ValueError, match="expected a non-empty"):
            encoder(mask)


def test_packed_bits_are_row_major_high_bit_first() -> None:
    mask = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], np.bool_)
    assert masks.encode_packed(mask) == bytes([0b10011000, 0b10000000])
    with pytest.raises(ValueError, match="expected 2 bytes, found 1"):
        masks.decode_packed(b"\x00", 3, 3)


def test_png_masks_from_elsewhere() -> None:
    grey = np.array([[0, 127, 128, 255]], np.uint8)
    png = cv2.imencode(".png", grey)[1].tobytes()
    assert masks.decode_png_mask(png, 1, 4).tolist() == [[False, False, True, True]]
    with pytest.raises(ValueError, match="expected png 3x1, found png 4x1"):
        masks.decode_png_mask(png, 1, 3)
    with pytest.raises(ImageDecodeError):
        masks.decode_png_mask(png[:-20], 1, 4)


def test_iou() -> None:
    a, b = np.zeros((2, 10, 10), np.bool_)
    assert masks.mask_iou(a, b) == 0.0
    a[:, :6] = b[:, 4:] = True
    assert masks.mask_iou(a, b) == pytest.approx(0.2)
    assert masks.mask_iou(a, a) == 1.0
    with pytest.raises(ValueError, match=r"found \(10, 10\) and \(5, 10\)"):
        masks.mask_iou(a, b[:5])
