"""Taking people out of a gallery for good: samples, vectors, crops, answers that tell of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import change, many, one

from kinemask_faces.gallery import answers, spaces
from kinemask_faces.gallery.records import Removed


@dataclass(frozen=True)
class Place:
    """A gallery, by both its names."""

    gallery_id: str
    gallery_key: int


async def count(connection: Connection, gallery_key: int) -> Removed:
    """How much there is to remove."""
    row = await one(
        connection,
        "SELECT (SELECT count(*) FROM faces.people WHERE gallery_key = %(g)s "
        "AND root_key = person_key) AS people, "
        "(SELECT count(*) FROM faces.samples WHERE gallery_key = %(g)s) AS samples",
        {"g": gallery_key},
    )
    assert row is not None
    return Removed(row["people"], row["samples"])


async def remove_people(connection: Connection, place: Place, roots: Sequence[int]) -> Removed:
    """Remove people, given by their keys, and whoever was merged into them.

    The caller holds their rows, or the gallery, for itself.
    """
    rows = await many(
        connection,
        "SELECT person_key, person_id FROM faces.people WHERE root_key = ANY(%s) "
        "ORDER BY person_key FOR UPDATE",
        (list(roots),),
    )
    keys, ids = [row["person_key"] for row in rows], [row["person_id"] for row in rows]
    samples = await many(
        connection,
        "DELETE FROM faces.samples WHERE person_key = ANY(%s) RETURNING sample_key, sample_id",
        (keys,),
    )
    here = await spaces.of_gallery(connection, place.gallery_key)
    await spaces.remove(connection, here, [row["sample_key"] for row in samples])
    await _strip_merges(connection, keys)
    await _retire(connection, place.gallery_key, ids)
    await change(connection, "DELETE FROM faces.people WHERE person_key = ANY(%s)", (keys,))
    await answers.redact(connection, place.gallery_id, ids, [row["sample_id"] for row in samples])
    await touch(connection, place.gallery_key)
    return Removed(len(roots), len(samples))


async def touch(connection: Connection, gallery_key: int) -> None:
    """Note that something went from the gallery."""
    await change(
        connection,
        "UPDATE faces.galleries SET update_time = now() WHERE gallery_key = %s",
        (gallery_key,),
    )


async def is_retired(connection: Connection, gallery_key: int, person_id: str) -> bool:
    """True if the id was somebody's who was deleted."""
    found = await one(
        connection,
        "SELECT 1 FROM faces.retired_people WHERE gallery_key = %s AND person_id_sha256 = %s",
        (gallery_key, _digest(gallery_key, person_id)),
    )
    return found is not None


async def _retire(connection: Connection, gallery_key: int, person_ids: Sequence[str]) -> None:
    digests = [_digest(gallery_key, person_id) for person_id in person_ids]
    await change(
        connection,
        "INSERT INTO faces.retired_people SELECT %s, unnest(%s::bytea[]) ON CONFLICT DO NOTHING",
        (gallery_key, digests),
    )


async def _strip_merges(connection: Connection, person_keys: Sequence[int]) -> None:
    """Of a merge whose people go nothing stays but its id, to tell that it was there."""
    await change(
        connection,
        "UPDATE faces.merges SET person_key = NULL, merged_keys = '{}', moved_keys = '{}', "
        "moved_roots = '{}', display_name = '', metadata = '{}', action_kind = '', "
        "action_target = '', action_label = '' WHERE person_key = ANY(%s)",
        (list(person_keys),),
    )


def _digest(gallery_key: int, person_id: str) -> bytes:
    return hashlib.sha256(f"{gallery_key}\n{person_id}".encode()).digest()
