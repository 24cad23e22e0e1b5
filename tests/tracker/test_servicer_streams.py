"""The stream contract on the tracker: policies, snapshots, hand-over, neighbours."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from kinemask.v1 import streams_pb2, tracker_pb2

from tests.stream_kit import (
    StreamClient,
    code_of,
    eventually,
    frame_answers,
    kinds,
    reason_of,
)
from tests.tracker.track_calls import LATEST, config, ending, frame, moving, tracking

Code = grpc.StatusCode
SNAPSHOT = streams_pb2.SnapshotRequest()


async def play(client: StreamClient, frames: range) -> list[tracker_pb2.TrackResult]:
    results = []
    for i in frames:
        await client.send(frame=moving(i))
        results.append((await client.read("result")).result)
    return results


def without_timing(results: list[tracker_pb2.TrackResult]) -> list[tracker_pb2.TrackResult]:
    for result in results:
        result.ClearField("timing")
    return results


async def snapshot_of(client: StreamClient) -> streams_pb2.StreamSnapshot:
    await client.send(snapshot=SNAPSHOT)
    found: streams_pb2.StreamSnapshot = (await client.read("snapshot")).snapshot
    return found


@pytest.mark.parametrize("algorithm", ["auto", "sort", "bytetrack", "ocsort"])
async def test_stream_goes_on_from_a_snapshot_as_if_nothing_had_been(algorithm: str) -> None:
    async with tracking() as here, tracking() as there:
        undisturbed = await play(await here.opened(config(algorithm=algorithm)), range(20))
        first = await here.opened(config(algorithm=algorithm))
        begun = await play(first, range(9))
        snapshot = await snapshot_of(first)
        first.call.cancel()
        second = there.call()
        asked = config(algorithm=algorithm, resume_token=snapshot.resume_token)
        started = await second.open(asked)
        assert started.terms.resumed_after_frame_id == snapshot.frame_id == 8
        rest = await play(second, range(9, 20))
    assert without_timing(begun + rest) == without_timing(undisturbed)


async def test_tracks_ended_by_an_edit_are_told_of_after_a_move() -> None:
    async with tracking() as calls:
        client = await calls.opened()
        results = await play(client, range(6))
        doomed = results[-1].tracks[0].track_id
        await client.send(edit=ending(1, doomed, frame_id=5))
        await client.read("edit")
        snapshot = await snapshot_of(client)
        resumed = await calls.opened(config(resume_token=snapshot.resume_token))
        after = await play(resumed, range(6, 8))
        assert list(after[0].ended_track_ids) == [doomed]
        assert not after[1].ended_track_ids


async def test_snapshots_come_every_n_frames() -> None:
    async with tracking() as calls:
        client = await calls.opened(config(every=3))
        for i in range(7):
            await client.send(frame=moving(i))
        responses = await client.finish()
    want = ["result"] * 3 + ["snapshot"] + ["result"] * 3 + ["snapshot", "result"]
    assert kinds(responses) == want
    assert [r.snapshot.frame_id for r in responses if r.HasField("snapshot")] == [2, 5]


async def test_token_of_other_parameters_is_refused() -> None:
    async with tracking() as calls:
        client = await calls.opened(config(algorithm="sort"))
        await play(client, range(3))
        token = (await snapshot_of(client)).resume_token
        other = calls.call()
        await other.send(config=config(algorithm="sort", min_hits=9, resume_token=token))
        status = await other.failure()
    assert (code_of(status), reason_of(status)) == (Code.INVALID_ARGUMENT, "RESUME_TOKEN_MISMATCH")


@pytest.mark.parametrize("where", [0, 5, 60, -1], ids=["magic", "digest", "body", "last byte"])
async def test_damaged_token_is_data_loss(where: int) -> None:
    async with tracking() as calls:
        client = await calls.opened()
        await play(client, range(3))
        token = bytearray((await snapshot_of(client)).resume_token)
        token[where] ^= 0xFF
        other = calls.call()
        await other.send(config=config(resume_token=bytes(token)))
        status = await other.failure()
        assert (code_of(status), reason_of(status)) == (Code.DATA_LOSS, "RESUME_TOKEN_DAMAGED")
        await eventually(lambda: calls.streams.active == 1)


async def test_drain_hands_the_stream_over_without_losing_a_frame() -> None:
    async with tracking() as here, tracking() as there:
        undisturbed = await play(await there.opened(), range(12))
        client = await here.opened()
        before = await play(client, range(7))
        draining = asyncio.create_task(here.server.drain(grace_s=20))
        away = (await client.read("go_away")).go_away
        await client.finish()
        await draining
        assert away.last_frame_id == 6
        moved = await there.opened(config(resume_token=away.resume_token))
        after = await play(moved, range(7, 12))
    assert without_timing(before + after) == without_timing(undisturbed)


async def test_latest_answers_every_frame_in_order() -> None:
    async with tracking() as calls:
        client = await calls.opened(config(window=2, policy=LATEST))
        for i in range(200):
            await client.send(frame=moving(i))
        answers = frame_answers(await client.finish())
    covered = [i for _, first, last in answers for i in range(first, last + 1)]
    assert covered == list(range(200))


async def test_wrong_first_message_and_decreasing_ids() -> None:
    async with tracking() as calls:
        early = calls.call()
        await early.send(frame=frame(0))
        assert reason_of(await early.failure()) == "CONFIG_EXPECTED"
        client = await calls.opened()
        await play(client, range(3))
        await client.send(frame=moving(1))
        assert reason_of(await client.failure()) == "FRAME_ID_NOT_INCREASING"


async def test_cancelled_client_frees_its_slot() -> None:
    async with tracking() as calls:
        client, other = await calls.opened(), await calls.opened()
        await play(client, range(3))
        client.call.cancel()
        await eventually(lambda: calls.streams.active == 1)
        assert len(await play(other, range(3))) == 3
