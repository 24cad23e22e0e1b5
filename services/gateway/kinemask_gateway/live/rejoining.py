"""Which object a detection may be: by where each was found last, and its pace."""

from __future__ import annotations

import math

from kinemask_gateway.live.objects import PACE_FRAMES, BoxXyxy, KnownObject, area, center

_NEAR = 0.75
_NEARER_A_FRAME = 0.03
_FAR = 2.0
_SIZES = (0.4, 2.5)


def distance(known: KnownObject, box_xyxy: BoxXyxy) -> float | None:
    """How far a detection is from where an object should be, in diagonals of its box.

    None if it cannot be that object: too far for the time it was not found, or another size.
    """
    found = known.expected()
    if found is None or area(found) <= 0:
        return None
    if not _SIZES[0] <= area(box_xyxy) / area(found) <= _SIZES[1]:
        return None
    frames = min(known.unseen_frames, PACE_FRAMES)
    (x, y), (to_x, to_y) = center(found), center(box_xyxy)
    diagonal = math.hypot(found[2] - found[0], found[3] - found[1])
    away = math.hypot(to_x - x, to_y - y) / diagonal
    return away if away <= min(_NEAR + _NEARER_A_FRAME * frames, _FAR) else None
