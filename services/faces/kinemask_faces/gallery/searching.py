"""Who a face is most like: exact, or by an HNSW index (Malkov and Yashunin, PAMI 2020).

Vectors have length one, so the inner product orders them as the cosine does, and is cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import many
from psycopg import sql
from psycopg.rows import DictRow

from kinemask_faces.gallery.records import Match, PersonAction
from kinemask_faces.gallery.spaces import Space, as_halfvec
from kinemask_faces.runner import Vector

EF_SEARCH = 100
"""Candidates an index search keeps: fewer find the best match less often, more take longer."""

# Samples looked at for a few different people; if all are of too few people, more.
_SAMPLES_AT_FIRST = 32
_SAMPLES_NEXT = 1000

# `near`: the nearest samples. `best`: of each person among them the nearest. `rejected`: how far
# the nearest face is that was said not to be that person.
_SEARCH = sql.SQL(
    """
WITH near AS MATERIALIZED (
    SELECT v.sample_key, v.embedding <=> %(vector)s::halfvec AS distance
    FROM {table} v ORDER BY {order} LIMIT %(samples)s
),
best AS (
    SELECT DISTINCT ON (p.root_key) p.root_key, s.sample_id, near.distance
    FROM near JOIN faces.samples s USING (sample_key) JOIN faces.people p USING (person_key)
    ORDER BY p.root_key, near.distance
),
judged AS (
    SELECT best.*, (
        SELECT min(rv.embedding <=> %(vector)s::halfvec) FROM faces.rejections r
        JOIN faces.people m USING (person_key) JOIN faces.rejection_vectors rv USING (rejection_key)
        WHERE m.root_key = best.root_key AND rv.space_key = %(space_key)s
    ) AS rejected FROM best
)
SELECT judged.sample_id, judged.distance, p.person_id, p.display_name, p.metadata, p.stranger,
    p.action_kind, p.action_target, p.action_label, (SELECT count(*) FROM near) AS looked_at
FROM judged JOIN faces.people p ON p.person_key = judged.root_key
WHERE NOT COALESCE(rejected <= %(very_like)s AND rejected <= distance, false)
ORDER BY distance, p.person_id LIMIT %(count)s
"""
)
_BY_INDEX = sql.SQL("v.embedding <#> %(vector)s::halfvec")
# No index fits this expression.
_BY_SCAN = sql.SQL("(v.embedding <#> %(vector)s::halfvec) + 0")


@dataclass(frozen=True)
class SearchRules:
    """What a search is for."""

    very_like: float
    """A face at least as similar to a rejected one counts as that one: -1..1."""
    count: int = 2
    """Different people wanted."""


async def search(
    connection: Connection,
    space: Space,
    vectors: Sequence[Vector],
    rules: SearchRules,
    *,
    exact: bool = False,
) -> list[list[Match]]:
    """For each vector the most similar different people, most similar first.

    Args:
        connection: in the caller's transaction.
        space: to search in.
        vectors: `(D,)` float32 each, L2-normalised.
        rules: what for.
        exact: compare with every vector even if there is an index.
    """
    by_index = space.indexed and not exact
    found = []
    # A pipeline: the settings cost no round trip of their own.
    async with connection.pipeline():
        if by_index:
            await connection.execute(
                "SELECT set_config('hnsw.ef_search', %s, true), "
                "set_config('hnsw.iterative_scan', 'strict_order', true), "
                "set_config('enable_seqscan', 'off', true)",
                (str(EF_SEARCH),),
            )
        for vector in vectors:
            text = as_halfvec(vector, space.model)
            rows = await _people(connection, space, text, rules, by_index)
            found.append([_match(row) for row in rows])
    return found


async def _people(
    connection: Connection, space: Space, vector: str, rules: SearchRules, by_index: bool
) -> list[DictRow]:
    """More and more samples are looked at, until there are enough people or no more samples."""
    for samples in (_SAMPLES_AT_FIRST, _SAMPLES_NEXT):
        rows = await _nearest(connection, space, vector, rules, by_index, samples)
        if len(rows) >= rules.count or (rows and rows[0]["looked_at"] < samples):
            return rows
    return await _nearest(connection, space, vector, rules, False, None)


async def _nearest(
    connection: Connection,
    space: Space,
    vector: str,
    rules: SearchRules,
    by_index: bool,
    samples: int | None,
) -> list[DictRow]:
    query = _SEARCH.format(
        table=space.table,
        order=_BY_INDEX if by_index else _BY_SCAN,
    )
    values = {
        "vector": vector,
        "samples": samples,
        "space_key": space.space_key,
        "very_like": 1 - rules.very_like,
        "count": rules.count,
    }
    return await many(connection, query, values)


def _match(row: DictRow) -> Match:
    return Match(
        person_id=row["person_id"],
        display_name=row["display_name"],
        metadata_json=row["metadata"],
        action=PersonAction(row["action_kind"], row["action_target"], row["action_label"]),
        stranger=row["stranger"],
        similarity=min(1.0, max(-1.0, 1.0 - row["distance"])),
        sample_id=row["sample_id"],
    )
