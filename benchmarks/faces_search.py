"""How fast, and how well, faces are found in galleries of several sizes.

    python -m benchmarks.faces_search --sizes 10000 100000

Vectors are made, five a person: the samples of one person lie around a direction of their own, as a
face model's do. Each size is enrolled into an empty gallery of the embedded PostgreSQL through the
store that the service uses, crops included, then looked after (beyond 50,000 that builds the index)
and searched with new faces of its people, one after the other. The last line is JSON:

    {"sizes": {SIZE: {"p50_ms", "p95_ms": of one search,
        "recall_at_1": share of the faces whose best match is as similar as an exact search's best,
        "recall_at_1_unknown": the same for faces of nobody in the gallery,
        "top1": share named rightly, "method": "EXACT" or "HNSW", "enrol_per_s",
        "bytes": of vectors and index on disk, "bytes_all": with crops and the rest,
        "index_s": time to build the index}}}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from kinemask_chassis.database import Connection, Database
from kinemask_chassis.database.sql import one
from kinemask_faces.crops import FaceCrop
from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.gallery import galleries, samples, spaces
from kinemask_faces.gallery.records import Match, ModelKey, NewGallery, NewSample
from kinemask_faces.gallery.searching import SearchRules, search
from kinemask_faces.gallery.store import GalleryStore
from kinemask_faces.gallery.upkeep import UpkeepOptions
from kinemask_faces.quality import FaceQuality
from numpy.typing import NDArray
from psycopg import sql

from benchmarks.harness import percentile

SAMPLES_A_PERSON = 5
BATCH = 64
GALLERY = "bench"
VERY_LIKE = 0.9
# Cosine of two faces of one person is about 0.6 then, as SFace and ArcFace have it.
SPREAD = 0.8
_MARKS = np.zeros((5, 2), np.float32)
_QUALITY = FaceQuality(0.8, 100.0, 0.7, 0.0, 0.0, 0.0, 1.0, None)
_FACE = DetectedFace((0.0, 0.0, 100.0, 100.0), 0.9, _MARKS)

Matrix = NDArray[np.float32]


def main() -> int:
    """Parse, run, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--crop-bytes", type=int, default=8_000, help="of one stored crop")
    parser.add_argument("--data-dir", type=Path, help="default: a folder that is removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="km", ignore_cleanup_errors=True) as folder:
        sizes = asyncio.run(_run(options, options.data_dir or Path(folder)))
    print(json.dumps({"sizes": sizes}))
    return 0


async def _run(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, object]]:
    database = Database("", folder)
    await database.open()
    # Looked after by hand, below, so that it is known when that is done.
    store = GalleryStore(database, UpkeepOptions(every_s=1e9))
    await store.open()
    try:
        sizes = {}
        for size in options.sizes:
            sizes[str(size)] = await _size(store, options, size)
        return sizes
    finally:
        await store.close()
        await database.close()


async def _size(store: GalleryStore, options: argparse.Namespace, size: int) -> dict[str, object]:
    model = ModelKey("made", "r1", options.dimensions)
    people = max(1, size // SAMPLES_A_PERSON)
    rng = np.random.default_rng(size)
    directions = _unit(rng.normal(size=(people, options.dimensions)))
    await store.write(lambda c: galleries.create(c, NewGallery(model, GALLERY)))
    enrol_s = await _enrol(store, model, directions, rng, size, options.crop_bytes)
    begun_s = time.monotonic()
    await store.upkeep.once()
    index_s = time.monotonic() - begun_s
    await _settle(store)
    which = rng.integers(0, people, options.queries)
    known = _around(directions[which], rng)
    unknown = _unit(rng.normal(size=(options.queries // 3, options.dimensions)))
    figures = await _search(store, model, known, [f"person{index}" for index in which])
    space = await _space(store, model)
    result = {
        **figures,
        "recall_at_1": await _recall(store, model, known),
        "recall_at_1_unknown": await _recall(store, model, unknown),
        "method": space.method.value,
        "enrol_per_s": round(size / enrol_s, 1),
        **await _bytes(store, space),
        "index_s": round(index_s, 1),
    }
    print(f"{size}: {result}", file=sys.stderr)
    await store.write(lambda c: galleries.delete(c, GALLERY, True))
    await store.upkeep.once()
    return result


async def _enrol(
    store: GalleryStore,
    model: ModelKey,
    directions: Matrix,
    rng: np.random.Generator,
    size: int,
    crop_bytes: int,
) -> float:
    """Seconds that it takes to keep so many faces, a stream's worth at a time."""
    spent_s = 0.0
    for start in range(0, size, BATCH):
        numbers = np.arange(start, min(size, start + BATCH))
        vectors = _around(directions[numbers % len(directions)], rng)
        crop = FaceCrop(rng.bytes(crop_bytes), _MARKS)
        new = [
            NewSample(
                f"person{number % len(directions)}",
                *(_FACE, _QUALITY, crop),
                {model.name: vector},
                int(rng.integers(0, 2**63)),
            )
            for number, vector in zip(numbers, vectors, strict=True)
        ]

        async def work(connection: Connection, new: Sequence[NewSample] = new) -> None:
            await samples.enrol(connection, GALLERY, new, create_people=True)

        begun_s = time.monotonic()
        await store.write(work)
        spent_s += time.monotonic() - begun_s
    return spent_s


async def _settle(store: GalleryStore) -> None:
    """What the server does by itself within minutes: statistics, and pages written."""
    async with store.read() as connection:
        await connection.execute("ANALYZE")
    async with store.read() as connection:
        await connection.execute("CHECKPOINT")


async def _search(
    store: GalleryStore, model: ModelKey, probes: Matrix, names: Sequence[str]
) -> dict[str, object]:
    times_ms, right = [], 0
    for probe in probes[:20]:  # until the server has its tables at hand
        await store.search(GALLERY, model, [probe], very_like=VERY_LIKE)
    for probe, name in zip(probes, names, strict=True):
        begun_s = time.perf_counter()
        [found] = await store.search(GALLERY, model, [probe], very_like=VERY_LIKE)
        times_ms.append((time.perf_counter() - begun_s) * 1e3)
        right += found[0].person_id == name
    return {
        "p50_ms": round(percentile(times_ms, 0.5), 2),
        "p95_ms": round(percentile(times_ms, 0.95), 2),
        "top1": round(right / len(names), 4),
    }


async def _recall(store: GalleryStore, model: ModelKey, probes: Matrix) -> float:
    """Share of the faces whose best match is as good as the best there is."""
    space, rules = await _space(store, model), SearchRules(VERY_LIKE, 1)
    found = await store.search(GALLERY, model, list(probes), very_like=VERY_LIKE, count=1)
    async with store.read() as connection:
        truly = await search(connection, space, list(probes), rules, exact=True)
    hits = sum(map(_as_good, found, truly))
    return round(hits / len(probes), 4)


def _as_good(found: list[Match], truly: list[Match]) -> bool:
    return bool(found) and found[0].similarity >= truly[0].similarity - 1e-6


async def _space(store: GalleryStore, model: ModelKey) -> spaces.Space:
    async with store.read() as connection:
        return await spaces.to_search(connection, GALLERY, model)


async def _bytes(store: GalleryStore, space: spaces.Space) -> dict[str, int]:
    async with store.read() as connection:
        row = await one(
            connection,
            sql.SQL(
                "SELECT pg_total_relation_size({}::regclass) AS vectors, "
                "pg_total_relation_size('faces.samples') AS samples, "
                "pg_total_relation_size('faces.people') AS people"
            ).format(sql.Literal(space.table.as_string())),
        )
    assert row is not None
    return {"bytes": int(row["vectors"]), "bytes_all": sum(map(int, row.values()))}


def _around(directions: Matrix, rng: np.random.Generator) -> Matrix:
    """A face near each direction."""
    return _unit(directions + SPREAD * _unit(rng.normal(size=directions.shape)))


def _unit(rows: NDArray[np.floating]) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


if __name__ == "__main__":
    raise SystemExit(main())
