"""The SDK against the real services: what moves between servers must not show in the results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import kinemask
import numpy as np
import pytest
from kinemask_chassis.server import running
from kinemask_segmenter.service import SegmenterService
from kinemask_segmenter.settings import SegmenterSettings

from tests.gateway.live_kit import world
from tests.tracker.track_calls import tracking

FRAMES = 40
Leave = Callable[[], Awaitable[None]]


def boxes(number: int) -> list[kinemask.Detection]:
    """Two boxes that drift apart."""
    left = kinemask.Box(10 + number, 10, 40 + number, 50)
    right = kinemask.Box(200 - number, 20, 240 - number, 70)
    return [kinemask.Detection(left, 0.9, "car"), kinemask.Detection(right, 0.8, "car")]


def picture(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A bright square that moves over noise, `(120, 160, 3)`."""
    image = np.random.default_rng(3).integers(0, 60, (120, 160, 3), np.uint8)
    image[40:80, 20 + 2 * number : 60 + 2 * number] = (220, 180, 40)
    return image


async def tracks_of(
    stream: kinemask.AsyncTrackStream, leave: Leave | None = None
) -> list[kinemask.TrackedFrame]:
    """Every answer; in the middle the server leaves."""
    answers = []
    async with stream:
        reader = aiter(stream)
        for number in range(FRAMES):
            await stream.send(boxes(number), capture_time_us=number)
            if number == FRAMES // 2 and leave is not None:
                await leave()
            if number >= 3:
                answers.append(await anext(reader))
        await stream.finish()
        answers += [answer async for answer in reader]
    return [replace(answer, timing=kinemask.Timing()) for answer in answers]


async def test_a_tracker_that_is_drained_moves_the_stream() -> None:
    async with tracking() as here, tracking() as there:
        async with kinemask.AsyncClient(there.server.address) as client:
            undisturbed = await tracks_of(client.track_boxes())
        addresses = [here.server.address, there.server.address]
        async with kinemask.AsyncClient(addresses) as client:
            events: list[kinemask.StreamEvent] = []
            stream = client.track_boxes(options=kinemask.StreamOptions(on_event=events.append))

            async def drain() -> None:
                busy = here if here.streams.active else there
                await busy.streams.drain(5)

            moved = await tracks_of(stream, drain)
    assert moved == undisturbed
    assert [event.kind for event in events] == ["go_away", "resumed"]
    assert {track.track_id for track in moved[-1].tracks} == {1, 2}


async def test_a_tracker_that_dies_is_replaced_from_a_snapshot() -> None:
    async with tracking() as here, tracking() as there:
        async with kinemask.AsyncClient(there.server.address) as client:
            undisturbed = await tracks_of(client.track_boxes())
        addresses = [here.server.address, there.server.address]
        options = kinemask.StreamOptions(snapshot_every_n_frames=4)
        async with kinemask.AsyncClient(addresses) as client:

            async def die() -> None:
                busy = here if here.streams.active else there
                await busy.server._server.stop(0)  # at once, without a word

            moved = await tracks_of(client.track_boxes(options=options), die)
    assert moved == undisturbed


@asynccontextmanager
async def flow() -> AsyncIterator[tuple[SegmenterService, str]]:
    """The segmenter with its own engines."""
    service = SegmenterService(SegmenterSettings(port=0))
    async with running(service) as server:
        yield service, server.address


async def test_masks_of_the_real_segmenter_survive_a_move() -> None:
    truth = np.zeros((120, 160), np.bool_)
    truth[40:80, 20:60] = True

    async def masks_of(client: kinemask.AsyncClient, leave: Leave | None) -> list[bytes]:
        found = []
        async with client.segment_video() as stream:
            first = stream.prompt(1, mask=truth)
            for number in range(12):
                await stream.send(picture(number))
                if number == 5 and leave is not None:
                    await leave()
            assert (await first).frame_id == 0
            await stream.finish()
            async for answer in stream:
                encoded = answer[1].encoded
                assert encoded is not None
                found.append(encoded.rle)
        return found

    async with flow() as (one, here), flow() as (other, there):
        async with kinemask.AsyncClient(here) as client:
            undisturbed = await masks_of(client, None)
        async with kinemask.AsyncClient([here, there]) as client:

            async def drain() -> None:
                busy = one if one.servicer.streams.active else other
                await busy.servicer.streams.drain(5)

            assert await masks_of(client, drain) == undisturbed


@pytest.mark.parametrize("policy", ["block", "latest"])
async def test_live_frames_through_the_real_gateway(policy: str) -> None:
    async with world(lambda number: [(10, 10, 30, 30)]) as everything:
        address = everything.live.server.address
        async with kinemask.AsyncClient(address, jpeg_quality=None) as client:
            await client.wait_ready(10)
            frames = [np.full((64, 96, 3), number, np.uint8) for number in range(20)]
            options = kinemask.StreamOptions(policy=policy)  # type: ignore[arg-type]  # one of three
            config = kinemask.LiveConfig(
                detect=kinemask.DetectStage(["thing"], every_n_frames=3, wait=policy == "block")
            )
            answers = [answer async for answer in client.track(frames, config, options=options)]
            services = await client.services()
    assert [answer.frame_id for answer in answers] == list(range(20))
    if policy == "block":
        assert all(answer.ok for answer in answers)
        assert answers[0].objects[0].label == "thing"
        assert answers[0].objects[0].mask is not None
        assert not answers[0].degraded
    assert services["segmenter"].serving
