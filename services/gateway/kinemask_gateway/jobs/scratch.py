"""Files that a job makes on its worker before they go into the object store."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from kinemask.video import VideoError
from kinemask_chassis.errors import ServiceError

from kinemask_gateway.jobs.body import JobContext, JobFailedError
from kinemask_gateway.storage.objects import disk_full
from kinemask_gateway.tracks.reader import TracksDamagedError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@asynccontextmanager
async def scratch_folder(data_dir: Path, context: JobContext) -> AsyncIterator[Path]:
    """An empty folder for one attempt, removed at the end; what killed attempts left goes first.

    Raises:
        ServiceError: RESOURCE_EXHAUSTED: the disk is full.
    """
    base = data_dir / "scratch"
    folder = base / f"{context.job_id}.{context.attempt}"
    with told():
        await asyncio.to_thread(_made, base, folder, context.job_id)
    try:
        yield folder
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


@contextmanager
def told() -> Iterator[None]:
    """Failures of files, videos and tracks as what a client is told.

    Raises:
        ServiceError: RESOURCE_EXHAUSTED (DISK_FULL), DATA_LOSS (TRACKS_DAMAGED).
        JobFailedError: the video cannot be read or written.
    """
    try:
        yield
    except ServiceError:
        raise
    except TracksDamagedError as error:
        raise data_loss(error) from error
    except (VideoError, OSError) as error:
        cause = error.__cause__ if isinstance(error, VideoError) else error
        if isinstance(cause, OSError) and cause.errno in _FULL:
            raise disk_full("the worker's disk is full; nothing was written") from error
        if isinstance(error, OSError):
            raise
        raise JobFailedError(str(error), reason="VIDEO_UNUSABLE") from error


def data_loss(error: TracksDamagedError) -> ServiceError:
    """DATA_LOSS: stored tracks are gone or not what was written."""
    from kinemask_chassis import errors

    return errors.data_loss(str(error), reason="TRACKS_DAMAGED")


def _made(base: Path, folder: Path, job_id: str) -> None:
    base.mkdir(parents=True, exist_ok=True)
    for left in base.glob(f"{job_id}.*"):
        shutil.rmtree(left, ignore_errors=True)
    folder.mkdir()
