"""Rows in and out of Postgres, as dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import LiteralString, TypeAlias

from psycopg import sql
from psycopg.rows import DictRow, dict_row

from kinemask_chassis.database.database import Connection

Query: TypeAlias = LiteralString | sql.SQL | sql.Composed
Values: TypeAlias = Sequence[object] | Mapping[str, object]


async def one(connection: Connection, query: Query, values: Values = ()) -> DictRow | None:
    """The first row, or None."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchone()


async def many(connection: Connection, query: Query, values: Values = ()) -> list[DictRow]:
    """All rows."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def change(connection: Connection, query: Query, values: Values = ()) -> int:
    """Rows changed."""
    async with connection.cursor() as cursor:
        await cursor.execute(query, values)
        return cursor.rowcount
