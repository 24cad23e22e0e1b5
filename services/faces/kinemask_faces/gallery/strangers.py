"""Unknown faces enrolled by themselves, each under one id however many replicas see it at once."""

from __future__ import annotations

import uuid
from dataclasses import replace

from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import many, one
from psycopg.rows import DictRow

from kinemask_faces.gallery import people, samples, searching
from kinemask_faces.gallery.records import (
    NO_ACTION,
    Match,
    ModelKey,
    NewPerson,
    NewSample,
    Sample,
    StrangerOutcome,
    StrangerRules,
)
from kinemask_faces.gallery.samples import Kept
from kinemask_faces.gallery.searching import SearchRules
from kinemask_faces.gallery.spaces import to_search

_LOCK = 0x4B4D_0004  # any number, of this use alone


async def settle(
    connection: Connection,
    gallery_id: str,
    model: ModelKey,
    face: NewSample,
    rules: StrangerRules,
    search: SearchRules,
) -> StrangerOutcome:
    """Look a face up, and enrol it as a stranger if it is nobody's; in the caller's transaction.

    Until that ends, nobody else settles a stranger of this gallery: so whoever comes next finds
    the one that was made. The search is exact, for an index may miss one.

    Raises:
        ServiceError: NOT_FOUND (gallery), FAILED_PRECONDITION, reason NOT_EMBEDDED.
        ModelsChangedError: a vector of one of the gallery's models is missing.
    """
    kept = await samples.hold(connection, gallery_id, [face])
    space = await to_search(connection, gallery_id, model)
    await connection.execute(
        "SELECT pg_advisory_xact_lock(%s, hashint8(%s))", (_LOCK, kept.place.gallery_key)
    )
    [matches] = await searching.search(
        connection, space, [face.vectors[model.name]], search, exact=True
    )
    if not matches or matches[0].similarity < rules.new_below:
        return await _make(connection, kept, face, matches, search.count)
    sample_id = ""
    if matches[0].stranger and matches[0].similarity >= rules.match_threshold:
        sample_id = await _add(connection, kept, matches[0].person_id, face, rules.max_samples)
    return StrangerOutcome(matches, False, sample_id)


async def _make(
    connection: Connection, kept: Kept, face: NewSample, matches: list[Match], count: int
) -> StrangerOutcome:
    row = await one(
        connection,
        "UPDATE faces.galleries SET stranger_count = stranger_count + 1 WHERE gallery_key = %s "
        "RETURNING stranger_count",
        (kept.place.gallery_key,),
    )
    assert row is not None
    name = f"Stranger {row['stranger_count']}"
    person_id = f"stranger-{uuid.uuid4().hex}"
    new = NewPerson(name, person_id)
    await people.create(connection, kept.place.gallery_id, new, stranger=True)
    person = await people.lock_one(connection, kept.place.gallery_id, person_id)
    only = replace(face, person_id=person_id, allow_duplicate=True)
    sample = await samples.keep(connection, kept, person, only)
    match = Match(person_id, name, "{}", NO_ACTION, True, 1.0, sample.sample_id)
    return StrangerOutcome([match, *matches][:count], True, sample.sample_id)


async def _add(
    connection: Connection, kept: Kept, person_id: str, face: NewSample, max_samples: int
) -> str:
    """Keep one more of a stranger, or in the place of the poorest; the sample's id, or empty."""
    person = (await people.lock(connection, kept.place.gallery_key, [person_id])).get(person_id)
    if person is None or person["root_id"] != person_id or not person["stranger"]:
        return ""  # deleted, merged or named since they were found
    here = await many(
        connection,
        "SELECT s.sample_key, s.sample_id, s.quality, p.root_key FROM faces.samples s "
        "JOIN faces.people p USING (person_key) WHERE p.root_key = %s "
        "ORDER BY s.quality DESC, s.sample_key FOR UPDATE OF s",
        (person["person_key"],),
    )
    spare: list[DictRow] = here[max(0, max_samples - 1) :]
    if len(here) >= max_samples and face.quality.score <= here[-1]["quality"]:
        return ""
    sample = await samples.keep(
        connection, kept, person, replace(face, person_id=person_id, allow_duplicate=False)
    )
    if not isinstance(sample, Sample):
        return ""
    if spare:
        await samples.remove(connection, kept.place, spare)
    await people.touch(connection, [person["person_key"]])
    return sample.sample_id
