"""Galleries and people: made, changed, listed, deleted for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
from kinemask_chassis.database import Connection, Database
from kinemask_chassis.errors import ServiceError
from kinemask_faces.gallery import galleries, people, samples
from kinemask_faces.gallery.records import (
    GalleryChanges,
    NewGallery,
    NewPerson,
    PageQuery,
    PeopleFilter,
    PersonAction,
    PersonChanges,
    Removed,
)
from kinemask_faces.gallery.store import GalleryStore

from tests.faces.gallery_kit import (
    TOY,
    add_person,
    drop_person,
    enrol,
    face,
    make_gallery,
    rows,
    vector_rows,
    who,
)
from tests.postgres_kit import database, postgres

__all__ = ["database", "postgres"]

HARD_NAMES = [
    'O\'Brien "Bob"; DROP TABLE',
    "Ünïcödé 🦊",
    "🦊" * 200,
    "100%",
    "\\back",
    "a\u0001b",
]


@pytest.fixture
async def store(database: Database) -> AsyncIterator[GalleryStore]:
    made = GalleryStore(database)
    await made.open()
    yield made
    await made.close()


async def refused(
    store: GalleryStore, work: Callable[[Connection], Awaitable[object]]
) -> ServiceError:
    """What `work` is refused with."""
    with pytest.raises(ServiceError) as caught:
        await store.write(work)
    return caught.value


async def names_in(store: GalleryStore, query: PageQuery, wanted: PeopleFilter) -> list[str]:
    async with store.read() as connection:
        page = await people.page(connection, "office", wanted, query)
    return [person.display_name for person in page.entries]


async def test_a_gallery_is_as_it_was_made_and_changed(store: GalleryStore) -> None:
    new = NewGallery(TOY, "office", "The office", '{"floor": "\\u0000 3"}', "owner")
    made = await store.write(lambda connection: galleries.create(connection, new))
    assert (made.gallery_id, made.display_name, made.metadata_json, made.owner_id) == (
        *("office", "The office", '{"floor": "\\u0000 3"}', "owner"),
    )
    assert [model.key for model in made.models] == [TOY]
    changes = GalleryChanges(display_name="Office")
    changed = await store.write(lambda connection: galleries.update(connection, "office", changes))
    assert (changed.display_name, changed.metadata_json) == ("Office", made.metadata_json)
    assert changed.update_time > made.update_time


async def test_a_gallery_id_is_given_once(store: GalleryStore) -> None:
    await make_gallery(store)
    again = NewGallery(TOY, "office")
    assert (await refused(store, lambda c: galleries.create(c, again))).reason == "ALREADY_EXISTS"
    made = await store.write(lambda c: galleries.create(c, NewGallery(TOY)))
    assert made.gallery_id
    assert made.display_name == made.gallery_id


async def test_a_default_model_must_be_one_it_is_embedded_for(store: GalleryStore) -> None:
    await make_gallery(store)
    changes = GalleryChanges(default_model="other")
    error = await refused(store, lambda c: galleries.update(c, "office", changes))
    assert error.reason == "NOT_EMBEDDED"


@pytest.mark.parametrize("name", [pytest.param(name, id=name[:12]) for name in HARD_NAMES])
async def test_names_come_back_as_they_were_given(store: GalleryStore, name: str) -> None:
    await make_gallery(store)
    new = NewPerson(name, "x", f'{{"n": {len(name)}}}', PersonAction("link", name, name))
    made = await store.write(lambda c: people.create(c, "office", new))
    async with store.read() as connection:
        got = await people.get(connection, "office", "x")
    assert got == made
    assert (got.display_name, got.action) == (name, new.action)
    assert await names_in(store, PageQuery(), PeopleFilter(name.upper())) == [name]


async def test_a_name_with_a_zero_is_refused(store: GalleryStore) -> None:
    await make_gallery(store)
    error = await refused(store, lambda c: people.create(c, "office", NewPerson("a\0b")))
    assert "expected text without the character 0" in error.message


async def test_who_is_not_there_is_not_found(store: GalleryStore) -> None:
    async def get(gallery_id: str) -> str:
        error = await refused(store, lambda c: people.get(c, gallery_id, "nobody"))
        return error.message

    assert await get("office") == "there is no gallery office"
    await make_gallery(store)
    assert await get("office") == "there is no person nobody in gallery office"


async def test_changes_leave_the_rest_and_an_empty_action_removes_it(store: GalleryStore) -> None:
    await make_gallery(store)
    new = NewPerson("Ann", "ann", '{"a": 1}', PersonAction("link", "http://x", "X"))
    await store.write(lambda c: people.create(c, "office", new))

    async def change(changes: PersonChanges) -> tuple[str, str, PersonAction]:
        got = await store.write(lambda c: people.update(c, "office", "ann", changes))
        return got.display_name, got.metadata_json, got.action

    assert await change(PersonChanges(display_name="Anna")) == ("Anna", '{"a": 1}', new.action)
    assert await change(PersonChanges(metadata_json="{}")) == ("Anna", "{}", new.action)
    assert await change(PersonChanges(action=PersonAction())) == ("Anna", "{}", PersonAction())


async def test_pages_go_on_where_they_were_though_people_come_and_go(store: GalleryStore) -> None:
    await make_gallery(store, *"bdfhj")
    seen, token = [], ""
    for step in range(10):
        async with store.read() as connection:
            query = PageQuery(2, token)
            page = await people.page(connection, "office", PeopleFilter(), query)
        seen += [person.person_id for person in page.entries]
        token = page.next_token
        if not token:
            break
        # One that was shown goes, one comes before, and one at the very end.
        await drop_person(store, seen[-1])
        await add_person(store, NewPerson("A", f"a{step}"))
        if step == 0:
            await add_person(store, NewPerson("Z", "z"))
    assert seen == [*"bdfhj", "z"]


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("nonsense", id="not a token"),
        pytest.param("AAAAAAAAAAA5:x", id="of another question"),
        pytest.param("\0", id="a zero"),
    ],
)
async def test_a_strange_page_token_is_refused(store: GalleryStore, token: str) -> None:
    await make_gallery(store)
    query = PageQuery(2, token)
    error = await refused(store, lambda c: people.page(c, "office", PeopleFilter(), query))
    assert error.reason == "BAD_PAGE_TOKEN"


async def test_a_token_of_long_names_fits_where_tokens_are_limited(store: GalleryStore) -> None:
    await make_gallery(store)
    for number in range(2):
        await add_person(store, NewPerson("🦊" * 200, f"{number}" * 200))
    async with store.read() as connection:
        first = await people.page(connection, "office", PeopleFilter(), PageQuery(1))
        assert len(first.next_token) <= 1000
        query = PageQuery(1, first.next_token)
        second = await people.page(connection, "office", PeopleFilter(), query)
    assert [person.person_id[0] for person in first.entries + second.entries] == ["0", "1"]
    assert second.next_token == ""


async def test_deleting_somebody_leaves_nothing_of_them(store: GalleryStore) -> None:
    await make_gallery(store, "ann", "bob")
    await enrol(store, face("ann"), face("ann", seed=1), face("bob"))
    assert await who(store, "ann") == "ann"
    assert await drop_person(store, "ann") == Removed(1, 2)
    assert await rows(store, "samples") == await vector_rows(store) == 1
    assert await who(store, "ann") == "bob"
    error = await refused(store, lambda c: people.create(c, "office", NewPerson("Eve", "ann")))
    assert error.reason == "ID_RETIRED"
    assert await rows(store, "people") == 1


async def test_what_one_replica_deletes_no_other_finds(
    store: GalleryStore, database: Database
) -> None:
    other_database = Database(database.conninfo)
    await other_database.open()
    other = GalleryStore(other_database)
    try:
        await make_gallery(store, "ann")
        await enrol(store, face("ann"))
        assert await who(other, "ann") == "ann"
        await drop_person(store, "ann")
        assert await who(other, "ann") == ""
    finally:
        await other_database.close()


async def test_a_gallery_with_people_is_deleted_only_by_force(store: GalleryStore) -> None:
    await make_gallery(store)
    await enrol(store, face("ann"), face("bob"))
    error = await refused(store, lambda c: galleries.delete(c, "office", False))
    assert error.reason == "NOT_EMPTY"
    gone = await store.write(lambda c: galleries.delete(c, "office", True))
    assert gone == Removed(2, 2)
    tables = ("galleries", "spaces", "people", "samples", "retired_people")
    assert [await rows(store, table) for table in tables] == [0] * 5
    assert await vector_rows(store) == 0
    with pytest.raises(ServiceError, match="there is no gallery office"):
        await who(store, "ann")
    await store.upkeep.once()  # now the empty table goes too
    await make_gallery(store, "ann")
    assert await who(store, "ann") == ""


async def test_clearing_keeps_the_gallery(store: GalleryStore) -> None:
    await make_gallery(store, "ann")
    await enrol(store, face("ann"))
    await add_person(store, NewPerson("Stranger 1", "s1"), stranger=True)
    await enrol(store, face("s1"))
    strangers = await store.write(lambda c: galleries.clear(c, "office", True))
    assert strangers == Removed(1, 1)
    assert await who(store, "ann") == "ann"
    assert await store.write(lambda c: galleries.clear(c, "office", False)) == Removed(1, 1)
    async with store.read() as connection:
        left = await galleries.get(connection, "office")
    assert (left.person_count, left.sample_count, left.models[0].sample_count) == (0, 0, 0)


async def test_a_stranger_with_a_name_is_one_no_more(store: GalleryStore) -> None:
    await make_gallery(store)
    await add_person(store, NewPerson("Stranger 1", "s1"), stranger=True)
    assert await names_in(store, PageQuery(), PeopleFilter(stranger=True)) == ["Stranger 1"]
    changes = PersonChanges(display_name="Sue")
    assert not (await store.write(lambda c: people.update(c, "office", "s1", changes))).stranger
    assert await names_in(store, PageQuery(), PeopleFilter(stranger=True)) == []


async def test_galleries_are_listed_by_owner(store: GalleryStore) -> None:
    for number, owner in enumerate(["a", "b", "a", "a"]):
        new = NewGallery(TOY, f"g{number}", owner_id=owner)
        await store.write(partial(galleries.create, new=new))
    async with store.read() as connection:
        first = await galleries.page(connection, "a", PageQuery(2))
        second = await galleries.page(connection, "a", PageQuery(2, first.next_token))
    listed = [gallery.gallery_id for gallery in first.entries + second.entries]
    assert listed == ["g0", "g2", "g3"]


async def test_deletions_and_enrolments_at_once_leave_no_vector_behind(
    store: GalleryStore,
) -> None:
    await make_gallery(store)

    async def enrol_some(name: str) -> None:
        for seed in range(6):
            await store.write(
                partial(samples.enrol, gallery_id="office", new=[face(name, seed=seed)])
            )

    for round_number in range(4):
        name = f"person{round_number}"
        await add_person(store, NewPerson("X", name))
        await asyncio.gather(
            enrol_some(name),
            drop_person(store, name),
            store.write(lambda c: galleries.clear(c, "office", True)),
        )
    assert await rows(store, "samples") == await vector_rows(store) == 0
