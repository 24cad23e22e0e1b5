"""The library as the rest of the gateway and its workers see it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import grpc
from kinemask.video import FrameIndex, IndexedReader, VideoFrame
from kinemask_chassis import errors
from kinemask_chassis.device import DeviceThread
from kinemask_chassis.errors import ServiceError

from kinemask_gateway.library import answers, loose, records
from kinemask_gateway.library.admission import Admission, Candidate
from kinemask_gateway.library.facts import Video, VideoFacts, VideoKeys, below
from kinemask_gateway.library.inspection import inspect
from kinemask_gateway.library.pictures import read_frame
from kinemask_gateway.library.sql import Connects
from kinemask_gateway.library.uploads import Upload, UploadLimits, Uploads
from kinemask_gateway.storage import ObjectMissingError, ObjectStore

Args = ParamSpec("Args")
Result = TypeVar("Result")

_INDICES_HELD = 64
_DECODING_THREADS = 2
_RETRY_PROBE_S = 5.0
_LOOSE_FOR_S = 24 * 3600.0


@dataclass(frozen=True)
class StoredVideo:
    """A video with its bytes at hand."""

    video: Video
    path: Path
    """The file; not to be changed."""
    index: FrameIndex

    def reader(
        self, *, prefetch_frames: int = 4, exact_color: bool = False, conceal: bool = True
    ) -> IndexedReader:
        """Frames from anywhere in it. By default frames with errors are given as they decode."""
        return IndexedReader(
            self.path,
            self.index,
            max_pixels=2**31,  # it was checked when it came in
            prefetch_frames=prefetch_frames,
            exact_color=exact_color,
            conceal=conceal,
        )


class Library:
    """Stored videos: facts in Postgres, bytes in the object store."""

    def __init__(
        self, database: Connects, store: ObjectStore, limits: UploadLimits, max_pixels: int
    ) -> None:
        self.database = database
        self.store = store
        self.uploads = Uploads(database, store, limits)
        self._max_pixels = max_pixels
        self._decoding = DeviceThread("library-decode", _DECODING_THREADS)
        self.admission = Admission(database, store, self._decoding, max_pixels)
        self._probing = asyncio.Semaphore(1)
        self._indices: OrderedDict[str, FrameIndex] = OrderedDict()

    async def get(self, video_id: str) -> Video:
        """One video.

        Raises:
            ServiceError: NOT_FOUND.
        """
        async with self.database.connection() as connection:
            return await records.get(connection, video_id)

    @asynccontextmanager
    async def open(self, video_id: str) -> AsyncIterator[StoredVideo]:
        """A video to be read from, for as long as the block lasts.

        If it is deleted meanwhile, what was opened before can be read on.

        Raises:
            ServiceError: NOT_FOUND.
        """
        video = await self.get(video_id)
        try:
            index = await self._index(video)
            async with self.store.local(video.keys.source) as path:
                yield StoredVideo(video, path, index)
        except ObjectMissingError as error:
            raise records.no_video(video_id) from error

    async def frame(self, video_id: str, number: int) -> VideoFrame:
        """One frame.

        Raises:
            ServiceError: NOT_FOUND, OUT_OF_RANGE, or DATA_LOSS (FRAME_DAMAGED).
        """
        async with self.open(video_id) as stored:
            check_frame(number, stored.index)
            try:
                return await self.in_thread(
                    read_frame, stored.path, stored.index, number, self._max_pixels
                )
            except ServiceError:
                await self.get(video_id)  # NOT_FOUND, if it was deleted meanwhile
                raise

    async def in_thread(
        self, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        """Blocking work on pictures, in one of the library's few threads."""
        return await self._decoding.run(work, *args, **kwargs)

    async def random_frame(self, video_id: str, seed: int | None) -> int:
        """Any frame that is not damaged; the same one for the same seed."""
        video = await self.get(video_id)
        chosen = random.Random(None if seed is None else f"{video_id}:{seed}")
        damaged = {
            number
            for span in video.facts.damage
            for number in range(span.first_frame_index, span.last_frame_index + 1)
        }
        sound = video.facts.frame_count - len(damaged)
        if sound <= 0:
            raise errors.data_loss("every frame is damaged", reason="FRAME_DAMAGED")
        while (number := chosen.randrange(video.facts.frame_count)) in damaged:
            continue
        return number

    async def frame_at(self, video_id: str, time_us: int) -> int:
        """The frame that is shown at a time.

        Raises:
            ServiceError: NOT_FOUND, or OUT_OF_RANGE.
        """
        index = await self._index(await self.get(video_id))
        number = index.frame_at(time_us)
        if number is None:
            last = index.frame_count - 1
            what = f"the last frame, {last}, is shown until {index.duration_us - 1} us"
            raise out_of_range(f"expected a time within the video: {what}, got {time_us}")
        return number

    async def time_us(self, video_id: str, number: int) -> int:
        """When a frame is shown."""
        return (await self._index(await self.get(video_id))).time_us(number)

    async def probe(self, video_id: str) -> VideoFacts:
        """Decode a whole video and keep what was found.

        Raises:
            ServiceError: NOT_FOUND, or RESOURCE_EXHAUSTED: another probe runs here.
        """
        if self._probing.locked():
            what = "another video is being looked through; try again"
            raise errors.exhausted(what, "TOO_MANY_PROBES", _RETRY_PROBE_S)
        stopped = threading.Event()
        async with self._probing, self.open(video_id) as stored:
            try:
                found = await self.in_thread(
                    inspect,
                    stored.path,
                    max_pixels=self._max_pixels,
                    salvage=True,
                    whole=True,
                    stopped=stopped,
                )
            finally:
                stopped.set()  # a client that has gone waits for nothing
        # The frames keep their numbers: jobs and sessions name them.
        facts = replace(found.facts, frame_count=stored.index.frame_count)
        async with self.database.connection() as connection:
            await records.get(connection, video_id, lock=True)
            await records.set_facts(connection, video_id, facts)
        return facts

    async def add_file(
        self, path: Path, file_name: str, display_name: str, source_job_id: str, owner_id: str = ""
    ) -> Candidate:
        """Store a file that is here as a video without a row yet: `records.add` gives it one.

        Then, in the same transaction, `loose.claim(connection, candidate.prefix)`.
        """
        size = (await asyncio.to_thread(path.stat)).st_size
        described = Upload(
            "", file_name, size, size, "", display_name, "{}", owner_id, datetime.now(UTC)
        )
        made = await self.admission.of_file(path, described)
        return replace(made, video=replace(made.video, source_job_id=source_job_id))

    async def remove_objects(self, video_id: str) -> None:
        """Delete the bytes of a video whose row has gone."""
        self._indices.pop(video_id, None)
        await loose.remove(self.database, self.store, below(video_id))

    async def sweep(self) -> None:
        """Remove lapsed uploads, what killed processes left, and old answers."""
        await self.uploads.sweep()
        await loose.sweep(self.database, self.store, _LOOSE_FOR_S)
        async with self.database.connection() as connection:
            await answers.forget_old(connection)

    async def close(self) -> None:
        """End the threads."""
        await self._decoding.close()

    async def _index(self, video: Video) -> FrameIndex:
        held = self._indices.get(video.video_id)
        if held is None:
            key = VideoKeys.of(video.video_id, video.file.file_name).index
            try:
                held = FrameIndex.from_bytes(await self.store.get(key))
            except ObjectMissingError as error:
                raise records.no_video(video.video_id) from error
            self._indices[video.video_id] = held
            while len(self._indices) > _INDICES_HELD:
                self._indices.popitem(last=False)
        self._indices.move_to_end(video.video_id)
        return held


def check_frame(number: int, index: FrameIndex) -> None:
    """Raises ServiceError OUT_OF_RANGE for a frame that is not there."""
    if not 0 <= number < index.frame_count:
        last = index.frame_count - 1
        raise out_of_range(f"expected a frame from 0 to {last}, got {number}")


def out_of_range(what: str) -> errors.ServiceError:
    """OUT_OF_RANGE: there is no such frame."""
    return errors.ServiceError(grpc.StatusCode.OUT_OF_RANGE, what, reason="NO_SUCH_FRAME")
