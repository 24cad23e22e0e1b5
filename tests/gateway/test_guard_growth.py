"""By how much the leak guard grows masks that nothing has confirmed yet."""

from __future__ import annotations

import numpy as np
import pytest
from kinemask import masks
from kinemask_gateway.following.guard import Guard
from kinemask_gateway.tracks.values import MaskOrigin, ObjectState, TrackedObject

HEIGHT, WIDTH = 200, 300
SHARE = 0.1


def _entry(x: int, origin: MaskOrigin) -> TrackedObject:
    """A mask 10 pixels wide and 90 high."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[50:140, x : x + 10] = True
    return TrackedObject(
        *(1, "dog", "dog", 0.9, ObjectState.CONFIRMED, origin),
        (float(x), 50.0, x + 10.0, 140.0),
        masks.encode_rle(mask),
        int(mask.sum()),
    )


@pytest.mark.parametrize(
    ("x", "origin", "grow_px"),
    [
        pytest.param(100, MaskOrigin.FOLLOWED, 3, id="seen: of the root of its area"),
        pytest.param(0, MaskOrigin.FOLLOWED, 3, id="seen at the border"),
        pytest.param(100, MaskOrigin.BACKWARD_FILL, 9, id="before: of its longer side"),
        pytest.param(0, MaskOrigin.BACKWARD_FILL, 18, id="coming in: of twice that"),
        pytest.param(290, MaskOrigin.BACKWARD_FILL, 18, id="coming in from the right"),
    ],
)
def test_masks_before_a_detection_grow_by_more(x: int, origin: MaskOrigin, grow_px: int) -> None:
    guard = Guard(lambda frame, object_id: None, (HEIGHT, WIDTH), 1.0, SHARE)
    (held,) = guard.frame([_entry(x, origin)], [])
    rows = np.flatnonzero(held.mask(HEIGHT, WIDTH).any(1))
    assert (rows[0], rows[-1]) == (50 - grow_px, 139 + grow_px)
