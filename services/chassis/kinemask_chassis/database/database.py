"""A pool of connections, and what a service says when the database is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import psycopg
import psycopg.conninfo
import psycopg_pool
from psycopg import errors as pg

from kinemask_chassis import errors
from kinemask_chassis.database.embedded import start_embedded
from kinemask_chassis.database.migrations import migrate
from kinemask_chassis.database.settling import Fate, fate_of, transaction_id

Connection: TypeAlias = "psycopg.AsyncConnection[Any]"
Result = TypeVar("Result")

_RETRY_AFTER_S = 1.0
_CONNECT_TIMEOUT_S = 10
_SETTLE_S = 60.0
# Two transactions that wait for each other: Postgres ends one of them, which may begin again.
_COLLISIONS = (pg.DeadlockDetected, pg.SerializationFailure)
_ATTEMPTS = 5
_PAUSE_S = 0.05


class Database:
    """Connections to one PostgreSQL.

    A connection that the server has dropped is replaced before it is handed out, so a server that
    was away and came back is used again without a restart of the service.
    """

    def __init__(
        self, url: str, data_dir: Path | None = None, *, max_connections: int = 10
    ) -> None:
        """Nothing is connected or started yet.

        Args:
            url: of KINEMASK_DATABASE_URL; empty for the one embedded in `data_dir/postgres`.
            data_dir: may be None only where there is a URL.
            max_connections: of this process.
        """
        if not url and data_dir is None:
            raise ValueError("expected a URL or a data folder, got neither")
        self._folder = None if data_dir is None else data_dir / "postgres"
        self._max_connections = max_connections
        self._pool: psycopg_pool.AsyncConnectionPool[Connection] | None = None
        self.conninfo = url
        """What libpq connects with; of an embedded server only once it is open."""

    async def open(self) -> None:
        """Start the embedded server if it is to be that, and connect.

        Raises:
            ServiceError: UNAVAILABLE; the message says what is wrong with the URL or the server.
        """
        if not self.conninfo:
            assert self._folder is not None
            self.conninfo = await asyncio.to_thread(start_embedded, self._folder)
        await self._probe()
        self._pool = psycopg_pool.AsyncConnectionPool(
            self.conninfo,
            min_size=1,
            max_size=self._max_connections,
            timeout=5.0,
            max_idle=300.0,
            # Short, and begun anew by whoever asks next: with the long delays that attempts would
            # come to, a server that is back would be used only a minute later.
            reconnect_timeout=1.0,
            check=psycopg_pool.AsyncConnectionPool.check_connection,
            open=False,
        )
        await self._pool.open()

    async def _probe(self) -> None:
        """Connect once, for the sake of the message if that fails."""
        try:
            psycopg.conninfo.conninfo_to_dict(self.conninfo)
        except psycopg.ProgrammingError as error:
            raise errors.unavailable(
                "KINEMASK_DATABASE_URL: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
                f"got something else ({error})",
                reason="DATABASE_UNAVAILABLE",
            ) from error
        try:
            connection = await psycopg.AsyncConnection.connect(
                self.conninfo, connect_timeout=_CONNECT_TIMEOUT_S
            )
            await connection.close()
        except psycopg.Error as error:
            raise errors.unavailable(
                f"cannot use the database at {self.place}; check KINEMASK_DATABASE_URL and that "
                f"the server runs: {error}",
                reason="DATABASE_UNAVAILABLE",
            ) from error

    async def migrate(self, schema: str, folder: Path) -> None:
        """Bring a schema up to date with the migrations of a folder; safe from many at once."""
        with _explained():
            await asyncio.to_thread(migrate, self.conninfo, schema, folder)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end of the block, undone by an error.

        Raises:
            ServiceError: UNAVAILABLE, reason DATABASE_UNAVAILABLE, with RetryInfo: the database is
                away, also when it goes while the block runs; then the commit may have happened.
                RESOURCE_EXHAUSTED, reason DISK_FULL.
        """
        if self._pool is None:
            raise errors.unavailable("the service is starting", reason="DATABASE_UNAVAILABLE")
        with _explained():
            async with self._pool.connection() as connection:
                yield connection

    async def connect_alone(self) -> Connection:
        """A connection apart from the pool, without transactions; the caller closes it.

        For what takes minutes, or lasts as long as the connection: settings, advisory locks.

        Raises:
            ServiceError: UNAVAILABLE.
        """
        with _explained():
            return await psycopg.AsyncConnection.connect(
                self.conninfo, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S
            )

    async def write(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Do `work` in a transaction, as a whole or not at all, and know which of the two it was.

        If the database goes away while it commits, this waits until it can say what became of the
        transaction. `work` may be done more than once: it should change nothing but the database.

        Raises:
            ServiceError: as `connection`, and then nothing is stored; or UNAVAILABLE, reason
                COMMIT_UNKNOWN: the database did not come back within a minute to say.
        """
        for attempt in range(1, _ATTEMPTS):
            try:
                return await self._write(work)
            except _COLLISIONS:
                # Each for another time, or the same two collide again.
                await asyncio.sleep(random.uniform(0, _PAUSE_S * attempt))
        return await self._write(work)

    async def _write(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        if self._pool is None:
            raise errors.unavailable("the service is starting", reason="DATABASE_UNAVAILABLE")
        transaction: str | None = None
        with _explained():
            try:
                async with self._pool.connection() as connection:
                    result = await work(connection)
                    transaction = await transaction_id(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if transaction is None or isinstance(error, (pg.DiskFull, *_COLLISIONS)):
                    raise
                # It broke while it committed.
                fate = await fate_of(self.connection, transaction, _SETTLE_S)
                if fate is Fate.UNKNOWN:
                    raise _unknown() from error
                if fate is Fate.UNDONE:
                    raise
        return result

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        if self._pool is not None:
            await self._pool.close()

    @property
    def place(self) -> str:
        """Host and database for messages, without user and password."""
        try:
            parts = psycopg.conninfo.conninfo_to_dict(self.conninfo)
        except psycopg.ProgrammingError:
            return "(not a PostgreSQL URL)"
        host, port = parts.get("host") or "localhost", parts.get("port") or 5432
        return f"{host}:{port}/{parts.get('dbname') or ''}"


def _unknown() -> errors.ServiceError:
    return errors.unavailable(
        "the database went away while it stored this and has not come back; it may be stored: ask "
        "again, with the same request_id if there was one",
        reason="COMMIT_UNKNOWN",
        retry_after_s=_RETRY_AFTER_S,
    )


class _explained:
    """Turns what psycopg raises into ServiceErrors; faults of a query stay as they are."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _COLLISIONS):
            return  # for whoever can do it again
        if isinstance(error, pg.DiskFull):
            what = "the database's disk is full; nothing was written"
            raise errors.exhausted(what, "DISK_FULL") from error
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            raise errors.unavailable(
                "the database cannot be used now; try again",
                reason="DATABASE_UNAVAILABLE",
                retry_after_s=_RETRY_AFTER_S,
            ) from error
