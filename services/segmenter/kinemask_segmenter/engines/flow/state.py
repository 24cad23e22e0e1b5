"""What a stream keeps: the state that a snapshot holds, and recent frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kinemask_segmenter.engines.flow.follow import Bools
from kinemask_segmenter.engines.flow.layers import Layers
from kinemask_segmenter.engines.flow.motion import Halves
from kinemask_segmenter.engines.flow.objects import Followed
from kinemask_segmenter.engines.flow.pixels import Bytes


@dataclass
class Retained:
    """What is kept of a recent frame, so that a late prompt can be carried forward from it."""

    frame_id: int
    lab: Bytes
    flow: Halves | None
    """From this frame to the one before; None on the first."""
    masks: dict[int, Bytes] = field(default_factory=dict)
    """Bit-packed working-size mask per object followed then."""

    def others(self, object_id: int, shape: tuple[int, int]) -> Bools | None:
        """`(h, w)` pixels of all objects but one; None if there is no other."""
        masks = [unpack(packed, shape) for key, packed in self.masks.items() if key != object_id]
        return np.any(masks, axis=0) if masks else None


@dataclass
class StreamState:
    """What a snapshot holds.

    Invariants: `objects` is ordered by id; `grey` is of the newest frame, None before the first.
    """

    last_frame_id: int | None = None
    grey: Bytes | None = None
    objects: dict[int, Followed] = field(default_factory=dict)
    layers: Layers = field(default_factory=Layers)


def pack(level: Bytes) -> Bytes:
    """The mask of a belief's level `(h, w)`, bit-packed."""
    return np.packbits(level > 127)


def unpack(packed: Bytes, shape: tuple[int, int]) -> Bools:
    """A bit-packed mask as `(h, w)` bool."""
    bits = np.unpackbits(packed, count=shape[0] * shape[1])
    return bits.reshape(shape).astype(np.bool_)
