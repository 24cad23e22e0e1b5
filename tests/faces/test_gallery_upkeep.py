"""Embedding a gallery for another model, and what is done in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from kinemask_chassis.database import Connection, Database
from kinemask_chassis.database.sql import many
from kinemask_chassis.errors import ServiceError
from kinemask_faces.crops import FaceCrop
from kinemask_faces.gallery import galleries, people, rejections, samples, spaces
from kinemask_faces.gallery.metrics import RecallCounters
from kinemask_faces.gallery.records import (
    Gallery,
    ModelKey,
    NewRejection,
    ReembedProgress,
    SearchMethod,
)
from kinemask_faces.gallery.samples import ModelsChangedError
from kinemask_faces.gallery.spaces import Space
from kinemask_faces.gallery.store import GalleryStore
from kinemask_faces.gallery.upkeep import UpkeepOptions
from kinemask_faces.runner import Vector
from prometheus_client import CollectorRegistry

from tests.faces.gallery_kit import (
    OTHER,
    TOY,
    VERY_LIKE,
    drop_person,
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

NEWER = ModelKey(TOY.name, "r2", TOY.dimensions)


class Counted:
    """A `SearchObserver`."""

    def __init__(self) -> None:
        self.hits, self.faces = 0, 0
        self.told = asyncio.Event()

    def recall_sampled(self, hits: int, faces: int) -> None:
        self.hits += hits
        self.faces += faces
        self.told.set()


@pytest.fixture
async def counted() -> Counted:
    return Counted()


@pytest.fixture
async def store(database: Database, counted: Counted) -> AsyncIterator[GalleryStore]:
    options = UpkeepOptions(every_s=3600.0, index_from_samples=40, recall_share=1.0)
    made = GalleryStore(database, options, counted)
    await made.open()
    await make_gallery(made)
    yield made
    await made.close()


class OtherModel:
    """Embeds crops for the model `other`; crops say whose they are."""

    def __init__(self, model: ModelKey = OTHER, cannot: str = "") -> None:
        self.model, self.cannot = model, cannot
        self.calls: list[int] = []
        self.called = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def embed(self, crops: Sequence[FaceCrop]) -> list[Vector | None]:
        self.calls.append(len(crops))
        self.called.set()
        await self.may_go_on.wait()
        names = [crop.jpeg.decode().split()[2] for crop in crops]
        return [None if name == self.cannot else vector(name, self.model) for name in names]


async def run(store: GalleryStore, model: OtherModel) -> list[ReembedProgress]:
    return [progress async for progress in store.reembed("office", model.model, model.embed)]


async def gallery(store: GalleryStore) -> Gallery:
    async with store.read() as connection:
        return await galleries.get(connection, "office")


async def who_by(store: GalleryStore, looks_like: str, model: ModelKey) -> str:
    probe = vector(looks_like, model)
    [found] = await store.search("office", model, [probe], very_like=VERY_LIKE)
    return found[0].person_id if found else ""


async def people_in_plenty(store: GalleryStore, count: int) -> list[str]:
    names = [f"p{number}" for number in range(count)]
    await enrol(store, *(face(name) for name in names))
    return names


async def test_a_gallery_is_embedded_for_another_model(store: GalleryStore) -> None:
    names = await people_in_plenty(store, 70)
    model = OtherModel()
    progress = await run(store, model)
    assert [step.done_count for step in progress] == [0, 32, 64, 70, 70]
    assert {step.total_count for step in progress} == {70}
    assert [await who_by(store, name, OTHER) for name in names[::23]] == names[::23]
    assert await who(store, names[5]) == names[5]  # by the first model as before
    assert [one.sample_count for one in (await gallery(store)).models] == [70, 70]
    # There is nothing left to do.
    assert [step.done_count for step in await run(store, model)] == [70, 70]
    assert model.calls == [32, 32, 6]


async def test_it_goes_on_where_it_was_cut_short(store: GalleryStore) -> None:
    names = await people_in_plenty(store, 70)
    steps = store.reembed("office", OTHER, OtherModel().embed)
    async with contextlib.aclosing(steps):
        assert (await anext(steps)).done_count == 0
        assert (await anext(steps)).done_count == 32
    with pytest.raises(ServiceError) as caught:
        await who_by(store, names[0], OTHER)
    assert caught.value.reason == "NOT_EMBEDDED"
    second = OtherModel()
    await run(store, second)
    assert second.calls == [32, 6]
    assert await who_by(store, names[69], OTHER) == names[69]


async def test_one_call_embeds_a_gallery_at_a_time(store: GalleryStore) -> None:
    await people_in_plenty(store, 3)
    slow = OtherModel()
    slow.may_go_on.clear()
    running = asyncio.create_task(run(store, slow))
    await slow.called.wait()
    with pytest.raises(ServiceError) as caught:
        await run(store, OtherModel())
    assert caught.value.reason == "REEMBEDDING"
    assert caught.value.retry_after_s
    slow.may_go_on.set()
    assert (await running)[-1].done_count == 3


async def test_what_comes_and_goes_meanwhile_is_right_at_the_end(store: GalleryStore) -> None:
    await people_in_plenty(store, 5)
    slow = OtherModel()
    slow.may_go_on.clear()
    running = asyncio.create_task(run(store, slow))
    await slow.called.wait()
    await drop_person(store, "p3")
    with pytest.raises(ModelsChangedError, match="needs vectors of other"):
        await enrol(store, face("late"))
    await enrol(store, face("late", models=[TOY, OTHER]))
    slow.may_go_on.set()
    await running
    assert [one.sample_count for one in (await gallery(store)).models] == [5, 5]
    assert await vector_rows(store) == 10
    assert await who_by(store, "late", OTHER) == "late"


async def test_crops_that_cannot_be_embedded_are_counted(store: GalleryStore) -> None:
    await people_in_plenty(store, 4)
    progress = await run(store, OtherModel(cannot="p2"))
    assert (progress[-1].done_count, progress[-1].failed_count) == (3, 1)
    assert await who(store, "p2") == "p2"


async def test_rejections_hold_for_the_new_model_too(store: GalleryStore) -> None:
    await people_in_plenty(store, 2)
    seen = face("p0", looks_like="p1")
    rejection = NewRejection("p1", seen.crop, seen.vectors)
    await store.write(lambda c: rejections.add(c, "office", rejection))
    await run(store, OtherModel())
    assert await who_by(store, "p1", OTHER) == "p0"


async def test_other_weights_of_a_model_replace_the_old_ones(store: GalleryStore) -> None:
    await people_in_plenty(store, 3)
    with pytest.raises(ServiceError, match="other weights"):
        await who_by(store, "p1", NEWER)
    await run(store, OtherModel(NEWER))
    assert await who_by(store, "p1", NEWER) == "p1"
    assert [one.key for one in (await gallery(store)).models] == [NEWER]


async def test_the_other_models_can_be_dropped(store: GalleryStore) -> None:
    await people_in_plenty(store, 3)
    await run(store, OtherModel())
    await store.write(lambda c: galleries.drop_other_models(c, "office", OTHER.name))
    left = await gallery(store)
    assert ([one.key for one in left.models], left.default_model) == ([OTHER], "other")
    assert await vector_rows(store) == 3
    await store.upkeep.once()
    async with store.read() as connection:
        tables = await many(
            connection, "SELECT 1 FROM pg_tables WHERE tablename LIKE 'vectors%%'", {}
        )
    assert len(tables) == 1


async def test_a_large_gallery_gets_an_index_and_finds_the_same(
    store: GalleryStore, counted: Counted
) -> None:
    names = await people_in_plenty(store, 40)
    await store.upkeep.once()
    assert (await gallery(store)).models[0].method is SearchMethod.EXACT
    names += ["one more"]
    await enrol(store, face("one more"))
    await store.upkeep.once()
    assert (await gallery(store)).models[0].method is SearchMethod.HNSW
    assert [await who(store, name) for name in names] == names
    await enrol(store, face("later"))
    assert await who(store, "later") == "later"
    await drop_person(store, "later")
    assert await who(store, "later") != "later"
    await counted.told.wait()
    assert counted.hits == counted.faces > 0


async def test_a_search_by_index_uses_it(store: GalleryStore) -> None:
    await people_in_plenty(store, 50)
    await store.upkeep.once()
    probe = vector("p7")
    await store.search("office", TOY, [probe], very_like=VERY_LIKE)

    async def scans(connection: Connection) -> int:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        found = await many(
            connection,
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname LIKE '%%hnsw'",
            {},
        )
        return int(found[0]["idx_scan"])

    async with asyncio.timeout(20):
        while True:
            async with store.read() as connection:
                if await scans(connection) > 0:
                    break


async def test_two_replicas_do_not_look_after_it_at_once(
    store: GalleryStore, database: Database
) -> None:
    await people_in_plenty(store, 50)
    second = GalleryStore(database, UpkeepOptions(index_from_samples=40))
    done = await asyncio.gather(store.upkeep.once(), second.upkeep.once())
    assert True in done
    assert (await gallery(store)).models[0].method is SearchMethod.HNSW


async def test_clearing_an_indexed_gallery_leaves_it_usable(store: GalleryStore) -> None:
    await people_in_plenty(store, 50)
    await store.upkeep.once()
    await store.write(lambda c: galleries.clear(c, "office", False))
    assert await who(store, "p1") == ""
    await enrol(store, face("new"))
    assert await who(store, "new") == "new"


async def test_a_search_whose_space_was_replaced_meanwhile_looks_in_the_new_one(
    store: GalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people_in_plenty(store, 3)
    async with store.read() as connection:
        real = spaces.to_search
        now = await real(connection, "office", TOY)
    looked_up = [replace(now, space_key=now.space_key + 1000), now]

    async def to_search(connection: Connection, gallery_id: str, model: ModelKey) -> Space:
        return looked_up.pop(0)

    monkeypatch.setattr(spaces, "to_search", to_search)
    assert await who(store, "p1") == "p1"
    assert looked_up == []


def test_recall_is_shown_as_two_counters() -> None:
    registry = CollectorRegistry()
    counters = RecallCounters(registry)
    counters.recall_sampled(2, 3)
    counters.recall_sampled(1, 1)
    assert registry.get_sample_value("kinemask_faces_recall_hits_total") == 3
    assert registry.get_sample_value("kinemask_faces_recall_sampled_total") == 4


async def test_vectors_of_the_wrong_kind_are_refused(store: GalleryStore) -> None:
    short = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"expected a vector of toy: \(16,\), got \(3,\)"):
        await store.search("office", TOY, [short], very_like=VERY_LIKE)
    nan = np.full(16, np.nan, np.float32)
    with pytest.raises(ValueError, match="finite"):
        await store.search("office", TOY, [nan], very_like=VERY_LIKE)


async def test_enrolling_finds_the_models_it_needs(store: GalleryStore) -> None:
    await run(store, OtherModel())
    async with store.read() as connection:
        needed = await galleries.models(connection, "office")
    assert [one.key for one in needed] == [TOY, OTHER]
    outcome = await store.write(
        lambda c: samples.enrol(c, "office", [face("x", models=[TOY, OTHER])], create_people=True)
    )
    assert len(outcome) == 1
    async with store.read() as connection:
        assert (await people.get(connection, "office", "x")).sample_count == 1
    assert await rows(store, "samples") == 1
