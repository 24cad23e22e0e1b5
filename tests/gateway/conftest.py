"""Fixtures of the library's and the jobs' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.library_kit import LibraryCalls, clip, library_gateway
from tests.postgres_kit import Postgres, database, postgres

__all__ = ["database", "postgres"]


@pytest.fixture
async def library(postgres: Postgres, tmp_path: Path) -> AsyncIterator[LibraryCalls]:
    """A gateway with an empty library."""
    async with library_gateway(postgres.new_database(), tmp_path / "data") as calls:
        yield calls


@pytest.fixture(scope="session")
def clip_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video of 30 frames, 96x64."""
    return clip(tmp_path_factory.mktemp("clip"))
