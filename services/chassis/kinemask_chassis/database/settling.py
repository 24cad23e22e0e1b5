"""What became of a transaction whose commit was not answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any

import psycopg

from kinemask_chassis.errors import ServiceError

_ASK_EVERY_S = 0.2


class Fate(Enum):
    """What may have become of it."""

    DONE = "committed"
    UNDONE = "aborted"
    UNKNOWN = "unknown"


async def transaction_id(connection: psycopg.AsyncConnection[Any]) -> str | None:
    """The transaction's name for later; None if it has changed nothing so far."""
    cursor = await connection.execute("SELECT pg_current_xact_id_if_assigned()::text")
    row = await cursor.fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0])


async def fate_of(
    connect: Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]],
    transaction: str,
    within_s: float,
) -> Fate:
    """Ask the database until it answers; UNKNOWN if it does not `within_s`.

    A server that was killed comes back knowing which of its transactions were committed
    (`pg_xact_status`).
    """
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        try:
            async with connect() as connection:
                cursor = await connection.execute("SELECT pg_xact_status(%s::xid8)", (transaction,))
                row = await cursor.fetchone()
        except (psycopg.Error, ServiceError):
            row = None  # still away
        if row is not None and row[0] in (Fate.DONE.value, Fate.UNDONE.value):
            return Fate(row[0])
        # Away, or about to notice that its client has gone: nothing that could be waited for.
        await asyncio.sleep(_ASK_EVERY_S)
    return Fate.UNKNOWN
