"""Detections that begin before their frame's turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest
from kinemask.v1 import detector_pb2, media_pb2
from kinemask_gateway.live.detecting import Detecting
from kinemask_gateway.live.foresight import Foresight
from kinemask_gateway.live.rhythm import Rhythm


@dataclass
class SlowDetecting:
    """Detections that never end by themselves."""

    rhythm: Rhythm
    begun: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)

    async def detect(self, image: media_pb2.Image) -> detector_pb2.ImageDetections:
        self.begun.append(image.raw.width)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up.append(image.raw.width)
            raise
        raise AssertionError("nobody sets that event")


def foreseen(rhythm: Rhythm) -> tuple[Foresight, SlowDetecting, Detecting]:
    detecting = SlowDetecting(rhythm)
    return Foresight(), detecting, cast(Detecting, detecting)


def tell(foresight: Foresight, detecting: Detecting, first: int, last: int) -> None:
    for number in range(first, last + 1):
        image = media_pb2.Image(raw=media_pb2.RawImage(width=number))
        foresight.expect(media_pb2.Frame(frame_id=number, image=image))
        foresight.begin(detecting)


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_frame_that_will_be_due_is_detected_on_ahead_of_its_turn() -> None:
    foresight, slow, detecting = foreseen(Rhythm(4, 4, 4, 4))
    tell(foresight, detecting, 0, 2)
    await settled()
    assert slow.begun == [0]
    foresight.arrived(0)
    assert slow.rhythm.due(0)
    assert foresight.take(0) is not None
    tell(foresight, detecting, 3, 6)
    await settled()
    assert slow.begun == [0, 4]
    assert foresight.take(3) is None
    foresight.close()


async def test_what_is_not_asked_for_after_all_is_given_up() -> None:
    foresight, slow, detecting = foreseen(Rhythm(4, 1, 4, 4))
    slow.rhythm.due(0)
    tell(foresight, detecting, 1, 6)
    await settled()
    assert slow.begun == [4]
    foresight.arrived(1)
    assert slow.rhythm.due(1, at_once=True)
    foresight.begin(detecting)
    await settled()
    assert (slow.begun, slow.given_up) == ([4, 5], [4])
    foresight.close()
    await settled()
    assert slow.given_up == [4, 5]


@pytest.mark.parametrize("known", [pytest.param(0, id="none"), pytest.param(2, id="not so far")])
async def test_nothing_begins_on_a_frame_that_is_not_known(known: int) -> None:
    foresight, slow, detecting = foreseen(Rhythm(4, 4, 4, 4))
    slow.rhythm.due(0)
    tell(foresight, detecting, 1, known)
    await settled()
    assert slow.begun == []
