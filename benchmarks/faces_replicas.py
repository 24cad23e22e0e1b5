"""Two replicas of the faces service on one database: is a sample ever lost, or found when deleted?

    python -m benchmarks.faces_replicas --operations 10000

First, clients enrol, recognise and delete samples and people through both replicas at once, never
minding through which a sample came. Then thousands of samples go in as one stream while PostgreSQL
is killed (SIGKILL to all of it) and started again; what is answered with UNAVAILABLE is sent again.
At the end the replies are held against the database. The last line is JSON:

    {"operations": ..., "accepted": ..., "deleted": ..., "people_deleted": ..., "recognised": ...,
     "lost": samples that were accepted and not deleted, and are gone or were not found,
     "ghosts": samples that were deleted, or never accepted, and are there or were found,
     "vectors": rows of vectors, which must be as many as samples, "samples": ..., "wall_s": ...,
     "kills": ..., "stream_accepted": ..., "stream_rows": ..., "stream_sent_again": ...}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import psycopg
from kinemask.v1.faces_pb2_grpc import FacesServiceStub

from benchmarks.faces_operations import GALLERY, Ledger, Operator, audit, make_gallery
from benchmarks.faces_stream import enrol_through_kills
from benchmarks.harness import service_process
from tests.postgres_kit import Postgres

_CLIENTS = 12
_POOL_OF_PEOPLE = 60


def main() -> int:
    """Parse, run, print; the exit code says whether everything agreed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--stream-samples", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kmpg"))
    server = Postgres(folder / "data")
    try:
        url = server.new_database()
        environment = {"KINEMASK_DATABASE_URL": url}
        environment["KINEMASK_DATA_DIR"] = str(folder)
        with ExitStack() as stack:
            addresses = [
                stack.enter_context(service_process("benchmarks.numbered_faces", environment))[0]
                for _ in range(2)
            ]
            figures = asyncio.run(_run(options, addresses, server, url))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures))
    agreed = figures["lost"] == figures["ghosts"] == 0
    return 0 if agreed and figures["stream_accepted"] == figures["stream_rows"] else 1


async def _run(
    options: argparse.Namespace, addresses: list[str], server: Postgres, url: str
) -> dict[str, float]:
    channels = [grpc.aio.insecure_channel(address) for address in addresses]
    stubs = [FacesServiceStub(channel) for channel in channels]
    await make_gallery(stubs[0])
    ledger, begun_s = Ledger(), time.monotonic()
    rng = np.random.default_rng(1)
    operators = [
        Operator(stubs, ledger, np.random.default_rng(rng.integers(2**32)), _POOL_OF_PEOPLE)
        for _ in range(_CLIENTS)
    ]
    share = -(-options.operations // _CLIENTS)
    await asyncio.gather(*(operator.run(share) for operator in operators))
    with psycopg.connect(url, autocommit=True) as connection:
        kept = {row[0] for row in connection.execute("SELECT sample_id FROM faces.samples")}
        [(space,)] = connection.execute("SELECT space_key FROM faces.spaces").fetchall()
        count = f"SELECT count(*) FROM faces.vectors_{int(space)}".encode()
        [(vectors,)] = connection.execute(count).fetchall()
    lost, ghosts = audit(ledger, kept)
    figures: dict[str, float] = {
        "operations": share * _CLIENTS,
        "accepted": len(ledger.accepted),
        "deleted": len(ledger.deleted),
        "people_deleted": len(ledger.people_deleted),
        "recognised": len(ledger.sightings),
        "lost": len(lost),
        "ghosts": len(ghosts),
        "vectors": vectors,
        "samples": len(kept),
        "wall_s": round(time.monotonic() - begun_s, 1),
    }
    stream = await enrol_through_kills(
        stubs[1], server, GALLERY, options.stream_samples, options.kills
    )
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT count(*) FROM faces.samples WHERE source = 'stream'"
        [(rows,)] = connection.execute(query).fetchall()
    for channel in channels:
        await channel.close()
    return {**figures, **stream, "stream_rows": rows}


if __name__ == "__main__":
    raise SystemExit(main())
