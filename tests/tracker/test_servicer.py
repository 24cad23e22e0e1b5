"""The tracker's rpcs on a real server: what goes in, what comes out, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2
from kinemask.v1 import tracker_pb2

from tests.stream_kit import code_of, details_of, frame_answers, kinds, reason_of
from tests.tracker.track_calls import (
    TrackCalls,
    config,
    detection,
    ending,
    frame,
    moving,
    observation,
    tracking,
)

Code = grpc.StatusCode
NAN, INFINITE = float("nan"), float("inf")
HERE = (10.0, 10.0, 40.0, 40.0)


@pytest.fixture
async def track_calls() -> AsyncIterator[TrackCalls]:
    async with tracking() as calls:
        yield calls


async def results_of(
    calls: TrackCalls, frames: list[tracker_pb2.TrackFrame], asked: tracker_pb2.TrackConfig
) -> list[tracker_pb2.TrackResult]:
    client = await calls.opened(asked)
    results = []
    for one in frames:
        await client.send(frame=one)
        results.append((await client.read("result")).result)
    return results


@pytest.mark.parametrize("algorithm", ["sort", "bytetrack", "ocsort", "auto", ""])
async def test_boxes_keep_their_identity(track_calls: TrackCalls, algorithm: str) -> None:
    frames = [moving(i) for i in range(12)]
    results = await results_of(track_calls, frames, config(algorithm=algorithm))
    last = results[-1].tracks
    assert [track.detection_index for track in last] == [0, 1, 2]
    assert all(track.state == tracker_pb2.TRACK_STATE_CONFIRMED for track in last)
    assert [track.box.x_min for track in last] == pytest.approx([22, 22, 22], abs=3)
    assert {track.prompt for track in last} == {"red car"}
    assert {track.label for track in last} == {"car"}
    ids = [track.track_id for track in last]
    assert all([t.track_id for t in result.tracks] == ids for result in results[4:])


async def test_started_says_what_holds(track_calls: TrackCalls) -> None:
    client = track_calls.call()
    started = await client.open(config(algorithm="sort", min_hits=2, match_iou=0.25))
    assert started.config.algorithm == "sort"
    assert started.config.parameters.min_hits == 2
    assert started.config.parameters.match_iou == 0.25
    assert started.config.parameters.HasField("max_lost_frames")
    assert started.terms.service.engine == "sort"
    assert started.terms.service.service == "tracker"


async def test_min_hits_counts_every_detection_in_a_row(track_calls: TrackCalls) -> None:
    # SORT believes everything on a stream's first frames: the car comes later.
    frames = [frame(i) for i in range(5)] + [moving(i, lanes=1) for i in range(5, 8)]
    results = await results_of(track_calls, frames, config(algorithm="sort", min_hits=3))
    tentative, confirmed = tracker_pb2.TRACK_STATE_TENTATIVE, tracker_pb2.TRACK_STATE_CONFIRMED
    states = [result.tracks[0].state for result in results[5:]]
    assert states == [tentative, tentative, confirmed]


async def test_unknown_algorithm_names_those_there_are(track_calls: TrackCalls) -> None:
    client = track_calls.call()
    await client.send(config=config(algorithm="deepsort"))
    status = await client.failure()
    assert (code_of(status), reason_of(status)) == (Code.INVALID_ARGUMENT, "UNKNOWN_ALGORITHM")
    bad = details_of(status, error_details_pb2.BadRequest).field_violations[0]
    assert all(name in bad.description for name in ("auto", "sort", "bytetrack", "ocsort"))


async def test_list_algorithms_gives_the_default_first(track_calls: TrackCalls) -> None:
    listed = await track_calls.stub.ListAlgorithms(tracker_pb2.ListAlgorithmsRequest())
    assert listed.algorithms[0].is_default
    assert not any(model.is_default for model in listed.algorithms[1:])
    assert {"sort", "bytetrack", "ocsort"} <= {model.name for model in listed.algorithms}
    default = await track_calls.call().open(config())
    assert default.config.algorithm == listed.algorithms[0].name


async def test_frame_without_a_detector_run_loses_nothing(track_calls: TrackCalls) -> None:
    frames = [moving(i) for i in range(6)]
    frames += [frame(i, not_detected=True) for i in range(6, 9)]
    results = await results_of(track_calls, frames, config(algorithm="sort"))
    assert len(results[-1].tracks) == 3
    assert not results[-1].ended_track_ids
    assert not any(track.HasField("detection_index") for track in results[-1].tracks)


async def test_absence_ends_tracks_and_says_so_once(track_calls: TrackCalls) -> None:
    frames = [moving(i) for i in range(6)] + [frame(i) for i in range(6, 12)]
    results = await results_of(track_calls, frames, config(algorithm="sort", max_lost_frames=2))
    ended = [track_id for result in results for track_id in result.ended_track_ids]
    assert sorted(ended) == sorted(track.track_id for track in results[5].tracks)
    assert not results[-1].tracks


async def test_observation_carries_a_track_between_detections(track_calls: TrackCalls) -> None:
    client = await track_calls.opened(config(algorithm="sort"))
    for i in range(6):
        await client.send(frame=moving(i, lanes=1))
        known = (await client.read("result")).result.tracks[0].track_id
    there = (100.0, 5.0, 130.0, 35.0)
    observed = [observation(known, there)]
    await client.send(frame=frame(6, not_detected=True, observed=observed))
    track = (await client.read("result")).result.tracks[0]
    assert (track.track_id, track.frames_since_seen) == (known, 0)
    assert track.box.x_min == pytest.approx(100, abs=1)


async def test_ended_track_comes_back_under_a_new_id(track_calls: TrackCalls) -> None:
    client = await track_calls.opened(config(algorithm="sort"))
    for i in range(6):
        await client.send(frame=moving(i, lanes=2))
        known = [track.track_id for track in (await client.read("result")).result.tracks]
    await client.send(edit=ending(1, known[0], frame_id=6))
    seen = []
    for i in range(6, 12):
        await client.send(frame=moving(i, lanes=2))
    for response in await client.finish():
        seen.append(response)
    assert seen[0].edit.edit_id == 1
    assert not seen[0].edit.HasField("status")
    results = [response.result for response in seen[1:]]
    assert list(results[0].ended_track_ids) == [known[0]]
    assert not any(known[0] in r.ended_track_ids for r in results[1:])
    last = {track.track_id for track in results[-1].tracks}
    assert known[0] not in last
    assert known[1] in last
    assert len(last) == 2


async def test_ending_what_does_not_live_is_refused_in_band(track_calls: TrackCalls) -> None:
    client = await track_calls.opened()
    await client.send(edit=ending(9, 77))
    await client.send(frame=frame(0))
    responses = await client.finish()
    assert kinds(responses) == ["edit", "result"]
    status = responses[0].edit.status
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "UNKNOWN_TRACK")


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        pytest.param(frame(1, detection((NAN, 0, 1, 1))), "detections[0].box.x_min", id="NaN"),
        pytest.param(
            frame(1, detection((0, 0, INFINITE, 1))), "detections[0].box.x_max", id="infinite"
        ),
        pytest.param(frame(1, detection((9, 0, 1, 1))), "frame.detections", id="upside down"),
        pytest.param(frame(1, detection((0, 0, 1e30, 1))), "frame.detections", id="absurdly far"),
        pytest.param(
            frame(1, observed=[observation(1, HERE), observation(1, HERE)]),
            "frame.observations[1].track_id",
            id="one track observed twice",
        ),
        pytest.param(
            frame(1, observed=[observation(0, HERE)]), "observations[0].track_id", id="track 0"
        ),
        pytest.param(
            frame(1, detection(HERE), not_detected=True), "frame.detections", id="contradiction"
        ),
        pytest.param(
            frame(1, *[detection(HERE)] * 1001), "detections", id="more than 1000 detections"
        ),
    ],
)
async def test_bad_boxes_are_answered_in_band_and_the_stream_lives(
    track_calls: TrackCalls, broken: tracker_pb2.TrackFrame, field: str
) -> None:
    client = await track_calls.opened()
    for one in (moving(0), broken, moving(2)):
        await client.send(frame=one)
    responses = await client.finish()
    assert frame_answers(responses) == [("result", 0, 0), ("error", 1, 1), ("result", 2, 2)]
    status = responses[1].error.status
    assert code_of(status) is Code.INVALID_ARGUMENT
    assert details_of(status, error_details_pb2.BadRequest).field_violations[0].field == field


async def test_many_boxes_go_by_a_thread_and_keep_their_order(track_calls: TrackCalls) -> None:
    crowd = [
        frame(i, *(detection((50.0 * n + i, 0.0, 50.0 * n + 30 + i, 30.0)) for n in range(150)))
        for i in range(5)
    ]
    results = await results_of(track_calls, crowd, config(algorithm="sort", min_hits=1))
    assert [track.detection_index for track in results[-1].tracks] == list(range(150))


async def test_frame_ids_up_to_the_largest(track_calls: TrackCalls) -> None:
    client = await track_calls.opened()
    for frame_id in (0, 2**63 - 1):
        await client.send(frame=frame(frame_id, detection(HERE)))
    answers = frame_answers(await client.finish())
    assert answers == [("result", 0, 0), ("result", 2**63 - 1, 2**63 - 1)]


async def test_two_streams_count_their_own_tracks(track_calls: TrackCalls) -> None:
    one, other = await track_calls.opened(), await track_calls.opened()
    for i in range(5):
        await one.send(frame=moving(i, lanes=3))
        await other.send(frame=moving(i, lanes=1))
    first = (await one.finish())[-1].result
    second = (await other.finish())[-1].result
    assert len(first.tracks) == 3
    assert [track.track_id for track in second.tracks] == [1]
