"""The gateway that keeps the videos: a running one, or one started for the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kinemask.cli.failures import CommandError

if TYPE_CHECKING:
    from kinemask.client import Client


@contextmanager
def library(
    server: str | None, *, debug: bool = False, needs: Sequence[str] = ()
) -> Iterator[Client]:
    """A client of `server`, or of a gateway started for as long as this lasts.

    The one started works on the videos of KINEMASK_DATA_DIR, or wherever KINEMASK_DATABASE_URL and
    KINEMASK_OBJECT_STORE say; what it stores stays there. `needs`: what else is started with it,
    such as a worker.

    Raises:
        CommandError: no gateway answers there, or it keeps no videos.
    """
    from kinemask.cli.server import gateway
    from kinemask.errors import UnimplementedError

    with gateway(server, needs, debug=debug, library=True) as client:
        try:
            yield client
        except UnimplementedError as error:
            raise CommandError(
                f"this gateway keeps no videos and runs no jobs, or not of this kind: "
                f"{error.message}",
                hint="start it with kinemask up, or set KINEMASK_LIBRARY=on",
            ) from error
