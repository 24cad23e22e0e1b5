"""How far a propagation is, for everybody who follows it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import media_pb2

from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations.followers import Followers
from kinemask_gateway.annotations.storing import entries
from kinemask_gateway.annotations.walk import Walked
from kinemask_gateway.following.frames import FrameSource
from kinemask_gateway.jobs.body import JobPhase
from kinemask_gateway.jobs.context import Rate
from kinemask_gateway.tracks.messages import Size

_TELL_EVERY_S = 0.9


class Telling:
    """Counts what is done, and says it."""

    def __init__(
        self, request: pb.PropagateRequest, size: Size, propagation_id: int, total_frames: int
    ) -> None:
        self.followers = Followers()
        self.done_frames = 0
        self.times: FrameSource | None = None
        """Knows when frames are shown; there before the first is told of."""
        self.service: media_pb2.ServiceInfo | None = None
        """Who segments, once that is known; told once."""
        self.waits = True
        """Whether a follower that has no room is waited for; if not, it misses what is told."""
        self._request = request
        self._size = size
        self._propagation_id = propagation_id
        self._total_frames = total_frames
        self._rate = Rate()
        self._last_frame = 0
        self._told_s = time.monotonic()
        self._service_told = False

    async def stored(self, walked: Sequence[Walked]) -> None:
        """Tell of frames whose masks are in force now: each, if masks are wanted."""
        if not walked:
            return
        first = self.done_frames
        self.done_frames += len(walked)
        self._last_frame = walked[-1].step.frame_index
        fraction = self.done_frames / self._total_frames
        self._rate.add(time.monotonic(), JobPhase.FOLLOW, self.done_frames, fraction)
        if self._request.include_masks:
            for number, one in enumerate(walked, first + 1):
                message = self.message(number)
                message.frame_index = one.step.frame_index
                message.frame.CopyFrom(await asyncio.to_thread(self._frame, one))
                await self._tell(message)
        else:
            await self._tell(self.message())

    async def going_on(self) -> None:
        """Give a sign of life, if nothing was told for a while and everybody has room for it."""
        if time.monotonic() - self._told_s > _TELL_EVERY_S and not self.followers.full:
            await self._tell(self.message())

    def message(self, done_frames: int | None = None) -> pb.PropagateResponse:
        """How far it is; `done_frames`: when so many were done."""
        return pb.PropagateResponse(
            propagation_id=self._propagation_id,
            done_frames=self.done_frames if done_frames is None else done_frames,
            total_frames=self._total_frames,
            frames_per_s=self._rate.frames_per_s,
            left_s=self._rate.left_s,
            frame_index=self._last_frame,
        )

    async def _tell(self, message: pb.PropagateResponse) -> None:
        if not self._service_told and self.service is not None:
            message.service.CopyFrom(self.service)
            self._service_told = True
        self._told_s = time.monotonic()
        await self.followers.tell(message, wait=self.waits)

    def _frame(self, walked: Walked) -> pb.SessionFrame:
        assert self.times is not None  # it is there before the first step
        number = walked.step.frame_index
        time_us = self.times.time_us(number)
        if walked.error is not None:
            return pb.SessionFrame(frame_index=number, time_us=time_us, error=walked.error)
        objects = say.mask_messages(entries(walked), self._size, self._request.mask_encoding)
        return say.frame_message(number, time_us, objects, stale=False)
