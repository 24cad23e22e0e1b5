"""One render: chunks dealt to lanes, each stored when it is done, joined at the end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import cv2
from kinemask.video import encoder_parameters

from kinemask_gateway.jobs import records
from kinemask_gateway.jobs.body import JobContext, JobPhase
from kinemask_gateway.rendering.coverage import Coverage
from kinemask_gateway.rendering.joining import join
from kinemask_gateway.rendering.lane import Lane, RenderedChunk, Source
from kinemask_gateway.rendering.plan import Shares, plan_chunks
from kinemask_gateway.storage import ObjectMissingError

Args = ParamSpec("Args")
Result = TypeVar("Result")

_TELL_EVERY_S = 0.25
_DRAWN_SHARE = 0.95
"""Of a render's time, until all chunks are there."""


class Render:
    """Draws, encodes and joins. A chunk that a checkpoint names is not made again."""

    def __init__(self, context: JobContext, source: Source, lanes: int) -> None:
        # Lanes are the threads; OpenCV's own would take the cores from them, busy waiting.
        cv2.setNumThreads(1)
        self._context = context
        self._source = source
        span = source.span
        self._chunks = plan_chunks(span.first, span.last, source.index.keyframes)
        self._keys: dict[int, str] = {}
        self._lanes = [Lane(source) for _ in range(min(lanes, len(self._chunks)))]
        self._threads = ThreadPoolExecutor(max(lanes, 1), "render")
        self._saving = asyncio.Lock()
        self._kept_frames = 0
        self._made_by = ""
        self._over = threading.Event()

    async def run(self, target: Path, with_audio: bool) -> Coverage:
        """Write the render to `target`; how all objects are covered.

        Raises:
            VideoError, TracksDamagedError, ServiceError, JobLostError: it cannot be done.
        """
        try:
            await self._load()
            shares = Shares(self._chunks, self._keys, self._source.index.keyframes)
            await self._told(*(self._work(lane, shares) for lane in self._lanes))
            return await self._joined(target, with_audio)
        finally:
            # Threads look at it between two frames; nobody wants what they are at.
            self._over.set()
            await asyncio.shield(asyncio.to_thread(self._close))

    async def _work(self, lane: Lane, shares: Shares) -> None:
        number = shares.take(None)
        while number is not None:
            chunk = await self._in_thread(lane.render, self._chunks[number], self._is_stopped)
            await self._keep(number, chunk)
            number = shares.take(number)

    async def _keep(self, number: int, chunk: RenderedChunk) -> None:
        blob = await self._in_thread(chunk.to_bytes)
        # Below what goes with the checkpoints when the job is over.
        base = f"{records.below(self._context.job_id)}/checkpoints/chunks"
        key = f"{base}/{self._context.attempt}-{number:06d}"
        await self._context.store.put(key, blob)
        async with self._saving:
            self._keys[number] = key
            frames = sum(self._chunks[done].frame_count for done in self._keys)
            told = {"made_by": self._made_by, "keys": self._keys}
            await self._context.save_checkpoint(json.dumps(told).encode(), frames=frames)

    async def _load(self) -> None:
        """Take over what earlier attempts have encoded, if their encoder was like this one."""
        self._made_by = await self._in_thread(self._fingerprint)
        saved = await self._context.load_checkpoint()
        told = json.loads(saved.payload) if saved else {}
        if told.get("made_by") == self._made_by:
            self._keys = {int(number): key for number, key in told["keys"].items()}
        self._kept_frames = sum(self._chunks[number].frame_count for number in self._keys)

    async def _joined(self, target: Path, with_audio: bool) -> Coverage:
        total = self._source.span.frame_count
        await self._context.progress(JobPhase.WRITE, 0, total, fraction=_DRAWN_SHARE)
        keys = [self._keys[number] for number in range(len(self._chunks))]
        try:
            return await self._in_thread(
                join,
                target,
                self._source,
                keys,
                self._context.store.blocking,
                with_audio,
                self._is_stopped,
            )
        except ObjectMissingError as error:
            raise records.JobLostError("another attempt has tidied up") from error

    async def _told(self, *work: Coroutine[None, None, None]) -> None:
        """Do all of it, saying how far it is; the first failure ends the rest."""
        tasks = [asyncio.create_task(one) for one in (*work, self._tell())]
        try:
            doing = asyncio.gather(*tasks[:-1])
            await asyncio.wait((doing, tasks[-1]), return_when=asyncio.FIRST_COMPLETED)
            if tasks[-1].done():
                tasks[-1].result()  # it ends by an error alone
            await doing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self) -> None:
        total = self._source.span.frame_count
        while True:
            done = self._kept_frames + sum(lane.frames_done for lane in self._lanes)
            fraction = _DRAWN_SHARE * done / total
            await self._context.progress(JobPhase.RENDER, done, total, fraction=fraction)
            await asyncio.sleep(_TELL_EVERY_S)

    def _fingerprint(self) -> str:
        """The same for attempts whose chunks may be joined."""
        plan = repr([(chunk.first, chunk.last) for chunk in self._chunks]).encode()
        parameters = encoder_parameters(self._source.settings)
        return hashlib.sha256(parameters + plan).hexdigest()

    def _is_stopped(self) -> bool:
        return self._over.is_set() or self._context.stopped.is_set()

    async def _in_thread(
        self, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def _close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for lane in self._lanes:
            lane.close()
