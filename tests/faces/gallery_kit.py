"""A gallery store on an empty database, and faces that need no pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import many
from kinemask_faces.crops import FaceCrop
from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.gallery import galleries, people, samples
from kinemask_faces.gallery.records import (
    Done,
    ModelKey,
    NewGallery,
    NewPerson,
    NewSample,
    Removed,
    RequestKey,
    Sample,
)
from kinemask_faces.gallery.store import GalleryStore
from kinemask_faces.quality import FaceQuality
from kinemask_faces.runner import Vector

TOY = ModelKey("toy", "r1", 16)
OTHER = ModelKey("other", "r1", 24)
VERY_LIKE = 0.95
MARKS = np.array([[40, 50], [80, 50], [60, 70], [45, 90], [75, 90]], np.float32)


def vector(name: str, model: ModelKey = TOY, noise: float = 0.0, seed: int = 0) -> Vector:
    """The unit vector of a name; `noise` is the length of what is added to it, by the seed."""
    made = _unit(f"{name} {model.name}", model.dimensions)
    return _normed(made + noise * _unit(f"{name} {model.name} {seed}", model.dimensions))


def face(
    person_id: str,
    *,
    looks_like: str = "",
    noise: float = 0.1,
    seed: int = 0,
    score: float = 0.8,
    models: Sequence[ModelKey] = (TOY,),
    allow_duplicate: bool = False,
    source: str = "",
) -> NewSample:
    """A face of somebody; another seed is another picture of them."""
    name = looks_like or person_id
    digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
    return NewSample(
        person_id,
        DetectedFace((10.0, 20.0, 110.0, 140.0), 0.9, MARKS),
        FaceQuality(score, 100.0, 0.7, 1.0, 2.0, 3.0, 1.0, None),
        FaceCrop(f"jpeg of {name} {seed}".encode(), MARKS),
        {model.name: vector(name, model, noise, seed) for model in models},
        int.from_bytes(digest[:8], "big"),
        source,
        allow_duplicate=allow_duplicate,
    )


async def make_gallery(store: GalleryStore, *names: str, gallery_id: str = "office") -> None:
    """A gallery of the toy model with people of these ids, who have no samples."""

    async def work(connection: Connection) -> None:
        await galleries.create(connection, NewGallery(TOY, gallery_id))
        for name in names:
            await people.create(connection, gallery_id, NewPerson(name.title(), name))

    await store.write(work)


async def add_person(store: GalleryStore, new: NewPerson, *, stranger: bool = False) -> None:
    """Somebody more in the office."""
    await store.write(lambda c: people.create(c, "office", new, stranger=stranger))


async def drop_person(store: GalleryStore, person_id: str) -> Removed:
    """Somebody less."""
    return await store.write(lambda c: people.delete(c, "office", person_id))


async def enrol(store: GalleryStore, *faces: NewSample, gallery_id: str = "office") -> list[Sample]:
    """Keep faces, all of which must be accepted."""
    outcomes = await store.write(
        lambda connection: samples.enrol(connection, gallery_id, faces, create_people=True)
    )
    kept = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
    assert len(kept) == len(faces), outcomes
    return kept


async def who(store: GalleryStore, looks_like: str, *, seed: int = 99, noise: float = 0.1) -> str:
    """The best match of a face, or an empty text."""
    probe = vector(looks_like, TOY, noise, seed)
    [found] = await store.search("office", TOY, [probe], very_like=VERY_LIKE)
    return found[0].person_id if found else ""


async def rows(store: GalleryStore, table: str) -> int:
    """How many a table of the schema has."""
    async with store.read() as connection:
        name = f"SELECT count(*) AS n FROM faces.{table}"
        return int((await many(connection, name))[0]["n"])


async def vector_rows(store: GalleryStore) -> int:
    """Vectors in all spaces' tables, forgotten ones too."""
    async with store.read() as connection:
        tables = await many(
            connection,
            "SELECT tablename FROM pg_tables WHERE schemaname = 'faces' "
            "AND tablename LIKE 'vectors%%'",
            {},
        )
    return sum([await rows(store, row["tablename"]) for row in tables])


def key(request_id: str, content: str = "same", method: str = "Test") -> RequestKey:
    """A request."""
    return RequestKey(method, request_id, hashlib.sha256(content.encode()).digest())


def answer(text: str, *person_ids: str) -> Done:
    """An answer that tells of people of the office."""
    return Done(text.encode(), "office", person_ids)


def _unit(name: str, dimensions: int) -> Vector:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return _normed(np.random.default_rng(seed).normal(size=dimensions).astype(np.float32))


def _normed(made: Vector) -> Vector:
    return np.asarray(made / np.linalg.norm(made), np.float32)
