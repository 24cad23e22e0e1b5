"""Objects that no row owns: written before their row is, or left when their row went.

Whatever is killed on the way, the name of what it may have left stands here, and is swept.
"""

from __future__ import annotations

from kinemask_gateway.library.sql import Connection, Connects, change, many
from kinemask_gateway.storage import ObjectStore


async def announce(connection: Connection, prefix: str) -> None:
    """Objects below this prefix belong to nobody from when the transaction ends."""
    await change(
        connection,
        "INSERT INTO gateway.loose_objects (prefix) VALUES (%s) "
        "ON CONFLICT (prefix) DO UPDATE SET since = now()",
        prefix,
    )


async def claim(connection: Connection, prefix: str) -> None:
    """They belong to a row of this transaction, or are gone."""
    await change(connection, "DELETE FROM gateway.loose_objects WHERE prefix = %s", prefix)


async def remove(database: Connects, store: ObjectStore, prefix: str) -> None:
    """Delete what is below an announced prefix."""
    await store.delete_below(prefix)
    async with database.connection() as connection:
        await claim(connection, prefix)


async def sweep(database: Connects, store: ObjectStore, older_than_s: float) -> int:
    """Delete what was announced long ago; how many prefixes that were."""
    async with database.connection() as connection:
        rows = await many(
            connection,
            "SELECT prefix FROM gateway.loose_objects "
            "WHERE since < now() - make_interval(secs => %s)",
            (older_than_s,),
        )
    for row in rows:
        await remove(database, store, row["prefix"])
    return len(rows)
