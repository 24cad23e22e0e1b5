"""Merges and their undoing, strangers, requests that come twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from kinemask_chassis.database import Connection, Database
from kinemask_chassis.database.sql import many
from kinemask_chassis.errors import ServiceError
from kinemask_faces.gallery import answers, galleries, merges, people, rejections, samples
from kinemask_faces.gallery.records import (
    Done,
    Merge,
    NewPerson,
    NewRejection,
    NewSample,
    PageQuery,
    PersonAction,
    PersonChanges,
    StrangerOutcome,
    StrangerRules,
)
from kinemask_faces.gallery.store import GalleryStore

from tests.faces.gallery_kit import (
    TOY,
    VERY_LIKE,
    add_person,
    answer,
    drop_person,
    enrol,
    face,
    key,
    make_gallery,
    rows,
    vector_rows,
    who,
)
from tests.postgres_kit import database, postgres

__all__ = ["database", "postgres"]

RULES = StrangerRules(match_threshold=0.8, new_below=0.6, max_samples=3)


@pytest.fixture
async def store(database: Database) -> AsyncIterator[GalleryStore]:
    made = GalleryStore(database)
    await made.open()
    await make_gallery(made, "ann", "bob", "cid", "dan")
    yield made
    await made.close()


async def merge(store: GalleryStore, person_id: str, *others: str) -> Merge:
    _, made = await store.write(lambda c: merges.merge(c, "office", person_id, others))
    return made


async def unmerge(store: GalleryStore, made: Merge) -> list[str]:
    back = await store.write(lambda c: merges.unmerge(c, "office", made.merge_id))
    return [person.person_id for person in back]


async def refusal(store: GalleryStore, made: Merge) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await unmerge(store, made)
    return caught.value


async def everything(store: GalleryStore) -> list[object]:
    """All that a client can see of people, but for when they changed last."""
    async with store.read() as connection:
        found = await many(
            connection,
            "SELECT p.person_id, p.display_name, p.metadata, p.action_target, p.stranger, "
            "p.root_key, ARRAY(SELECT sample_id FROM faces.samples s "
            "WHERE s.person_key = p.person_key ORDER BY 1), ARRAY(SELECT rejection_id "
            "FROM faces.rejections r WHERE r.person_key = p.person_key ORDER BY 1) "
            "FROM faces.people p ORDER BY p.person_id",
        )
    return [tuple(row.values()) for row in found]


async def test_merged_people_are_one(store: GalleryStore) -> None:
    await enrol(store, face("ann"), face("bob"), face("bob", seed=1))
    made = await merge(store, "ann", "bob", "cid")
    assert (made.person_id, made.merged_person_ids) == ("ann", ("bob", "cid"))
    assert await who(store, "bob") == "ann"
    async with store.read() as connection:
        ann = await people.get(connection, "office", "ann")
        listed = await samples.page(connection, "office", "ann", PageQuery(), False)
        count = (await galleries.get(connection, "office")).person_count
    assert (ann.display_name, ann.sample_count, ann.merged_person_ids) == ("Ann", 3, ("bob", "cid"))
    assert {sample.person_id for sample in listed.entries} == {"ann"}
    assert count == 2


async def test_a_merged_id_leads_to_who_stayed(store: GalleryStore) -> None:
    await merge(store, "ann", "bob")
    await merge(store, "cid", "ann")
    async with store.read() as connection:
        with pytest.raises(ServiceError) as caught:
            await people.get(connection, "office", "bob")
    assert (caught.value.reason, caught.value.metadata["merged_into"]) == ("MERGED", "cid")
    outcome = await store.write(lambda c: samples.enrol(c, "office", [face("bob")]))
    assert isinstance(outcome[0], ServiceError)
    assert outcome[0].metadata["merged_into"] == "cid"


async def test_an_unmerge_restores_the_exact_state(store: GalleryStore) -> None:
    new = NewPerson("Bo", "bo", '{"k": 1}', PersonAction("link", "http://bo", ""))
    await add_person(store, new, stranger=True)
    await enrol(store, face("ann"), face("bo"), face("cid"))
    seen = face("bo", seed=7)
    rejection = NewRejection("bo", seen.crop, seen.vectors)
    await store.write(lambda c: rejections.add(c, "office", rejection))
    before = await everything(store)
    inner = await merge(store, "bo", "cid")
    between = await everything(store)
    outer = await merge(store, "ann", "bo")
    changes = PersonChanges("Annabel", "[]", PersonAction("x", "y", "z"))
    await store.write(lambda c: people.update(c, "office", "ann", changes))
    error = await refusal(store, inner)
    assert (error.reason, error.metadata["merge_id"]) == ("LATER_MERGE", outer.merge_id)
    assert await unmerge(store, outer) == ["ann", "bo"]
    assert await everything(store) == between
    assert await unmerge(store, inner) == ["bo", "cid"]
    assert await everything(store) == before
    assert (await refusal(store, inner)).reason == "ALREADY_UNDONE"


async def test_what_was_added_since_stays_with_who_stayed(store: GalleryStore) -> None:
    made = await merge(store, "ann", "bob")
    await enrol(store, face("ann", looks_like="new"))
    await unmerge(store, made)
    assert await who(store, "new") == "ann"


async def test_merges_of_one_person_are_undone_last_first(store: GalleryStore) -> None:
    first, second = await merge(store, "ann", "bob"), await merge(store, "ann", "cid")
    assert (await refusal(store, first)).reason == "LATER_MERGE"
    await unmerge(store, second)
    await unmerge(store, first)
    async with store.read() as connection:
        holding = await merges.page(connection, "office", False, PageQuery())
        undone = await merges.page(connection, "office", True, PageQuery())
    assert holding.entries == []
    assert [one.merge_id for one in undone.entries] == [second.merge_id, first.merge_id]


async def test_nobody_is_merged_with_themselves(store: GalleryStore) -> None:
    for others in (["ann"], ["bob", "bob"], []):
        with pytest.raises(ServiceError, match="expected other people than ann"):
            await merge(store, "ann", *others)
    with pytest.raises(ServiceError, match="there is no person zoe"):
        await merge(store, "ann", "zoe")


async def test_deleting_who_stayed_deletes_the_merged_too(store: GalleryStore) -> None:
    await enrol(store, face("ann"), face("bob"), face("cid"))
    made = await merge(store, "ann", "bob")
    await drop_person(store, "ann")
    assert await rows(store, "samples") == await vector_rows(store) == 1
    assert (await refusal(store, made)).reason == "PERSON_DELETED"
    async with store.read() as connection:
        assert (await merges.page(connection, "office", True, PageQuery())).entries == []
        left = await many(connection, "SELECT display_name, merged_keys FROM faces.merges")
    assert left == [{"display_name": "", "merged_keys": []}]


async def test_merges_against_each_other_end_with_one_root(store: GalleryStore) -> None:
    outcomes = await asyncio.gather(
        merge(store, "ann", "bob"),
        merge(store, "bob", "cid"),
        merge(store, "cid", "ann"),
        return_exceptions=True,
    )
    assert any(isinstance(one, Merge) for one in outcomes)
    async with store.read() as connection:
        found = await many(
            connection,
            "SELECT 1 FROM faces.people p JOIN faces.people r ON r.person_key = p.root_key "
            "WHERE r.root_key <> r.person_key",
        )
    assert found == []


async def settle(store: GalleryStore, new: NewSample) -> StrangerOutcome:
    return await store.settle_stranger("office", TOY, new, RULES, very_like=VERY_LIKE)


async def test_the_same_stranger_gets_the_same_id_and_two_get_two(store: GalleryStore) -> None:
    first = await settle(store, face("", looks_like="x"))
    again = await settle(store, face("", looks_like="x", seed=1))
    other = await settle(store, face("", looks_like="y"))
    assert [one.made for one in (first, again, other)] == [True, False, True]
    assert first.matches[0].person_id == again.matches[0].person_id
    assert other.matches[0].person_id != first.matches[0].person_id
    names = [one.matches[0].display_name for one in (first, other)]
    assert names == ["Stranger 1", "Stranger 2"]
    assert other.matches[1].person_id == first.matches[0].person_id
    assert again.sample_id


async def test_many_replicas_that_see_a_new_stranger_make_one(store: GalleryStore) -> None:
    outcomes = await asyncio.gather(
        *(settle(store, face("", looks_like=name, seed=seed)) for seed in range(6) for name in "xy")
    )
    assert sum(outcome.made for outcome in outcomes) == 2
    assert len({outcome.matches[0].person_id for outcome in outcomes}) == 2


async def test_between_known_and_new_nobody_is_made(store: GalleryStore) -> None:
    await enrol(store, face("ann", noise=0.0))
    unsure = await settle(store, face("", looks_like="ann", noise=1.0))
    assert 0.6 < unsure.matches[0].similarity < 0.8
    known = await settle(store, face("", looks_like="ann"))
    assert (unsure.made, unsure.sample_id, known.made, known.sample_id) == (False, "", False, "")
    assert await rows(store, "samples") == 1


async def test_the_best_samples_of_a_stranger_are_kept(store: GalleryStore) -> None:
    for seed, score in enumerate([0.5, 0.3, 0.6, 0.2, 0.9]):
        await settle(store, face("", looks_like="x", seed=seed, score=score))
    async with store.read() as connection:
        page = await samples.page(connection, "office", "", PageQuery(), False)
    assert sorted(sample.quality.score for sample in page.entries) == [0.5, 0.6, 0.9]
    assert await vector_rows(store) == 3


async def test_a_rejected_stranger_is_somebody_else(store: GalleryStore) -> None:
    first = await settle(store, face("", looks_like="x"))
    stranger, seen = first.matches[0].person_id, face("", looks_like="x", seed=1, noise=0.4)
    rejection = NewRejection(stranger, seen.crop, seen.vectors)
    await store.write(lambda c: rejections.add(c, "office", rejection))
    second = await settle(store, seen)
    assert second.made
    assert second.matches[0].person_id != stranger


async def made_once(store: GalleryStore, request_id: str, content: str = "same") -> str:
    async def work(connection: Connection) -> Done:
        made = await people.create(connection, "office", NewPerson("New"))
        return answer(made.person_id, made.person_id)

    return (await store.once(key(request_id, content), work)).decode()


async def test_a_request_that_comes_twice_is_done_once(store: GalleryStore) -> None:
    answered = await asyncio.gather(*(made_once(store, "r1") for _ in range(5)))
    assert len(set(answered)) == 1
    assert await store.recall(key("r1")) == answered[0].encode()
    assert await store.recall(key("r2")) is None
    assert await made_once(store, "r2") != answered[0]
    assert await made_once(store, "") != await made_once(store, "")
    with pytest.raises(ServiceError) as caught:
        await made_once(store, "r1", "other content")
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_answers_that_tell_of_the_deleted_go_with_them(store: GalleryStore) -> None:
    made = await made_once(store, "r1")
    await drop_person(store, made)
    with pytest.raises(ServiceError) as caught:
        await made_once(store, "r1")
    assert caught.value.reason == "DELETED_SINCE"
    async with store.read() as connection:
        assert await many(connection, "SELECT answer FROM faces.answers") == [{"answer": None}]


async def test_an_answer_about_somebody_who_went_meanwhile_is_not_kept(
    store: GalleryStore,
) -> None:
    async def work(connection: Connection) -> Done:
        await drop_person(store, "bob")  # by somebody else
        return answer("tells of bob", "ann", "bob")

    assert await store.once(key("r1"), work) == b"tells of bob"
    with pytest.raises(ServiceError, match="was deleted since"):
        await store.recall(key("r1"))


async def test_answers_are_kept_for_a_day(store: GalleryStore) -> None:
    made = await made_once(store, "r1")

    async def age(connection: Connection) -> None:
        await connection.execute("UPDATE faces.answers SET since = since - interval '25 hours'")

    await store.write(age)
    assert await made_once(store, "r1") != made
    await store.write(age)
    await store.write(answers.forget_old)
    assert await rows(store, "answers") == await rows(store, "answer_subjects") == 0


async def test_secrets_are_the_same_for_everybody(store: GalleryStore) -> None:
    found = await asyncio.gather(*(store.secret("tokens") for _ in range(4)))
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert await store.secret("another") != found[0]
