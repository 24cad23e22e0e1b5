"""Two replicas of the service on one database, in processes of their own: few operations, no error.

`benchmarks.faces_replicas` does the same with ten thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import numpy as np
import psycopg
import pytest
from kinemask.v1.faces_pb2_grpc import FacesServiceStub

from benchmarks.faces_operations import (
    GALLERY,
    Accepted,
    Deleted,
    Ledger,
    Operator,
    Sighting,
    audit,
    make_gallery,
)
from benchmarks.faces_stream import enrol_through_kills
from benchmarks.harness import service_process
from tests.postgres_kit import Postgres


@pytest.fixture
def replicas(own_postgres: Postgres) -> Iterator[tuple[str, list[str]]]:
    """The database's URL and the addresses of two."""
    url = own_postgres.new_database()
    with ExitStack() as stack:
        environment = {"KINEMASK_DATABASE_URL": url}
        yield (
            url,
            [
                stack.enter_context(service_process("benchmarks.numbered_faces", environment))[0]
                for _ in range(2)
            ],
        )


@pytest.mark.timeout(300)
async def test_no_sample_is_lost_or_a_ghost(
    own_postgres: Postgres, replicas: tuple[str, list[str]]
) -> None:
    url, addresses = replicas
    channels = [grpc.aio.insecure_channel(address) for address in addresses]
    stubs = [FacesServiceStub(channel) for channel in channels]
    await make_gallery(stubs[0])
    ledger = Ledger()
    operators = [Operator(stubs, ledger, np.random.default_rng(seed), 10) for seed in range(6)]
    await asyncio.gather(*(operator.run(40) for operator in operators))
    with psycopg.connect(url) as connection:
        kept = {row[0] for row in connection.execute("SELECT sample_id FROM faces.samples")}
    assert len(ledger.sightings) > 10
    assert len(ledger.deleted) > 10
    assert audit(ledger, kept) == (set(), set())
    # Now PostgreSQL is killed in the middle of a stream.
    figures = await enrol_through_kills(stubs[1], own_postgres, GALLERY, 40, 1)
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM faces.samples WHERE source = 'stream'"
        [(rows,)] = connection.execute(query).fetchall()
    assert figures["stream_accepted"] == rows == 40
    for channel in channels:
        await channel.close()


@pytest.mark.parametrize(
    ("kept", "sightings", "lost", "ghosts"),
    [
        pytest.param({"a"}, [], set(), set(), id="all as it should be"),
        pytest.param(set(), [], {"a"}, set(), id="an accepted sample is not there"),
        pytest.param({"a", "b"}, [], set(), {"b"}, id="a deleted one still is"),
        pytest.param({"a", "x"}, [], set(), {"x"}, id="one is there that nobody accepted"),
        pytest.param({"a"}, [Sighting(1, 5, 6, "", 0)], {"a"}, set(), id="not found"),
        pytest.param({"a"}, [Sighting(1, 0, 6, "", 0)], set(), set(), id="asked before it came"),
        pytest.param({"a"}, [Sighting(2, 5, 6, "b", 1)], set(), {"b"}, id="found though deleted"),
        pytest.param({"a"}, [Sighting(2, 2, 6, "b", 1)], set(), set(), id="deleted while asked"),
    ],
)
def test_the_audit_finds_what_is_wrong(
    kept: set[str], sightings: list[Sighting], lost: set[str], ghosts: set[str]
) -> None:
    ledger = Ledger(
        accepted={"a": Accepted(1, "p", 1), "b": Accepted(2, "p", 1)},
        deleted={"b": Deleted(3, 4)},
        sightings=sightings,
    )
    assert audit(ledger, kept) == (lost, ghosts)
