"""Cuts are told from motion, flashes of noise and flat pictures."""

from __future__ import annotations

import numpy as np
import pytest
from kinemask import wire
from kinemask.v1 import media_pb2
from kinemask_gateway.live.scenes import Thumbnail, is_cut, thumbnail


def seen(image: np.ndarray) -> Thumbnail:
    found = thumbnail(wire.image_to_message(image.astype(np.uint8)))
    assert found is not None
    return found


def pattern(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, 40, axis=0), 40, axis=1)


GREY = np.full((360, 640, 3), 90, np.uint8)


@pytest.mark.parametrize(
    ("before", "after", "cut"),
    [
        pytest.param(pattern(1), pattern(1), False, id="the same picture"),
        pytest.param(pattern(1), pattern(2), True, id="another picture"),
        pytest.param(pattern(1), np.roll(pattern(1), 12, axis=1), False, id="the camera moves"),
        pytest.param(pattern(1), pattern(1) // 2, False, id="the light goes down"),
        pytest.param(GREY, GREY + 1, False, id="flat pictures"),
        pytest.param(GREY, pattern(1), True, id="from a flat picture"),
        pytest.param(
            GREY,
            GREY + np.random.default_rng(0).integers(0, 6, GREY.shape, dtype=np.uint8),
            False,
            id="noise over a flat picture",
        ),
    ],
)
def test_cuts(before: np.ndarray, after: np.ndarray, cut: bool) -> None:
    assert is_cut(seen(before), seen(after)) is cut


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(media_pb2.Image(encoded=b"no picture"), id="garbage"),
        pytest.param(media_pb2.Image(encoded=b""), id="nothing"),
        pytest.param(
            media_pb2.Image(
                raw=media_pb2.RawImage(
                    data=b"12", width=4, height=4, format=media_pb2.PIXEL_FORMAT_RGB24
                )
            ),
            id="raw of another size",
        ),
    ],
)
def test_a_picture_that_cannot_be_read_has_no_thumbnail(message: media_pb2.Image) -> None:
    assert thumbnail(message) is None
