"""Writes whose commit is not answered: what is said is what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from kinemask_chassis.database import Connection, Database
from kinemask_chassis.errors import ServiceError
from psycopg import errors as pg

from tests.postgres_kit import Postgres, database, postgres

__all__ = ["database", "postgres"]


@pytest.fixture
async def notes(database: Database, tmp_path: Path) -> Database:
    (tmp_path / "0001.first.sql").write_text("CREATE TABLE notes (text text PRIMARY KEY);\n")
    await database.migrate("shop", tmp_path)
    return database


async def stored(database: Database) -> list[str]:
    async with database.connection() as connection:
        found = await connection.execute("SELECT text FROM shop.notes ORDER BY text")
        return [row[0] for row in await found.fetchall()]


async def nothing() -> None:
    """What else happens while a commit breaks."""


async def write(
    database: Database,
    text: str,
    *,
    arrives: bool,
    meanwhile: Callable[[], Awaitable[None]] = nothing,
) -> str:
    """Store a text over a connection that breaks in its commit, before or after that arrives."""

    async def work(connection: Connection) -> str:
        await connection.execute("INSERT INTO shop.notes VALUES (%s)", (text,))
        commit = connection.commit

        async def broken() -> None:
            if arrives:
                await commit()
            await connection.close()
            await meanwhile()
            raise psycopg.OperationalError("the connection broke")

        connection.commit = broken  # type: ignore[method-assign]  # to break it
        return text

    return await database.write(work)


async def test_a_commit_that_was_done_but_not_answered_is_found_out(notes: Database) -> None:
    assert await write(notes, "done", arrives=True) == "done"
    assert await stored(notes) == ["done"]


async def test_a_commit_that_was_not_done_is_unavailable(notes: Database) -> None:
    with pytest.raises(ServiceError) as caught:
        await write(notes, "undone", arrives=False)
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    assert await stored(notes) == []


async def test_a_server_killed_after_it_committed_still_knows(
    postgres: Postgres, notes: Database
) -> None:
    restarts: list[asyncio.Future[None]] = []

    async def kill() -> None:
        await asyncio.to_thread(postgres.kill)
        restarts.append(asyncio.ensure_future(asyncio.to_thread(postgres.start)))

    assert await write(notes, "kept", arrives=True, meanwhile=kill) == "kept"
    await asyncio.gather(*restarts)
    assert await stored(notes) == ["kept"]


async def test_a_commit_nobody_can_tell_of_is_said_to_be_so(
    notes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinemask_chassis.database.database._SETTLE_S", 0.0)
    with pytest.raises(ServiceError) as caught:
        await write(notes, "perhaps", arrives=True)
    assert caught.value.reason == "COMMIT_UNKNOWN"
    assert await stored(notes) == ["perhaps"]


async def test_transactions_that_wait_for_each_other_are_done_again(notes: Database) -> None:
    started = asyncio.Barrier(2)
    one_is_stored = asyncio.Event()
    attempts: list[str] = []

    async def work(connection: Connection, first: str, second: str) -> None:
        attempts.append(first)
        if len(attempts) > 2:  # else it could collide with the same one once more
            await one_is_stored.wait()
        await connection.execute(
            "INSERT INTO shop.notes VALUES (%s) ON CONFLICT DO NOTHING", (first,)
        )
        if len(attempts) <= 2:
            await started.wait()
        await connection.execute(
            "INSERT INTO shop.notes VALUES (%s) ON CONFLICT DO NOTHING", (second,)
        )

    async def store(first: str, second: str) -> None:
        await notes.write(lambda connection: work(connection, first, second))
        one_is_stored.set()

    await asyncio.gather(store("a", "b"), store("b", "a"))
    assert sorted(attempts[:2]) == ["a", "b"]
    assert len(attempts) == 3
    assert await stored(notes) == ["a", "b"]


async def test_a_write_that_always_collides_ends(notes: Database) -> None:
    async def work(connection: Connection) -> None:
        raise pg.SerializationFailure("again")

    with pytest.raises(pg.SerializationFailure):
        await notes.write(work)


async def test_a_write_that_changes_nothing_says_what_it_found(notes: Database) -> None:
    async def work(connection: Connection) -> int:
        found = await (await connection.execute("SELECT 7")).fetchone()
        assert found is not None
        return int(found[0])

    assert await notes.write(work) == 7
