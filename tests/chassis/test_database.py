"""The database as services use it: transactions, errors, restarts, migrations, sharing a server."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from kinemask_chassis.database import Database
from kinemask_chassis.errors import ServiceError

from tests.postgres_kit import Postgres, database, postgres

__all__ = ["database", "postgres"]


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    (tmp_path / "0001.first.sql").write_text("CREATE TABLE notes (text text NOT NULL);\n")
    return tmp_path


async def notes(database: Database) -> list[str]:
    async with database.connection() as connection:
        rows = await (await connection.execute("SELECT text FROM shop.notes")).fetchall()
    return [row[0] for row in rows]


async def test_migrations_are_applied_once_by_many_at_a_time(
    database: Database, migrations: Path
) -> None:
    await asyncio.gather(*(database.migrate("shop", migrations) for _ in range(4)))
    (migrations / "0002.second.sql").write_text("INSERT INTO notes VALUES ('by a migration');\n")
    await asyncio.gather(*(database.migrate("shop", migrations) for _ in range(4)))
    assert await notes(database) == ["by a migration"]


async def test_a_migration_that_fails_changes_nothing(database: Database, migrations: Path) -> None:
    await database.migrate("shop", migrations)
    bad = "INSERT INTO notes VALUES ('half'); INSERT INTO notes VALUES (NULL);\n"
    (migrations / "0002.bad.sql").write_text(bad)
    with pytest.raises(psycopg.errors.NotNullViolation):
        await database.migrate("shop", migrations)
    assert await notes(database) == []


async def test_an_error_undoes_the_block(database: Database, migrations: Path) -> None:
    await database.migrate("shop", migrations)
    with pytest.raises(KeyError):
        async with database.connection() as connection:
            await connection.execute("INSERT INTO shop.notes VALUES ('lost')")
            raise KeyError("something else went wrong")
    assert await notes(database) == []


async def test_a_server_that_is_killed_is_unavailable_then_used_again(
    postgres: Postgres, database: Database, migrations: Path
) -> None:
    await database.migrate("shop", migrations)
    async with database.connection() as connection:
        await connection.execute("INSERT INTO shop.notes VALUES ('kept')")
    await asyncio.to_thread(postgres.kill)
    try:
        with pytest.raises(ServiceError) as caught:
            await notes(database)
        assert caught.value.reason == "DATABASE_UNAVAILABLE"
        assert caught.value.retry_after_s
    finally:
        await asyncio.to_thread(postgres.start)
    assert await notes(database) == ["kept"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        pytest.param("mysql://x", "expected postgresql://USER", id="another database"),
        pytest.param(
            "postgresql://me:secret@127.0.0.1:1/none",
            "cannot use the database at 127.0.0.1:1/none; check KINEMASK_DATABASE_URL",
            id="nobody there",
        ),
    ],
)
async def test_a_wrong_url_is_refused_with_what_to_do(url: str, what: str) -> None:
    with pytest.raises(ServiceError, match=what) as caught:
        await Database(url).open()
    assert "secret" not in caught.value.message


_USER = """
import asyncio, pathlib, sys
from kinemask_chassis.database import Database
async def main():
    database = Database("", pathlib.Path(sys.argv[1]))
    await database.open()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    async with database.connection() as connection:
        await connection.execute("SELECT 1")
    await database.close()
asyncio.run(main())
"""


def user(folder: Path) -> subprocess.Popen[bytes]:
    """A process that uses the embedded database of a folder until its input ends."""
    command = [sys.executable, "-c", _USER, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_processes_share_one_server_and_the_last_one_stops_it(tmp_path: Path) -> None:
    users = [user(tmp_path) for _ in range(3)]  # at the same time, on an empty folder
    for process in users:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
    running = tmp_path / "postgres" / "postmaster.pid"
    assert running.exists()
    users[0].send_signal(signal.SIGKILL)
    users[0].wait(20)
    for process in users[1:]:
        process.communicate(timeout=60)
        assert process.returncode == 0
    last = user(tmp_path)  # takes the killed one off the list
    last.communicate(timeout=60)
    assert last.returncode == 0
    assert not running.exists()
