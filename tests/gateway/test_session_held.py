"""What sessions hold in memory is bounded, whatever they look at."""

from __future__ import annotations

import numpy as np
import pytest
from kinemask import wire
from kinemask_chassis.errors import ServiceError
from kinemask_gateway.annotations.held import FrameCache, HeldFrame, HeldSessions


def frame(side: int = 100) -> HeldFrame:
    rgb = np.zeros((side, side, 3), np.uint8)
    return HeldFrame(rgb, wire.image_to_message(rgb, None))


def test_frames_make_room_for_others() -> None:
    cache = FrameCache(3 * frame().size_bytes)
    for number in range(3):
        cache.add("a", number, frame())
    assert cache.find("a", 0) is not None
    cache.add("b", 0, frame())
    assert cache.find("a", 1) is None, "the one longest unused stayed"
    assert cache.find("a", 0) is not None
    huge = frame(400)
    cache.add("c", 0, huge)
    assert cache.find("c", 0) is huge
    assert cache.find("a", 0) is None


def test_a_frame_that_comes_again_counts_once() -> None:
    cache = FrameCache(2 * frame().size_bytes)
    for _ in range(5):
        cache.add("a", 0, frame())
    cache.add("a", 1, frame())
    assert cache.find("a", 0) is not None


async def test_sessions_make_room_unless_they_are_worked_on() -> None:
    held = HeldSessions(idle_s=60.0, most=2)
    first, _ = held.wake("a"), held.wake("b")
    async with first.lock:
        held.wake("c")
        assert "a" in held
        assert "b" not in held
        async with held.wake("c").lock:
            with pytest.raises(ServiceError, match="are worked on"):
                held.wake("d")
