"""Rows in and out of Postgres, as dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, LiteralString, Protocol

import psycopg
from psycopg.rows import DictRow, dict_row

Connection = psycopg.AsyncConnection[Any]
"""Of the pool, whatever rows it makes by itself; in a transaction that ends with its block."""


class Connects(Protocol):
    """The part of the chassis's Database that is used here."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection in a transaction: committed at the end of the block, undone by an error."""
        ...


async def one(connection: Connection, query: LiteralString, *values: object) -> DictRow | None:
    """The first row, or None."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchone()


async def many(
    connection: Connection,
    query: LiteralString,
    values: Sequence[object] | Mapping[str, object] = (),
) -> list[DictRow]:
    """All rows."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def change(connection: Connection, query: LiteralString, *values: object) -> int:
    """Rows changed."""
    async with connection.cursor() as cursor:
        await cursor.execute(query, values)
        return cursor.rowcount
