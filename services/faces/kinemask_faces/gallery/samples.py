"""Samples as rows of Postgres. Every function runs in the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from kinemask_chassis import errors
from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import many, one
from kinemask_chassis.errors import ServiceError
from psycopg import sql
from psycopg.rows import DictRow

from kinemask_faces.gallery import answers, galleries, people, removal, spaces
from kinemask_faces.gallery.pages import Question, limit
from kinemask_faces.gallery.records import (
    Duplicate,
    NewPerson,
    NewSample,
    Page,
    PageQuery,
    Sample,
)
from kinemask_faces.gallery.spaces import Space
from kinemask_faces.gallery.stored import (
    face_from_json,
    face_to_json,
    landmarks_to_column,
    signed,
)
from kinemask_faces.gallery.texts import storable

# The same picture of a face, encoded or scaled anew: its fingerprint differs by no more bits, and
# its vector by no more. Two pictures of one person differ by more of at least one of them.
SAME_FINGERPRINT_BITS = 4
SAME_SIMILARITY = 0.97


class ModelsChangedError(Exception):
    """A vector of one of the gallery's models is missing: ask for the models and embed again."""


@dataclass(frozen=True)
class Kept:
    """Where samples go: the gallery is held, its spaces stay."""

    place: removal.Place
    spaces: list[Space]


async def enrol(
    connection: Connection,
    gallery_id: str,
    new: Sequence[NewSample],
    *,
    create_people: bool = False,
) -> list[Sample | Duplicate | ServiceError]:
    """Keep faces; what became of each, in order. A ServiceError stands for a NOT_FOUND person.

    Raises:
        ServiceError: NOT_FOUND (gallery).
        ModelsChangedError: see there; nothing is kept.
    """
    kept = await hold(connection, gallery_id, new)
    rows = await _people(connection, kept.place, new, create_people)
    outcomes: list[Sample | Duplicate | ServiceError] = []
    for sample in new:
        found = rows[sample.person_id]
        if isinstance(found, ServiceError):
            outcomes.append(found)
        else:
            outcomes.append(await keep(connection, kept, found, sample))
    changed = {
        int(row["person_key"])
        for row, outcome in zip((rows[one.person_id] for one in new), outcomes, strict=True)
        if isinstance(outcome, Sample) and not isinstance(row, ServiceError)
    }
    await people.touch(connection, sorted(changed))
    return outcomes


async def hold(connection: Connection, gallery_id: str, new: Sequence[NewSample]) -> Kept:
    """Keep the gallery and its spaces as they are until the transaction ends.

    Raises:
        ServiceError: NOT_FOUND (gallery).
        ModelsChangedError: a sample lacks a vector.
    """
    gallery_key = await galleries.lock(connection, gallery_id)
    here = await spaces.of_gallery(connection, gallery_key)
    for space in here:
        if any(space.model.name not in sample.vectors for sample in new):
            raise ModelsChangedError(f"gallery {gallery_id} needs vectors of {space.model.name}")
    return Kept(removal.Place(gallery_id, gallery_key), here)


async def keep(
    connection: Connection, kept: Kept, person: DictRow, new: NewSample
) -> Sample | Duplicate:
    """Keep one face of somebody whose row is held."""
    same = None if new.allow_duplicate else await _same(connection, kept, person, new)
    if same is not None:
        return same
    row = await one(
        connection,
        "INSERT INTO faces.samples (sample_id, gallery_key, person_key, source, face, quality, "
        "fingerprint, crop, crop_landmarks) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "RETURNING sample_key, sample_id, source, face, create_time, ''::bytea AS crop",
        (
            f"sample-{uuid.uuid4().hex}",
            *(kept.place.gallery_key, person["person_key"], storable("source", new.source)),
            *(face_to_json(new.face, new.quality), new.quality.score, signed(new.fingerprint)),
            *(new.crop.jpeg, landmarks_to_column(new.crop)),
        ),
    )
    assert row is not None
    for space in kept.spaces:
        await spaces.put(connection, space, [(row["sample_key"], new.vectors[space.model.name])])
    return _sample(row, person["person_id"])


async def page(
    connection: Connection, gallery_id: str, person_id: str, query: PageQuery, include_crops: bool
) -> Page[Sample]:
    """Samples of a person, or with an empty `person_id` of all, oldest first.

    Raises:
        ServiceError: NOT_FOUND (gallery or person); INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    gallery_key = await galleries.find(connection, gallery_id)
    if person_id:
        await people.get(connection, gallery_id, person_id)
    question = Question.of("samples", gallery_key, person_id)
    rows = await many(
        connection,
        "SELECT s.sample_key, s.sample_id, s.source, s.face, s.create_time, r.person_id, "
        "CASE WHEN %(crops)s THEN s.crop ELSE ''::bytea END AS crop FROM faces.samples s "
        "JOIN faces.people p USING (person_key) JOIN faces.people r ON r.person_key = p.root_key "
        "WHERE s.gallery_key = %(gallery_key)s AND s.sample_key > %(after)s "
        "AND (%(person_id)s = '' OR r.person_id = %(person_id)s) "
        "ORDER BY s.sample_key LIMIT %(limit)s",
        {
            "gallery_key": gallery_key,
            "person_id": person_id,
            "after": question.after_key(query) or 0,
            "crops": include_crops,
            "limit": limit(query),
        },
    )
    return question.page(
        query, rows, lambda row: _sample(row, row["person_id"]), lambda row: row["sample_key"]
    )


async def delete(connection: Connection, gallery_id: str, sample_ids: Sequence[str]) -> int:
    """Remove samples for good, all or none; how many.

    Raises:
        ServiceError: NOT_FOUND, naming those that are not there.
    """
    gallery_key = await galleries.lock(connection, gallery_id)
    wanted = sorted(set(sample_ids))
    rows = await many(
        connection,
        "SELECT sample_key, sample_id, p.root_key FROM faces.samples s "
        "JOIN faces.people p USING (person_key) WHERE s.gallery_key = %s AND sample_id = ANY(%s) "
        "ORDER BY sample_key FOR UPDATE OF s",
        (gallery_key, wanted),
    )
    missing = sorted(set(wanted) - {row["sample_id"] for row in rows})
    if missing:
        raise errors.not_found(
            f"there are no samples {', '.join(missing[:10])} in gallery {gallery_id}",
            sample_ids=",".join(missing[:100]),
        )
    await remove(connection, removal.Place(gallery_id, gallery_key), rows)
    return len(rows)


async def remove(connection: Connection, place: removal.Place, rows: Sequence[DictRow]) -> None:
    """Remove samples whose rows (`sample_key`, `sample_id`, `root_key`) are held."""
    keys = [row["sample_key"] for row in rows]
    await connection.execute("DELETE FROM faces.samples WHERE sample_key = ANY(%s)", (keys,))
    here = await spaces.of_gallery(connection, place.gallery_key)
    await spaces.remove(connection, here, keys)
    await answers.redact(connection, place.gallery_id, (), [row["sample_id"] for row in rows])
    await people.touch(connection, sorted({row["root_key"] for row in rows}))


async def _people(
    connection: Connection, place: removal.Place, new: Sequence[NewSample], create_people: bool
) -> dict[str, DictRow | ServiceError]:
    """The rows of those that the samples are of, held and made if need be."""
    names = {sample.person_id: sample.display_name or sample.person_id for sample in new}
    refused: dict[str, ServiceError] = {}
    if create_people:
        # In one order for everybody, or two that make the same people wait for each other.
        for person_id in sorted(names):
            made = NewPerson(names[person_id], person_id)
            if await people.add(connection, place.gallery_key, person_id, made) and (
                await removal.is_retired(connection, place.gallery_key, person_id)
            ):
                await connection.execute(
                    "DELETE FROM faces.people WHERE gallery_key = %s AND person_id = %s",
                    (place.gallery_key, person_id),
                )
                refused[person_id] = people.id_retired(place.gallery_id, person_id)
    rows = await people.lock(connection, place.gallery_key, list(names))
    found: dict[str, DictRow | ServiceError] = {}
    for person_id in names:
        try:
            found[person_id] = people.standing(place.gallery_id, person_id, rows.get(person_id))
        except ServiceError as error:
            found[person_id] = refused.get(person_id, error)
    return found


async def _same(
    connection: Connection, kept: Kept, person: DictRow, new: NewSample
) -> Duplicate | None:
    """The person's sample of this very picture, by the gallery's default model."""
    space = kept.spaces[0]
    row = await one(
        connection,
        sql.SQL(
            "SELECT s.sample_id, 1 - (v.embedding <=> %(vector)s::halfvec) AS similarity "
            "FROM faces.samples s JOIN faces.people p USING (person_key) "
            "JOIN {} v USING (sample_key) WHERE p.root_key = %(root_key)s "
            "AND bit_count((s.fingerprint # %(fingerprint)s)::bit(64)) <= %(bits)s "
            "ORDER BY similarity DESC LIMIT 1"
        ).format(space.table),
        {
            "vector": spaces.as_halfvec(new.vectors[space.model.name], space.model),
            "root_key": person["person_key"],
            "fingerprint": signed(new.fingerprint),
            "bits": SAME_FINGERPRINT_BITS,
        },
    )
    if row is None or row["similarity"] < SAME_SIMILARITY:
        return None
    return Duplicate(row["sample_id"], row["similarity"])


def _sample(row: DictRow, person_id: str) -> Sample:
    face, quality = face_from_json(row["face"])
    return Sample(
        sample_id=row["sample_id"],
        person_id=person_id,
        face=face,
        quality=quality,
        source=row["source"],
        crop_jpeg=bytes(row["crop"]),
        create_time=row["create_time"],
    )


__all__ = ["Kept", "ModelsChangedError", "delete", "enrol", "hold", "keep", "page", "remove"]
