"""How a stage fails: for now, and with a reason the client is told."""

from __future__ import annotations

import grpc
from kinemask_chassis import errors


class StageDown(Exception):
    """The stage cannot serve now; `error` says why."""

    def __init__(self, error: errors.ServiceError) -> None:
        super().__init__(error.message)
        self.error = error


def brief(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
