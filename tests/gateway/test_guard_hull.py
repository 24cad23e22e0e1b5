"""What the leak guard fills of a mask's notches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from kinemask import masks
from kinemask_gateway.following.guard import Guard
from kinemask_gateway.following.hull import hull
from kinemask_gateway.tracks.values import MaskOrigin, ObjectState, TrackedObject
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
HEIGHT, WIDTH = 60, 80


def _notched(x: int) -> Mask:
    """A square from column `x` on, without its upper left quarter: an edge, but no notch."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[20:40, x : x + 20] = True
    mask[20:30, x : x + 10] = False
    return mask


def test_a_notch_is_filled_and_nothing_beyond() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[20:40, 20:60] = True
    whole = mask.copy()
    mask[20:35, 30:50] = False
    assert np.array_equal(hull(mask), whole)


def test_a_corner_is_filled_where_the_frame_ends() -> None:
    inside = hull(_notched(30))
    assert not inside[20, 30]
    assert inside[29, 39]
    assert hull(_notched(0))[20:40, :20].all()
    assert hull(_notched(0)[:, ::-1])[20:40, -20:].all()
    assert not hull(_notched(0))[:, 20:].any()


@given(arrays.arrays(np.bool_, (9, 12)))
def test_a_hull_holds_what_lies_between_any_two_points(mask: Mask) -> None:
    filled = hull(mask)
    assert filled[mask].all()
    assert filled.any() == mask.any()
    points = np.argwhere(mask)
    middles = points[:, None] + points[None]
    whole = middles[(middles % 2 == 0).all(-1)] // 2
    assert filled[tuple(whole.T)].all()


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_guard_that_does_not_grow_leaves_masks_as_they_are(share: float) -> None:
    mask = _notched(30)
    entry = TrackedObject(
        *(1, "dog", "dog", 0.9, ObjectState.CONFIRMED, MaskOrigin.FOLLOWED),
        (30.0, 20.0, 50.0, 40.0),
        masks.encode_rle(mask),
        int(mask.sum()),
    )
    guard = Guard(lambda frame, object_id: None, (HEIGHT, WIDTH), 1.0, share)
    (held,) = guard.frame([entry], [])
    assert bool(held.mask(HEIGHT, WIDTH)[28, 38]) == (share > 0)
