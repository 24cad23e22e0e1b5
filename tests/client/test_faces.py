"""client.faces on a running faces service with galleries, ordinary and for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from kinemask import AsyncClient, Client, images
from kinemask.errors import InvalidArgumentError, NotFoundError
from kinemask.faces import FaceInPicture, PersonAction
from kinemask_chassis.server import RunningServer, running
from kinemask_faces.engines.registry import FaceModels
from kinemask_faces.service import FacesService
from kinemask_faces.settings import FacesSettings

from tests.faces.faces_kit import ALICE, BOB, DiscModel, drawn, one_disc
from tests.postgres_kit import Postgres, postgres
from tests.threaded_kit import InThread

__all__ = ["postgres"]

TWO = drawn((BOB, (60, 80), 30), (ALICE, (220, 120), 50))
BOX_OF_BOB = (25.0, 45.0, 95.0, 115.0)


@asynccontextmanager
async def disc_service(url: str) -> AsyncIterator[RunningServer]:
    settings = FacesSettings(port=0, faces_galleries="on", database_url=url)
    async with running(FacesService(settings, FaceModels({"discs": DiscModel()}))) as server:
        yield server


@pytest.fixture
def server(postgres: Postgres) -> Iterator[RunningServer]:
    with InThread(disc_service(postgres.new_database())) as server:
        yield server


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.address, jpeg_quality=None) as client:
        client.faces.create_gallery("friends", name="Friends", metadata={"shop": 1})
        yield client


def test_somebody_from_their_making_to_their_end(client: Client) -> None:
    action = PersonAction("link", "https://example.org/alice", "Her page")
    alice = client.faces.create_person(
        "friends", "Alice", person_id="alice", metadata={"age": 30}, action=action
    )
    assert (alice.name, alice.metadata, alice.action) == ("Alice", {"age": 30}, action)
    good, twice, empty = client.faces.enrol(
        "friends",
        "alice",
        [one_disc(ALICE), one_disc(ALICE), drawn()],
        sources=["a.png", "b.png", "c.png"],
    )
    assert good and good.sample is not None and good.sample.source == "a.png"
    assert not twice and twice.problem == "duplicate"
    assert twice.duplicate_sample_id == good.sample.sample_id
    assert empty.problem == "no face" and "expected" in empty.message
    [picture] = client.faces.recognise("friends", [TWO], include_metadata=True)
    known, unknown = picture.faces
    assert (known.name, known.decision, unknown.decision) == ("Alice", "known", "unknown")
    assert known.best is not None and known.best.metadata == {"age": 30}
    changed = client.faces.update_person("friends", "alice", name="Alice A.")
    assert changed.name == "Alice A." and changed.metadata == {"age": 30}
    assert [one.name for one in client.faces.people("friends")] == ["Alice A."]
    assert [one.crop_jpeg[:2] for one in client.faces.samples("friends", include_crops=True)] == [
        b"\xff\xd8"
    ]
    assert client.faces.delete_person("friends", "alice") == 1
    with pytest.raises(NotFoundError):
        client.faces.person("friends", "alice")


def test_faces_by_box_by_token_and_by_bytes(client: Client) -> None:
    client.faces.create_person("friends", "Bob", person_id="bob")
    [done] = client.faces.enrol("friends", "bob", [FaceInPicture(TWO, box=BOX_OF_BOB)])
    assert done
    [picture] = client.faces.recognise("friends", [images.encode_png(TWO)], include_tokens=True)
    _, bob = picture.faces
    assert bob.name == "Bob" and client.faces.verify(bob.face, one_disc(BOB)).same
    rejected = client.faces.reject("friends", "bob", bob.face)
    [again] = client.faces.recognise("friends", [one_disc(BOB)])
    assert again.faces[0].name == ""
    assert [one.rejection_id for one in client.faces.rejections("friends")] == [
        rejected.rejection_id
    ]
    client.faces.forget_rejection("friends", rejected.rejection_id)
    assert list(client.faces.rejections("friends")) == []
    with pytest.raises(ValueError, match="token"):
        client.faces.verify(client.faces.detect([TWO])[0].faces[0], one_disc(BOB))
    with pytest.raises(InvalidArgumentError, match="one face"):
        client.faces.verify(FaceInPicture(TWO, only=True), one_disc(BOB))


def test_galleries_and_merges(client: Client) -> None:
    for name, colour in (("alice", ALICE), ("bob", BOB)):
        client.faces.create_person("friends", name, person_id=name)
        client.faces.enrol("friends", name, [one_disc(colour)])
    merge = client.faces.merge("friends", "alice", ["bob"])
    assert client.faces.person("friends", "alice").merged_person_ids == ("bob",)
    assert [one.merge_id for one in client.faces.merges("friends")] == [merge.merge_id]
    back = client.faces.unmerge("friends", merge.merge_id)
    assert [person.person_id for person in back] == ["alice", "bob"]
    *_, last = client.faces.reembed("friends", "discs")
    assert last.done and last.done_count == last.total_count == 2
    gallery = client.faces.update_gallery("friends", name="All friends")
    assert (gallery.name, gallery.person_count, gallery.models[0].model) == (
        "All friends",
        2,
        "discs",
    )
    gone = client.faces.delete_gallery("friends", force=True)
    assert (gone.person_count, gone.sample_count) == (2, 2)
    assert list(client.faces.galleries()) == []


def test_more_pictures_than_one_call_takes(client: Client) -> None:
    client.faces.create_person("friends", "Many", person_id="many")
    pictures = [one_disc((220, 40 + number, 40), 30) for number in range(70)]
    done = client.faces.enrol("friends", "many", pictures, allow_duplicates=True)
    assert len(done) == 70 and all(done)
    assert len(list(client.faces.samples("friends"))) == 70


async def test_the_same_for_asyncio(postgres: Postgres) -> None:
    async with (
        disc_service(postgres.new_database()) as server,
        AsyncClient(server.address, jpeg_quality=None) as client,
    ):
        faces = client.faces
        await faces.create_gallery("friends")
        await faces.create_person("friends", "Alice", person_id="alice")
        [done] = await faces.enrol("friends", "alice", [one_disc(ALICE)])
        assert done
        [picture] = await faces.recognise("friends", [TWO])
        assert [face.name for face in picture.faces] == ["Alice", ""]
        assert (await faces.verify(one_disc(ALICE), one_disc(ALICE, 30))).same
        assert [person.name async for person in faces.people("friends")] == ["Alice"]
        steps = [step async for step in faces.reembed("friends", "discs")]
        assert steps[-1].done
        with pytest.raises(NotFoundError):
            [step async for step in faces.reembed("nowhere", "discs")]
        assert (await faces.clear_gallery("friends")).person_count == 1
