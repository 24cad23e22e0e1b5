"""Boxes, lazy masks, and what results become elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import kinemask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask import masks
from pycocotools import mask as coco  # type: ignore[import-untyped]  # it ships no types

MASK = np.zeros((6, 8), np.bool_)
MASK[1:4, 2:7] = True
ENCODED = kinemask.EncodedMask(8, 6, "rle", masks.encode_rle(MASK))
BOX = kinemask.Box(2, 1, 7, 4)
FRAME = kinemask.LiveFrame(
    frame_id=5,
    width=8,
    height=6,
    objects=(
        kinemask.LiveObject(3, 0.5, BOX, 15, ENCODED, label="cup"),
        kinemask.LiveObject(4, 0.1, None, 0, None, label="gone"),
    ),
)

sides = st.floats(0, 100, allow_nan=False)


@given(a=st.tuples(sides, sides, sides, sides), b=st.tuples(sides, sides, sides, sides))
def test_iou_is_symmetric_and_within_bounds(
    a: tuple[float, float, float, float], b: tuple[float, float, float, float]
) -> None:
    one, other = kinemask.Box(*a), kinemask.Box(*b)
    assert one.iou(other) == pytest.approx(other.iou(one))
    assert 0 <= one.iou(other) <= 1 + 1e-9


def test_box_helpers() -> None:
    assert BOX == (2, 1, 7, 4)
    assert (BOX.width, BOX.height, BOX.area_px, BOX.center) == (5, 3, 15, (4.5, 2.5))
    assert BOX.xywh == (2, 1, 5, 3)
    assert BOX.iou(BOX) == 1
    assert BOX.iou((7, 4, 9, 9)) == 0


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("rle", masks.encode_rle(MASK)),
        ("png", masks.encode_png_mask(MASK)),
        ("bits", masks.encode_packed(MASK)),
    ],
)
def test_masks_decode_once_from_every_encoding(encoding: Any, data: bytes) -> None:
    encoded = kinemask.EncodedMask(8, 6, encoding, data)
    np.testing.assert_array_equal(encoded.pixels, MASK)
    assert encoded.pixels is encoded.pixels
    assert not encoded.pixels.flags.writeable
    assert encoded.rle == masks.encode_rle(MASK)
    assert encoded.area_px == 15


def test_an_object_that_is_not_there_has_an_empty_mask() -> None:
    assert FRAME[4].mask is None
    assert not FRAME.mask_of(4).any()
    assert FRAME.mask_of(4).shape == (6, 8)
    with pytest.raises(KeyError, match=r"object 9: expected one of \[3, 4\]"):
        FRAME.mask_of(9)


def test_coco_dicts_are_what_pycocotools_reads() -> None:
    (annotation,) = FRAME.to_coco(image_id=7)
    assert (annotation["image_id"], annotation["category_id"]) == (7, 1)
    assert (annotation["label"], annotation["track_id"]) == ("cup", 3)
    assert annotation["bbox"] == [2, 1, 5, 3]
    assert annotation["area"] == 15
    assert isinstance(annotation["segmentation"]["counts"], str)
    np.testing.assert_array_equal(coco.decode(annotation["segmentation"]), MASK)


def test_class_ids_can_be_given_and_must_be_whole() -> None:
    assert FRAME.to_coco(1, {"cup": 42})[0]["category_id"] == 42
    with pytest.raises(ValueError, match="expected an id for"):
        FRAME.to_coco(1, {"saucer": 1})


@dataclass
class FakeDetections:
    """Takes what supervision.Detections takes."""

    xyxy: Any
    mask: Any = None
    confidence: Any = None
    class_id: Any = None
    tracker_id: Any = None
    data: Any = None

    @classmethod
    def empty(cls) -> FakeDetections:
        return cls(np.zeros((0, 4)))


def test_to_supervision_gives_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("supervision")
    module.Detections = FakeDetections  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, "supervision", module)
    found = FRAME.to_supervision()
    np.testing.assert_array_equal(found.xyxy, [[2, 1, 7, 4]])
    np.testing.assert_array_equal(found.mask, [MASK])
    assert (list(found.tracker_id), list(found.class_id)) == ([3], [0])
    assert list(found.data["class_name"]) == ["cup"]
    assert len(kinemask.LiveFrame(1).to_supervision().xyxy) == 0


def test_to_supervision_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match=r"kinemask\[supervision\]"):
        FRAME.to_supervision()


def test_a_prompt_must_say_something() -> None:
    with pytest.raises(ValueError, match="expected points, a box or a mask"):
        kinemask.Prompt()


def test_a_word_is_not_a_list_of_words() -> None:
    with pytest.raises(TypeError, match="found the string 'face'"):
        kinemask.LiveConfig.of("face")
