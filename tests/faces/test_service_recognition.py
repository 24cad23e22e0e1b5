"""Recognise, strangers, corrections, face tokens and re-embedding on a running service."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import grpc
import pytest
from kinemask.v1 import faces_pb2, faces_pb2_grpc, media_pb2
from kinemask_chassis.server import running
from kinemask_faces.engines.base import Embeddings, Image
from kinemask_faces.engines.registry import FaceModels
from kinemask_faces.service import FacesService
from kinemask_faces.settings import FacesSettings

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
    source,
)
from tests.postgres_kit import Postgres

ALIKE = (220, 70, 70)
"""0.985 like ALICE."""
BETWEEN = (220, 145, 145)
"""Like ALICE by 0.87: below a match, above a new stranger."""
TWO = drawn((BOB, (60, 80), 30), (ALICE, (220, 120), 50))
KNOWN, UNKNOWN = faces_pb2.FACE_DECISION_KNOWN, faces_pb2.FACE_DECISION_UNKNOWN
STRANGER = faces_pb2.FACE_DECISION_STRANGER
STRANGERS = faces_pb2.StrangerOptions()


async def test_every_face_is_answered_the_largest_first(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    large, small = await friends.recognise(TWO)
    assert (large.decision, large.best.display_name) == (KNOWN, "Alice")
    assert large.best.similarity == pytest.approx(1, abs=0.01)
    assert not large.HasField("runner_up") and not large.HasField("margin")
    assert small.decision == UNKNOWN and small.best.person_id == "alice"


async def test_a_small_lead_is_undecided(friends: Friends) -> None:
    await friends.make(alice=ALICE, amy=ALIKE)
    [face] = await friends.recognise(one_disc(ALICE), min_margin=0.1)
    assert face.decision == faces_pb2.FACE_DECISION_UNDECIDED
    assert face.best.person_id == "alice" and face.runner_up.person_id == "amy"
    assert 0 < face.margin < 0.1
    [face] = await friends.recognise(one_disc(ALICE))
    assert face.decision == KNOWN


@pytest.mark.parametrize(
    ("options", "decision"),
    [
        pytest.param({"threshold": 1.0}, UNKNOWN, id="nobody is so like"),
        pytest.param({"threshold": 0.2}, KNOWN, id="anybody will do"),
        pytest.param({"min_quality": 0.99}, faces_pb2.FACE_DECISION_TOO_POOR, id="too poor"),
    ],
)
async def test_what_counts_as_a_match(
    friends: Friends, options: dict[str, float], decision: int
) -> None:
    await friends.make(alice=ALICE)
    [face] = await friends.recognise(one_disc(BOB), **options)  # type: ignore[arg-type]  # of the row
    assert face.decision == decision


@pytest.mark.parametrize("threshold", [math.nan, 2.0])
async def test_a_threshold_that_is_none_is_refused(friends: Friends, threshold: float) -> None:
    await friends.make(alice=ALICE)
    with pytest.raises(grpc.aio.AioRpcError, match="threshold") as refused:
        await friends.recognise(one_disc(ALICE), threshold=threshold)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_bad_picture_does_not_cost_the_others(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    request = faces_pb2.RecogniseRequest(
        images=[media_pb2.Image(encoded=b"nothing"), sent(one_disc(ALICE))],
        options=faces_pb2.RecogniseOptions(gallery_id=GALLERY),
    )
    broken, good = (await friends.stub.Recognise(request)).results
    assert broken.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert good.faces[0].decision == KNOWN


async def test_a_stranger_gets_the_same_id_again_and_two_get_two(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    first, second = await friends.recognise(
        one_disc(BOB), one_disc(CAROL), enrol_strangers=STRANGERS
    )
    assert first.decision == second.decision == STRANGER
    assert first.new_stranger and second.new_stranger
    assert first.best.person_id != second.best.person_id
    [again] = await friends.recognise(one_disc(BOB, 50), enrol_strangers=STRANGERS)
    assert again.best.person_id == first.best.person_id and not again.new_stranger
    [person] = await friends.people(stranger=False)
    assert person.person_id == "alice"


async def test_many_at_once_make_one_stranger(friends: Friends) -> None:
    await friends.make()
    calls = [friends.recognise(one_disc(BOB, 30 + n), enrol_strangers=STRANGERS) for n in range(8)]
    found = [face for [face] in await asyncio.gather(*calls)]
    assert len({face.best.person_id for face in found}) == 1
    assert sum(face.new_stranger for face in found) == 1
    assert len(await friends.people()) == 1


async def test_between_a_match_and_a_stranger_nobody_is_made(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    [face] = await friends.recognise(one_disc(BETWEEN), enrol_strangers=STRANGERS)
    assert face.decision == UNKNOWN and not face.new_stranger
    assert len(await friends.people()) == 1


async def test_a_repeated_recognition_tells_of_the_same_new_stranger(friends: Friends) -> None:
    await friends.make()
    ask = {"enrol_strangers": STRANGERS, "request_id": "one"}
    [first] = await friends.recognise(one_disc(BOB), **ask)  # type: ignore[arg-type]  # options of two types
    [again] = await friends.recognise(one_disc(BOB), **ask)  # type: ignore[arg-type]  # options of two types
    assert first == again and again.new_stranger


async def test_a_stranger_with_a_name_is_a_stranger_no_more(friends: Friends) -> None:
    await friends.make()
    [face] = await friends.recognise(one_disc(BOB), enrol_strangers=STRANGERS)
    await friends.stub.UpdatePerson(
        faces_pb2.UpdatePersonRequest(
            gallery_id=GALLERY, person_id=face.best.person_id, display_name="Bob"
        )
    )
    [face] = await friends.recognise(one_disc(BOB))
    assert (face.decision, face.best.display_name) == (KNOWN, "Bob")


async def test_a_face_that_was_rejected_is_not_matched_again(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    [face] = await friends.recognise(one_disc(ALIKE), include_face_tokens=True)
    assert face.decision == KNOWN
    rejected = await friends.stub.RejectMatch(
        faces_pb2.RejectMatchRequest(
            gallery_id=GALLERY,
            person_id="alice",
            face=faces_pb2.FaceSource(face_token=face.face.face_token),
        )
    )
    [face] = await friends.recognise(one_disc(ALIKE))
    assert face.decision == UNKNOWN and not face.HasField("best")
    [face] = await friends.recognise(one_disc(ALICE))
    assert face.decision == KNOWN
    asked = faces_pb2.ListRejectionsRequest(gallery_id=GALLERY, include_crops=True)
    [entry] = (await friends.stub.ListRejections(asked)).rejections
    assert entry.rejection_id == rejected.rejection.rejection_id and entry.crop_jpeg
    await friends.stub.DeleteRejection(
        faces_pb2.DeleteRejectionRequest(gallery_id=GALLERY, rejection_id=entry.rejection_id)
    )
    [face] = await friends.recognise(one_disc(ALIKE))
    assert face.decision == KNOWN


async def test_a_rejected_sample_leaves_the_person(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    [wrong] = await friends.enrol("alice", sample(one_disc(BOB)))
    await friends.stub.RejectMatch(
        faces_pb2.RejectMatchRequest(
            gallery_id=GALLERY, person_id="alice", sample_id=wrong.accepted.sample_id
        )
    )
    assert len(await friends.samples()) == 1
    [face] = await friends.recognise(one_disc(BOB))
    assert face.decision == UNKNOWN


async def test_a_token_stands_for_its_face(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    _, small = await friends.recognise(TWO, include_face_tokens=True)
    token = faces_pb2.FaceSource(face_token=small.face.face_token)
    await friends.add("bob")
    [outcome] = await friends.enrol("bob", faces_pb2.SampleInput(face=token))
    assert outcome.accepted.face.box == small.face.box
    same = await friends.stub.VerifyFaces(
        faces_pb2.VerifyFacesRequest(first=token, second=source(one_disc(BOB, 30)))
    )
    assert same.same


async def test_tokens_of_others_are_refused(friends: Friends) -> None:
    await friends.make(alice=ALICE)
    await friends.stub.CreateGallery(faces_pb2.CreateGalleryRequest(gallery_id="other"))
    await friends.stub.CreatePerson(
        faces_pb2.CreatePersonRequest(gallery_id="other", person_id="x", display_name="X")
    )
    [face] = await friends.recognise(one_disc(ALICE), include_face_tokens=True)
    token = face.face.face_token
    for gallery_id, person_id, tried in (
        ("other", "x", token),
        (GALLERY, "alice", token[:-1] + bytes([token[-1] ^ 1])),
        (GALLERY, "alice", b"made up"),
    ):
        request = faces_pb2.RejectMatchRequest(
            gallery_id=gallery_id,
            person_id=person_id,
            face=faces_pb2.FaceSource(face_token=tried),
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await friends.stub.RejectMatch(request)
        assert reason(refused.value) == "BAD_FACE_TOKEN"


async def test_a_token_is_good_at_every_replica(discs: DiscModel, postgres: Postgres) -> None:
    told = {"faces_galleries": "on", "database_url": postgres.new_database()}
    async with serving_faces(discs, **told) as stub, serving_faces(DiscModel(), **told) as other:
        friends = await Friends(stub).make(alice=ALICE)
        [face] = await friends.recognise(one_disc(ALICE), include_face_tokens=True)
        token = faces_pb2.FaceSource(face_token=face.face.face_token)
        answer = await other.VerifyFaces(
            faces_pb2.VerifyFacesRequest(first=token, second=source(one_disc(ALICE)))
        )
        assert answer.same


async def test_what_one_replica_deletes_another_no_longer_finds(
    discs: DiscModel, postgres: Postgres
) -> None:
    told = {"faces_galleries": "on", "database_url": postgres.new_database()}
    async with serving_faces(discs, **told) as stub, serving_faces(DiscModel(), **told) as other:
        friends, elsewhere = await Friends(stub).make(alice=ALICE), Friends(other)
        [face] = await elsewhere.recognise(one_disc(ALICE))
        assert face.decision == KNOWN
        await friends.stub.DeletePerson(
            faces_pb2.DeletePersonRequest(gallery_id=GALLERY, person_id="alice")
        )
        [face] = await elsewhere.recognise(one_disc(ALICE))
        assert face.decision == UNKNOWN and not face.HasField("best")


class GreyModel(DiscModel):
    """Another model: it looks at the colours the other way round."""

    def __init__(self) -> None:
        super().__init__("mirrors")

    def embed(self, aligned: Sequence[Image]) -> Embeddings:
        return super().embed([cut[..., ::-1] for cut in aligned])


async def test_a_gallery_embedded_for_another_model_is_searched_with_it(
    postgres: Postgres,
) -> None:
    models = {"discs": DiscModel(), "mirrors": GreyModel()}
    settings = FacesSettings(port=0, faces_galleries="on", database_url=postgres.new_database())
    async with (
        running(FacesService(settings, FaceModels(models))) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        friends = await Friends(faces_pb2_grpc.FacesServiceStub(channel)).make(alice=ALICE, bob=BOB)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await friends.recognise(one_disc(ALICE), model="mirrors")
        assert reason(refused.value) == "NOT_EMBEDDED"
        request = faces_pb2.ReembedGalleryRequest(gallery_id=GALLERY, model="mirrors")
        steps = [step async for step in friends.stub.ReembedGallery(request)]
        assert steps[-1].done and steps[-1].done_count == steps[-1].total_count == 2
        assert [m.model for m in steps[-1].gallery.models] == ["discs", "mirrors"]
        [face] = await friends.recognise(one_disc(BOB), model="mirrors")
        assert face.best.person_id == "bob" and face.decision == KNOWN
        [outcome] = await friends.enrol("bob", sample(one_disc(CAROL)))
        assert outcome.HasField("accepted")
        [face] = await friends.recognise(one_disc(CAROL), model="mirrors")
        assert face.best.person_id == "bob" and face.decision == KNOWN
        request.make_default = request.drop_other_models = True
        *_, last = [step async for step in friends.stub.ReembedGallery(request)]
        assert [m.model for m in last.gallery.models] == ["mirrors"]
