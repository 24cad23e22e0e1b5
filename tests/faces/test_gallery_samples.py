"""Samples: kept as they were, duplicates refused, all found by a search, deleted for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import numpy as np
import pytest
from kinemask_chassis.database import Connection, Database
from kinemask_chassis.errors import ServiceError
from kinemask_faces.gallery import rejections, samples
from kinemask_faces.gallery.records import Duplicate, NewRejection, PageQuery, Sample
from kinemask_faces.gallery.samples import ModelsChangedError
from kinemask_faces.gallery.store import GalleryStore

from tests.faces.gallery_kit import (
    MARKS,
    OTHER,
    TOY,
    VERY_LIKE,
    enrol,
    face,
    make_gallery,
    rows,
    vector,
    vector_rows,
    who,
)
from tests.postgres_kit import database, postgres

__all__ = ["database", "postgres"]


@pytest.fixture
async def store(database: Database) -> AsyncIterator[GalleryStore]:
    made = GalleryStore(database)
    await made.open()
    await make_gallery(made, "ann", "bob")
    yield made
    await made.close()


async def test_a_sample_comes_back_as_it_was_given(store: GalleryStore) -> None:
    given = face("ann", source="holiday.jpg")
    [kept] = await enrol(store, given)
    async with store.read() as connection:
        page = await samples.page(connection, "office", "ann", PageQuery(), True)
        plain = await samples.page(connection, "office", "", PageQuery(), False)
    [listed] = page.entries
    assert (listed.sample_id, listed.person_id, listed.source) == (
        *(kept.sample_id, "ann", "holiday.jpg"),
    )
    assert (listed.face.box_xyxy, listed.face.score) == (given.face.box_xyxy, 0.9)
    np.testing.assert_array_equal(listed.face.landmarks_xy, MARKS)
    assert listed.quality == given.quality
    assert listed.crop_jpeg == given.crop.jpeg
    assert plain.entries[0].crop_jpeg == b""


async def test_the_same_picture_of_a_person_is_a_duplicate(store: GalleryStore) -> None:
    [kept] = await enrol(store, face("ann"))
    other_person, again, allowed, other_picture = await store.write(
        lambda c: samples.enrol(
            c,
            "office",
            [
                face("bob", looks_like="ann"),
                face("ann"),
                face("ann", allow_duplicate=True),
                face("ann", seed=1),
            ],
        )
    )
    assert isinstance(again, Duplicate)
    assert (again.sample_id, round(again.similarity, 3)) == (kept.sample_id, 1.0)
    assert [type(one) for one in (other_person, allowed, other_picture)] == [Sample] * 3


async def test_a_duplicate_within_one_call_is_refused_too(store: GalleryStore) -> None:
    first, second = await store.write(
        lambda c: samples.enrol(c, "office", [face("ann"), face("ann")])
    )
    assert isinstance(first, Sample)
    assert isinstance(second, Duplicate)
    assert second.sample_id == first.sample_id


async def test_two_replicas_that_get_the_same_picture_keep_it_once(store: GalleryStore) -> None:
    outcomes = await asyncio.gather(
        *(
            store.write(lambda c: samples.enrol(c, "office", [face("ann"), face("bob")]))
            for _ in range(8)
        )
    )
    kept = [one for outcome in outcomes for one in outcome if isinstance(one, Sample)]
    assert len(kept) == await rows(store, "samples") == await vector_rows(store) == 2


async def test_people_who_are_not_there_are_refused_or_made(store: GalleryStore) -> None:
    new = [face("ann"), face("zoe"), face("yan")]
    first, second, third = await store.write(lambda c: samples.enrol(c, "office", new))
    assert isinstance(first, Sample)
    assert isinstance(second, ServiceError)
    assert isinstance(third, ServiceError)
    assert second.message == "there is no person zoe in gallery office"
    made = await store.write(
        lambda c: samples.enrol(c, "office", [face("zoe")], create_people=True)
    )
    assert isinstance(made[0], Sample)
    assert await who(store, "zoe") == "zoe"


async def test_calls_that_make_the_same_people_do_not_stop_each_other(store: GalleryStore) -> None:
    names = [f"new{number}" for number in range(6)]

    async def one(number: int) -> list[Sample]:
        turned = names[number:] + names[:number]
        return await enrol(store, *(face(name, seed=number) for name in turned))

    await asyncio.gather(*(one(number) for number in range(6)))
    assert await rows(store, "samples") == 36
    assert await rows(store, "people") == 8


async def test_a_face_without_a_vector_of_every_model_is_sent_back(store: GalleryStore) -> None:
    with pytest.raises(ModelsChangedError, match="toy"):
        await store.write(
            lambda c: samples.enrol(c, "office", [face("ann"), face("bob", models=[OTHER])])
        )
    assert await rows(store, "samples") == 0


async def test_every_sample_counts_and_people_are_named_once(store: GalleryStore) -> None:
    await enrol(store, *(face("ann", seed=seed, noise=0.5) for seed in range(5)), face("bob"))
    await enrol(store, face("ann", looks_like="ann with a beard"))
    probes = [vector("ann"), vector("ann with a beard"), vector("bob")]
    found = await store.search("office", TOY, probes, very_like=VERY_LIKE, count=5)
    assert [[match.person_id for match in matches] for matches in found] == [
        ["ann", "bob"],
        ["ann", "bob"],
        ["bob", "ann"],
    ]
    assert found[1][0].similarity == pytest.approx(
        float(vector("ann with a beard", noise=0.1) @ vector("ann with a beard")), abs=2e-3
    )


async def test_the_runner_up_is_found_behind_a_crowd_of_one_person(store: GalleryStore) -> None:
    await enrol(store, *(face("ann", seed=seed) for seed in range(60)), face("bob"))
    [found] = await store.search("office", TOY, [vector("ann")], very_like=VERY_LIKE)
    assert [match.person_id for match in found] == ["ann", "bob"]


async def test_a_search_of_a_model_it_is_not_embedded_for_is_refused(store: GalleryStore) -> None:
    with pytest.raises(ServiceError, match="not embedded for other") as caught:
        await store.search("office", OTHER, [vector("ann", OTHER)], very_like=VERY_LIKE)
    assert caught.value.reason == "NOT_EMBEDDED"


async def test_samples_are_deleted_all_or_none(store: GalleryStore) -> None:
    first, second = await enrol(store, face("ann"), face("ann", seed=1))
    with pytest.raises(ServiceError, match="there are no samples nothing") as caught:
        await store.write(lambda c: samples.delete(c, "office", [first.sample_id, "nothing"]))
    assert caught.value.metadata == {"sample_ids": "nothing"}
    assert await rows(store, "samples") == 2
    ids = [first.sample_id, second.sample_id, first.sample_id]
    assert await store.write(lambda c: samples.delete(c, "office", ids)) == 2
    assert await rows(store, "samples") == await vector_rows(store) == 0
    assert await who(store, "ann") == ""


async def test_pages_of_samples_are_oldest_first(store: GalleryStore) -> None:
    kept = await enrol(store, *(face("ann", seed=seed) for seed in range(5)))
    await enrol(store, face("bob"))
    ids, token = [], ""
    for _ in range(3):
        async with store.read() as connection:
            query = PageQuery(2, token)
            page = await samples.page(connection, "office", "ann", query, False)
        ids += [sample.sample_id for sample in page.entries]
        token = page.next_token
    assert ids == [sample.sample_id for sample in kept]
    assert token == ""


async def reject(store: GalleryStore, person_id: str, looks_like: str, seed: int = 0) -> str:
    new = face(person_id, looks_like=looks_like, seed=seed)
    made = await store.write(
        lambda c: rejections.add(c, "office", NewRejection(person_id, new.crop, new.vectors))
    )
    return made.rejection_id


async def test_a_rejected_face_and_faces_like_it_match_that_person_no_more(
    store: GalleryStore,
) -> None:
    await enrol(store, face("ann"), face("bob", looks_like="somebody else"))
    twin = vector("ann", noise=0.6, seed=5)
    near_twin = np.asarray(twin + 0.1 * vector("x"), np.float32)
    near_twin /= np.linalg.norm(near_twin)

    async def names() -> list[str]:
        found = await store.search(
            "office", TOY, [twin, near_twin, vector("ann", noise=0.1)], very_like=VERY_LIKE
        )
        return [matches[0].person_id for matches in found]

    assert await names() == ["ann", "ann", "ann"]
    new = NewRejection("ann", face("ann", seed=5).crop, {TOY.name: twin})
    made = await store.write(lambda c: rejections.add(c, "office", new))
    # Who is really Ann stays Ann: her own sample is nearer than the rejected face.
    assert await names() == ["bob", "bob", "ann"]
    await store.write(lambda c: rejections.delete(c, "office", made.rejection_id))
    assert await names() == ["ann", "ann", "ann"]


async def test_a_rejected_sample_leaves_its_person_and_is_remembered(store: GalleryStore) -> None:
    mistaken, right = await enrol(store, face("ann", looks_like="bob"), face("ann"))
    await enrol(store, face("bob", seed=3))

    async def work(connection: Connection) -> None:
        await rejections.add_for_sample(connection, "office", "ann", mistaken.sample_id)

    await store.write(work)
    assert await who(store, "bob", seed=0) == "bob"
    async with store.read() as connection:
        left = await samples.page(connection, "office", "ann", PageQuery(), False)
        [kept] = (await rejections.page(connection, "office", "ann", PageQuery(), True)).entries
    assert [sample.sample_id for sample in left.entries] == [right.sample_id]
    assert kept.crop_jpeg == face("ann", looks_like="bob").crop.jpeg
    # Put back, it is still not Ann.
    await enrol(store, face("ann", looks_like="bob"))
    assert await who(store, "bob", seed=0) == "bob"


async def test_rejections_are_listed_newest_first_and_forgotten(store: GalleryStore) -> None:
    made = [await reject(store, name, "x", seed) for seed, name in enumerate(["ann", "bob", "ann"])]
    async with store.read() as connection:
        everything = await rejections.page(connection, "office", "", PageQuery(2), False)
        rest = PageQuery(2, everything.next_token)
        everything.entries.extend(
            (await rejections.page(connection, "office", "", rest, False)).entries
        )
        of_ann = await rejections.page(connection, "office", "ann", PageQuery(), False)
    assert [one.rejection_id for one in everything.entries] == made[::-1]
    assert [one.rejection_id for one in of_ann.entries] == [made[2], made[0]]
    delete = partial(rejections.delete, gallery_id="office", rejection_id=made[0])
    await store.write(delete)
    with pytest.raises(ServiceError, match="there is no rejection"):
        await store.write(delete)
    assert await rows(store, "rejection_vectors") == 2
