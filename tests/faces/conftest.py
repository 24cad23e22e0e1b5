"""A faces service with galleries, on a PostgreSQL of this run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.faces.faces_kit import DiscModel, Friends, serving_faces
from tests.postgres_kit import Postgres, database, postgres

__all__ = ["database", "postgres"]


@pytest.fixture
def discs() -> DiscModel:
    return DiscModel()


@pytest.fixture
async def friends(discs: DiscModel, postgres: Postgres) -> AsyncIterator[Friends]:
    """Not made yet: `await friends.make(alice=ALICE)`."""
    url = postgres.new_database()
    async with serving_faces(discs, faces_galleries="on", database_url=url) as stub:
        yield Friends(stub)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that a test may kill without harm to the others."""
    folder = Path(tempfile.mkdtemp(prefix="kmpg", dir=os.environ.get("TMPDIR")))
    server = Postgres(folder / "data")
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
