"""Schemas brought up to date by yoyo-migrations: SQL files of a folder, in order of their names."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import psycopg.conninfo
from psycopg import sql
from yoyo import get_backend, read_migrations

_LOCK = 0x4B4D_0001  # any number, the same for every service


def migrate(conninfo: str, schema: str, folder: Path) -> None:
    """Apply what is new in `folder` (`0001.NAME.sql` ...) to `schema`, which is made if need be.

    Blocking. Services that start at the same time wait here for one another: an advisory lock is
    held meanwhile. Which migrations were applied is noted in the schema itself.

    Raises:
        psycopg.Error: a migration failed; it is undone as a whole.
    """
    logging.getLogger("yoyo").setLevel(logging.WARNING)  # it tells of every statement
    with psycopg.connect(conninfo, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        guard.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        backend = get_backend(_yoyo_uri(conninfo, schema))
        try:
            backend.apply_migrations(backend.to_apply(read_migrations(str(folder))))
        finally:
            backend.connection.close()


def _yoyo_uri(conninfo: str, schema: str) -> str:
    """Every parameter as a query: sockets have no place in a URL's host."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    name = parts.pop("dbname", "")
    # Schema and migrations' own tables: yoyo sets the search path to it.
    return f"postgresql+psycopg:///{name}?{urlencode({**parts, 'schema': schema})}"
