"""Vector spaces: the vectors of one gallery by one model, in a table of their own.

So a search reads nothing but what it compares, models of any dimension live side by side, an index
covers one gallery alone, and a gallery's vectors go with its table. The tables are narrow and kept
out of TOAST, because an exact search reads them from one end to the other.

Invariant: whoever takes a sample away takes its vectors out of every space in the same transaction
(`remove`), after the sample itself, so that a vector that is being added meanwhile is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from kinemask_chassis import errors
from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import change, many, one
from psycopg import sql
from psycopg.rows import DictRow

from kinemask_faces.gallery.records import ModelKey, SearchMethod
from kinemask_faces.runner import Vector


@dataclass(frozen=True)
class Space:
    """One of them."""

    space_key: int
    gallery_key: int
    model: ModelKey
    complete: bool
    indexed: bool

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier("faces", f"vectors_{self.space_key}")

    @property
    def index(self) -> sql.Identifier:
        """Its HNSW index; there is one only if `indexed`."""
        return sql.Identifier(f"vectors_{self.space_key}_hnsw")

    @property
    def method(self) -> SearchMethod:
        return SearchMethod.HNSW if self.indexed else SearchMethod.EXACT


async def of_gallery(connection: Connection, gallery_key: int) -> list[Space]:
    """A gallery's spaces, that of the default model first."""
    rows = await many(
        connection,
        "SELECT s.* FROM faces.spaces s JOIN faces.galleries g USING (gallery_key) "
        "WHERE gallery_key = %s ORDER BY s.model <> g.default_model, s.model",
        (gallery_key,),
    )
    return [_space(row) for row in rows]


async def everywhere(connection: Connection) -> list[Space]:
    """Those of all galleries."""
    rows = await many(connection, "SELECT * FROM faces.spaces ORDER BY space_key")
    return [_space(row) for row in rows]


async def add(connection: Connection, gallery_key: int, model: ModelKey, complete: bool) -> Space:
    """A new space. The caller holds the gallery's row for itself, or has made it."""
    row = await one(
        connection,
        "INSERT INTO faces.spaces (gallery_key, model, revision, dimensions, complete) "
        "VALUES (%s, %s, %s, %s, %s) RETURNING *",
        (gallery_key, model.name, model.revision, model.dimensions, complete),
    )
    assert row is not None
    space = _space(row)
    await connection.execute(
        sql.SQL(
            "CREATE TABLE {} (sample_key bigint PRIMARY KEY, embedding halfvec({}) NOT NULL)"
        ).format(space.table, sql.Literal(model.dimensions))
    )
    await connection.execute(
        sql.SQL("ALTER TABLE {} ALTER COLUMN embedding SET STORAGE PLAIN").format(space.table)
    )
    return space


async def forget(connection: Connection, space: Space) -> None:
    """Empty it and take it off the list. Its table goes later: that would wait for searches."""
    await connection.execute(sql.SQL("DELETE FROM {}").format(space.table))
    await change(connection, "DELETE FROM faces.spaces WHERE space_key = %s", (space.space_key,))


async def count(connection: Connection, space: Space) -> int:
    """Vectors in it."""
    row = await one(connection, sql.SQL("SELECT count(*) AS n FROM {}").format(space.table))
    assert row is not None
    return int(row["n"])


async def put(connection: Connection, space: Space, vectors: Iterable[tuple[int, Vector]]) -> None:
    """Add the vectors of samples, given by their keys.

    Raises:
        ValueError: a vector is of another length than the space's.
    """
    values = [(key, as_halfvec(vector, space.model)) for key, vector in vectors]
    insert = sql.SQL("INSERT INTO {} VALUES (%s, %s::halfvec)").format(space.table)
    async with connection.cursor() as cursor:
        await cursor.executemany(insert, values)


async def remove(
    connection: Connection, spaces: Sequence[Space], sample_keys: Sequence[int]
) -> None:
    """Take the vectors of samples out of every space."""
    for space in spaces:
        await connection.execute(
            sql.SQL("DELETE FROM {} WHERE sample_key = ANY(%s)").format(space.table),
            (list(sample_keys),),
        )


async def to_search(connection: Connection, gallery_id: str, model: ModelKey) -> Space:
    """The space that a search of this model looks in.

    Raises:
        ServiceError: NOT_FOUND (gallery), FAILED_PRECONDITION, reason NOT_EMBEDDED.
    """
    row = await one(
        connection,
        "SELECT s.*, g.gallery_key FROM faces.galleries g LEFT JOIN faces.spaces s "
        "ON s.gallery_key = g.gallery_key AND s.model = %s WHERE g.gallery_id = %s",
        (model.name, gallery_id),
    )
    if row is None:
        raise no_gallery(gallery_id)
    if row["space_key"] is None:
        raise not_embedded(gallery_id, model.name, f"it is not embedded for {model.name}")
    space = _space(row)
    if space.model != model:
        why = f"it is embedded for {model.name} of other weights ({space.model.revision})"
        raise not_embedded(gallery_id, model.name, why)
    if not space.complete:
        raise not_embedded(gallery_id, model.name, f"it is not yet embedded for {model.name}")
    return space


def as_halfvec(vector: Vector, model: ModelKey) -> str:
    """As Postgres reads it.

    Raises:
        ValueError: the vector is of another length, or not finite.
    """
    if vector.shape != (model.dimensions,):
        raise ValueError(
            f"expected a vector of {model.name}: ({model.dimensions},), got {vector.shape}"
        )
    if not np.isfinite(vector).all():
        raise ValueError(f"expected a vector of finite numbers by {model.name}, got others")
    # Five figures are more than half precision has.
    return "[" + ",".join([f"{value:.5g}" for value in vector.tolist()]) + "]"


def no_gallery(gallery_id: str) -> errors.ServiceError:
    """NOT_FOUND."""
    return errors.not_found(f"there is no gallery {gallery_id}", gallery_id=gallery_id)


def not_embedded(gallery_id: str, model: str, why: str) -> errors.ServiceError:
    """FAILED_PRECONDITION, reason NOT_EMBEDDED."""
    return errors.failed_precondition(
        f"gallery {gallery_id} cannot be searched so: {why}; re-embed it",
        reason="NOT_EMBEDDED",
        gallery_id=gallery_id,
        model=model,
    )


def _space(row: DictRow) -> Space:
    return Space(
        space_key=row["space_key"],
        gallery_key=row["gallery_key"],
        model=ModelKey(row["model"], row["revision"], row["dimensions"]),
        complete=row["complete"],
        indexed=row["indexed"],
    )
