"""The gateway that knows the faces: a running one, or one started for the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kinemask.cli.failures import CommandError

if TYPE_CHECKING:
    from kinemask.client import Client


@contextmanager
def faces_gateway(server: str | None, *, debug: bool = False) -> Iterator[Client]:
    """A client of `server`, or of a gateway and a faces service started for as long as this lasts.

    Those started work on the galleries of KINEMASK_DATA_DIR, or of KINEMASK_DATABASE_URL; what they
    store stays there.

    Raises:
        CommandError: no gateway answers there, or it has no faces service, or none with galleries.
    """
    from kinemask.cli.server import gateway
    from kinemask.errors import FailedPreconditionError, UnimplementedError

    with gateway(server, ("faces",), debug=debug) as client:
        try:
            yield client
        except UnimplementedError as error:
            raise CommandError(
                f"this gateway has no faces service: {error.message}",
                hint="kinemask engines shows which services are there",
            ) from error
        except FailedPreconditionError as error:
            if error.reason != "NO_GALLERIES":
                raise
            raise CommandError(error.message) from error
