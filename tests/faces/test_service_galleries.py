"""Galleries and people on a running service with PostgreSQL behind it."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from kinemask.v1 import faces_pb2

from tests.faces.faces_kit import ALICE, BOB, GALLERY, Friends, one_disc, reason, sample

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def nested(levels: int) -> struct_pb2.Struct:
    """JSON of so many levels."""
    made = struct_pb2.Struct()
    inner: dict[str, Any] = {"end": 1}
    for _ in range(levels - 1):
        inner = {"in": inner}
    made.update(inner)
    return made


def filled(size: int) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update({"text": "x" * size})
    return made


async def test_a_gallery_from_its_making_to_its_end(friends: Friends) -> None:
    metadata = struct_pb2.Struct()
    metadata.update({"shop": 1, "where": {"lat": 48.1}})
    made = await friends.stub.CreateGallery(
        faces_pb2.CreateGalleryRequest(gallery_id=GALLERY, metadata=metadata, model="auto")
    )
    assert made.gallery.display_name == GALLERY and made.gallery.default_model == "discs"
    assert made.gallery.metadata == metadata
    changed = await friends.stub.UpdateGallery(
        faces_pb2.UpdateGalleryRequest(gallery_id=GALLERY, display_name="Friends")
    )
    assert changed.gallery.display_name == "Friends" and changed.gallery.metadata == metadata
    await friends.add("alice")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await friends.stub.DeleteGallery(faces_pb2.DeleteGalleryRequest(gallery_id=GALLERY))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    gone = await friends.stub.DeleteGallery(
        faces_pb2.DeleteGalleryRequest(gallery_id=GALLERY, force=True)
    )
    assert gone.person_count == 1
    listed = await friends.stub.ListGalleries(faces_pb2.ListGalleriesRequest())
    assert not listed.galleries


async def test_galleries_and_people_come_in_pages(friends: Friends) -> None:
    await friends.make()
    for number in range(5):
        await friends.add(f"p{number}")
    seen, token = [], ""
    while True:
        page = await friends.stub.ListPeople(
            faces_pb2.ListPeopleRequest(gallery_id=GALLERY, page_size=2, page_token=token)
        )
        seen += [person.person_id for person in page.people]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"p{number}" for number in range(5)]


async def test_a_repeated_request_makes_one_person(friends: Friends) -> None:
    await friends.make()
    request = faces_pb2.CreatePersonRequest(
        gallery_id=GALLERY, display_name="Alice", request_id="one"
    )
    first = await friends.stub.CreatePerson(request)
    assert await friends.stub.CreatePerson(request) == first
    assert len(await friends.people()) == 1
    request.display_name = "Bob"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await friends.stub.CreatePerson(request)
    assert reason(refused.value) == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param('O\'Brien "Bob"; DROP TABLE people;--', id="quotes"),
        pytest.param("Zoë 👩‍👩‍👧 李", id="emoji and other scripts"),
        pytest.param("%_\\", id="what LIKE would read"),
    ],
)
async def test_names_are_kept_as_they_are(friends: Friends, name: str) -> None:
    await friends.make()
    request = faces_pb2.CreatePersonRequest(gallery_id=GALLERY, display_name=name)
    person = (await friends.stub.CreatePerson(request)).person
    await friends.add("somebody-else")
    assert person.display_name == name
    assert [p.person_id for p in await friends.people(name_contains=name)] == [person.person_id]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"display_name": "x" * 10_000}, id="a name of 10,000 characters"),
        pytest.param({"display_name": "  "}, id="a blank name"),
        pytest.param({"display_name": "a\0b"}, id="a name with NUL"),
        pytest.param({"display_name": "Alice", "person_id": "a/b"}, id="an id with a slash"),
        pytest.param({"display_name": "Alice", "metadata": nested(17)}, id="17 levels"),
        pytest.param({"display_name": "Alice", "metadata": filled(70_000)}, id="70,000 bytes"),
    ],
)
async def test_what_a_person_cannot_be(friends: Friends, fields: dict[str, object]) -> None:
    await friends.make()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await friends.stub.CreatePerson(
            faces_pb2.CreatePersonRequest(gallery_id=GALLERY, **fields)  # type: ignore[arg-type]  # whatever a row names
        )
    assert refused.value.code() is INVALID and "expected" in (refused.value.details() or "")
    assert not await friends.people()


async def test_metadata_of_sixteen_levels_comes_back(friends: Friends) -> None:
    await friends.make()
    request = faces_pb2.CreatePersonRequest(
        gallery_id=GALLERY, display_name="Alice", metadata=nested(16)
    )
    assert (await friends.stub.CreatePerson(request)).person.metadata == nested(16)


async def test_an_unknown_gallery_is_not_found(friends: Friends) -> None:
    asked = faces_pb2.RecogniseOptions(gallery_id="nowhere")
    calls: list[Any] = [
        friends.stub.GetGallery(faces_pb2.GetGalleryRequest(gallery_id="nowhere")),
        friends.stub.ListPeople(faces_pb2.ListPeopleRequest(gallery_id="nowhere")),
        friends.stub.Recognise(faces_pb2.RecogniseRequest(images=[], options=asked)),
    ]
    codes = []
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        codes.append(refused.value.code())
    assert codes == [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.NOT_FOUND, INVALID]


async def test_merged_people_come_back_as_they_were(friends: Friends) -> None:
    await friends.make(alice=ALICE, bob=BOB)
    before = await friends.people()
    merged = await friends.stub.MergePeople(
        faces_pb2.MergePeopleRequest(
            gallery_id=GALLERY, person_id="alice", merged_person_ids=["bob"]
        )
    )
    assert merged.person.sample_count == 2
    [face] = await friends.recognise(one_disc(BOB, 30))
    assert face.best.person_id == "alice"
    with pytest.raises(grpc.aio.AioRpcError, match="alice"):
        await friends.stub.GetPerson(
            faces_pb2.GetPersonRequest(gallery_id=GALLERY, person_id="bob")
        )
    back = await friends.stub.UnmergePeople(
        faces_pb2.UnmergePeopleRequest(gallery_id=GALLERY, merge_id=merged.merge.merge_id)
    )
    assert [person.person_id for person in back.people] == ["alice", "bob"]
    after = await friends.people()
    for person in [*before, *after]:
        person.ClearField("update_time")
    assert after == before
    listed = faces_pb2.ListMergesRequest(gallery_id=GALLERY, include_undone=True)
    [entry] = (await friends.stub.ListMerges(listed)).merges
    assert entry.HasField("undo_time")


async def test_a_deleted_person_is_gone_for_good(friends: Friends) -> None:
    await friends.make(alice=ALICE, bob=BOB)
    gone = await friends.stub.DeletePerson(
        faces_pb2.DeletePersonRequest(gallery_id=GALLERY, person_id="alice")
    )
    assert gone.sample_count == 1
    [face] = await friends.recognise(one_disc(ALICE))
    assert face.decision == faces_pb2.FACE_DECISION_UNKNOWN and face.best.person_id == "bob"
    assert [s.person_id for s in await friends.samples()] == ["bob"]


async def test_a_cleared_gallery_stays(friends: Friends) -> None:
    await friends.make(alice=ALICE, bob=BOB)
    gone = await friends.stub.ClearGallery(faces_pb2.ClearGalleryRequest(gallery_id=GALLERY))
    assert (gone.person_count, gone.sample_count) == (2, 2)
    assert await friends.people() == []
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await friends.add("alice")
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS  # an id is never given twice
    await friends.add("alice-2")
    [outcome] = await friends.enrol("alice-2", sample(one_disc(ALICE)))
    assert outcome.HasField("accepted")
