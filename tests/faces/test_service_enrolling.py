"""Samples enrolled one by one and as a stream, listed and removed; a database that goes away."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from kinemask.v1 import faces_pb2, media_pb2, streams_pb2

from tests.faces.faces_kit import (
    ALICE,
    BOB,
    CAROL,
    GALLERY,
    DiscModel,
    Friends,
    drawn,
    one_disc,
    reason,
    sample,
    sent,
    serving_faces,
)
from tests.postgres_kit import Postgres
from tests.stream_kit import StreamClient, code_of, kinds, reason_of

TWO = drawn((BOB, (60, 80), 30), (ALICE, (220, 120), 50))
CUT = drawn((ALICE, (0, 100), 60))
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def enrolling(friends: Friends) -> StreamClient:
    return StreamClient(friends.stub.EnrolStream, faces_pb2.EnrolStreamRequest)


def config(**fields: object) -> faces_pb2.EnrolStreamConfig:
    return faces_pb2.EnrolStreamConfig(gallery_id=GALLERY, **fields)  # type: ignore[arg-type]  # whatever a test names


def frame(number: int, person_id: str, picture: np.ndarray, **fields: object) -> object:
    return faces_pb2.EnrolFrame(
        frame_id=number,
        person_id=person_id,
        sample=sample(picture),
        **fields,  # type: ignore[arg-type]  # whatever a test names
    )


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param(sample(drawn()), faces_pb2.FACE_PROBLEM_NO_FACE, id="no face"),
        pytest.param(
            faces_pb2.SampleInput(
                face=faces_pb2.FaceSource(image=sent(TWO), choice=faces_pb2.FACE_CHOICE_ONLY)
            ),
            faces_pb2.FACE_PROBLEM_SEVERAL_FACES,
            id="two faces",
        ),
        pytest.param(
            faces_pb2.SampleInput(
                face=faces_pb2.FaceSource(
                    image=sent(TWO), box=media_pb2.Box(x_min=0, y_min=200, x_max=20, y_max=220)
                )
            ),
            faces_pb2.FACE_PROBLEM_NO_FACE_AT_BOX,
            id="none at the box",
        ),
        pytest.param(sample(one_disc(ALICE, 10)), faces_pb2.FACE_PROBLEM_TOO_SMALL, id="too small"),
        pytest.param(sample(CUT), faces_pb2.FACE_PROBLEM_CUT_OFF, id="cut by the border"),
        pytest.param(
            sample(one_disc(ALICE, 20), min_quality=0.99),
            faces_pb2.FACE_PROBLEM_TOO_SMALL,
            id="below the quality that was asked for",
        ),
    ],
)
async def test_what_is_refused_and_why(
    friends: Friends, given: faces_pb2.SampleInput, problem: int
) -> None:
    await friends.make()
    await friends.add("alice")
    good = sample(one_disc(ALICE))
    refused, accepted = await friends.enrol("alice", given, good)
    assert refused.refused.problem == problem and "expected" in refused.refused.message
    assert accepted.accepted.person_id == "alice"
    assert [s.sample_id for s in await friends.samples()] == [accepted.accepted.sample_id]


async def test_the_same_face_twice_is_a_duplicate_unless_it_is_allowed(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    [first] = await friends.samples()
    again = sample(one_disc(ALICE))
    [outcome] = await friends.enrol("alice", again)
    assert outcome.refused.problem == faces_pb2.FACE_PROBLEM_DUPLICATE
    assert outcome.refused.duplicate_sample_id == first.sample_id
    again.allow_duplicate = True
    [outcome] = await friends.enrol("alice", again)
    assert outcome.HasField("accepted") and len(await friends.samples()) == 2


async def test_the_face_at_the_box_is_the_one_that_is_meant(friends: Friends) -> None:
    await friends.make()
    await friends.add("bob")
    box = media_pb2.Box(x_min=25, y_min=45, x_max=95, y_max=115)
    face = faces_pb2.FaceSource(image=sent(TWO), box=box)
    [outcome] = await friends.enrol("bob", faces_pb2.SampleInput(face=face, source="party.png"))
    assert outcome.accepted.face.box.x_max == pytest.approx(91)
    assert outcome.accepted.source == "party.png"
    [found] = await friends.recognise(one_disc(BOB, 30))
    assert found.decision == faces_pb2.FACE_DECISION_KNOWN


async def test_an_unreadable_picture_does_not_cost_the_others(friends: Friends) -> None:
    await friends.make()
    await friends.add("alice")
    broken = faces_pb2.SampleInput(
        face=faces_pb2.FaceSource(image=media_pb2.Image(encoded=b"no picture"))
    )
    failed, accepted = await friends.enrol("alice", broken, sample(one_disc(ALICE)))
    assert failed.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert accepted.HasField("accepted")


async def test_a_repeated_request_enrols_once(friends: Friends) -> None:
    await friends.make()
    await friends.add("alice")
    new = sample(one_disc(ALICE), allow_duplicate=True)
    first = await friends.enrol("alice", new, request_id="once")
    assert await friends.enrol("alice", new, request_id="once") == first
    assert len(await friends.samples()) == 1


async def test_samples_are_listed_with_their_crops_and_removed(friends: Friends) -> None:
    await friends.make(alice=ALICE, bob=BOB)
    request = faces_pb2.ListSamplesRequest(
        gallery_id=GALLERY, person_id="alice", include_crops=True
    )
    [found] = (await friends.stub.ListSamples(request)).samples
    assert found.crop_jpeg[:2] == b"\xff\xd8" and len(found.face.landmarks) == 5
    with pytest.raises(grpc.aio.AioRpcError, match="nobody's"):
        await friends.stub.DeleteSamples(
            faces_pb2.DeleteSamplesRequest(
                gallery_id=GALLERY, sample_ids=[found.sample_id, "nobody's"]
            )
        )
    assert len(await friends.samples()) == 2
    gone = await friends.stub.DeleteSamples(
        faces_pb2.DeleteSamplesRequest(gallery_id=GALLERY, sample_ids=[found.sample_id])
    )
    assert gone.sample_count == 1
    assert [s.person_id for s in await friends.samples()] == ["bob"]


async def test_a_stream_makes_people_and_answers_in_order(friends: Friends) -> None:
    await friends.make()
    client = enrolling(friends)
    started = await client.open(config(create_people=True))
    assert started.terms.service.model == "discs" and started.config.create_people
    await client.send(frame=frame(1, "alice", one_disc(ALICE), display_name="Alice A."))
    await client.send(frame=frame(2, "bob", drawn()))
    await client.send(frame=frame(3, "alice", one_disc(ALICE)))
    answers = await client.finish()
    assert kinds(answers) == ["result"] * 3
    accepted, empty, twice = (answer.result.outcome for answer in answers)
    assert accepted.accepted.person_id == "alice"
    assert empty.refused.problem == faces_pb2.FACE_PROBLEM_NO_FACE
    assert twice.refused.problem == faces_pb2.FACE_PROBLEM_DUPLICATE
    [person] = await friends.people()
    assert (person.person_id, person.display_name) == ("alice", "Alice A.")


async def test_a_sample_of_nobody_is_an_error_of_its_own(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    client = enrolling(friends)
    await client.open(config())
    await client.send(frame=frame(1, "nobody", one_disc(BOB)))
    await client.send(frame=frame(2, "alice", one_disc(CAROL)))
    failed, accepted = await client.finish()
    assert code_of(failed.error.status) is grpc.StatusCode.NOT_FOUND
    assert accepted.result.outcome.HasField("accepted")


async def test_no_sample_may_be_dropped(friends: Friends) -> None:
    await friends.make()
    client = enrolling(friends)
    latest = streams_pb2.StreamOptions(policy=streams_pb2.OVERFLOW_POLICY_LATEST)
    await client.send(config=config(stream=latest))
    status = await client.failure()
    assert code_of(status) is grpc.StatusCode.INVALID_ARGUMENT and "LATEST" in status.message


async def test_the_same_sample_in_two_streams_is_stored_once(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    outcomes = []
    for number in (1, 7):
        client = enrolling(friends)
        await client.open(config())
        await client.send(frame=frame(number, "alice", one_disc(BOB), request_id="bob-1"))
        [answer] = await client.finish()
        outcomes.append(answer.result.outcome)
    assert outcomes[0] == outcomes[1] and outcomes[0].HasField("accepted")
    assert len(await friends.samples()) == 2


async def test_a_database_that_dies_during_a_stream_costs_no_accepted_sample(
    discs: DiscModel, own_postgres: Postgres
) -> None:
    url = own_postgres.new_database()
    async with serving_faces(discs, faces_galleries="on", database_url=url) as stub:
        friends = await Friends(stub).make(alice=ALICE)
        client = enrolling(friends)
        await client.open(config())
        await client.send(frame=frame(1, "alice", one_disc(BOB)))
        assert (await client.read("result")).result.outcome.HasField("accepted")
        own_postgres.kill()
        await client.send(frame=frame(2, "alice", one_disc(CAROL)))
        away = await client.read("error")
        assert code_of(away.error.status) is UNAVAILABLE
        own_postgres.start()
        await client.send(frame=frame(3, "alice", one_disc(CAROL)))
        answers = await client.finish()
        while answers[-1].WhichOneof("message") == "error":  # it has just come back
            client = enrolling(friends)
            await client.open(config())
            await client.send(frame=frame(4, "alice", one_disc(CAROL)))
            answers = await client.finish()
        assert answers[-1].result.outcome.HasField("accepted")
        assert len(await friends.samples()) == 3


async def test_a_database_that_is_away_is_unavailable_and_faces_are_found_all_the_same(
    discs: DiscModel,
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    async with serving_faces(discs, faces_galleries="on", database_url=nowhere) as stub:
        request = faces_pb2.DetectFacesRequest(images=[sent(TWO)])
        assert len((await stub.DetectFaces(request)).results[0].faces) == 2
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListGalleries(faces_pb2.ListGalleriesRequest())
        assert refused.value.code() is UNAVAILABLE
        assert reason(refused.value) == "DATABASE_UNAVAILABLE"


async def test_a_token_that_is_none_ends_no_stream_but_an_enrolment_from_one_goes_on(
    friends: Friends,
) -> None:
    await friends.make(alice=ALICE)
    client = enrolling(friends)
    await client.open(config())
    await client.send(frame=frame(1, "alice", one_disc(BOB)))
    await client.read("result")
    await client.send(snapshot=streams_pb2.SnapshotRequest())
    token = (await client.read("snapshot")).snapshot.resume_token
    await client.finish()
    later = enrolling(friends)
    started = await later.open(config(stream=streams_pb2.StreamOptions(resume_token=token)))
    assert started.terms.resumed_after_frame_id == 1
    broken = enrolling(friends)
    damaged = streams_pb2.StreamOptions(resume_token=token[:-1])
    await broken.send(config=config(stream=damaged))
    assert reason_of(await broken.failure()) == "RESUME_TOKEN_DAMAGED"
