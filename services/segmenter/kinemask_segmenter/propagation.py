"""A propagation: retained frames gone over once more, told frame by frame."""

from __future__ import annotations

import time
from typing import Any

from google.rpc import status_pb2
from kinemask.v1 import media_pb2, segmenter_pb2

from kinemask_segmenter.engines.base import FrameGoneError
from kinemask_segmenter.engines.walking import StreamWalk, Walking
from kinemask_segmenter.messages import result_to_message
from kinemask_segmenter.opened import Opened, frame_gone
from kinemask_segmenter.threads import OffLoop

Step = segmenter_pb2.PropagatedResult


class Propagation:
    """A chassis `Walk`. Its frames are looked up, and held from then on, when its turn comes."""

    def __init__(
        self,
        opened: Opened,
        edit: segmenter_pb2.SegmentVideoEdit,
        frame_id: int,
        off_loop: OffLoop,
        encoding: media_pb2.MaskEncoding.ValueType,
    ) -> None:
        """`edit` is about frame `frame_id`, and its action is `propagate`."""
        self._opened = opened
        self._edit_id = edit.edit_id
        self._asked = edit.propagate
        self._frame_id = frame_id
        self._off_loop = off_loop
        self._encoding = encoding
        self._walk: StreamWalk | None = None
        self._captured_us: dict[int, int] = {}
        self._done = 0

    async def step(self) -> Step | None:
        """The next frame's masks.

        Raises:
            ServiceError: NOT_FOUND: a frame has gone while others were gone over.
        """
        begun_s = time.monotonic()
        walk = self._begun()
        if self._done == len(walk.frame_ids):
            return None
        frame_id = walk.frame_ids[self._done]
        try:
            raw = await self._off_loop.to_the_end(walk.step())
        except FrameGoneError as error:
            raise frame_gone(error, self._opened.window) from error
        self._done += 1
        inferred_s = time.monotonic()
        result = await self._off_loop.run(self._encoded, frame_id, raw)
        result.timing.infer_ms = (inferred_s - begun_s) * 1e3
        result.timing.encode_ms = (time.monotonic() - inferred_s) * 1e3
        last = self._done == len(walk.frame_ids)
        return Step(edit_id=self._edit_id, result=result, last=last)

    def ended(self, status: status_pb2.Status) -> Step:
        """The last word of one that did not get there."""
        return Step(edit_id=self._edit_id, last=True, status=status)

    def _begun(self) -> StreamWalk:
        if self._walk is None:
            stream = self._opened.stream
            assert isinstance(stream, Walking), "checked when it was asked for"
            try:
                self._walk = stream.walk(
                    self._frame_id, self._asked.to_frame_id, self._asked.object_ids
                )
            except FrameGoneError as error:
                raise frame_gone(error, self._opened.window) from error
            self._captured_us = dict(self._opened.captured_us)
        return self._walk

    def _encoded(self, frame_id: int, raw: Any) -> segmenter_pb2.SegmentVideoResult:
        frame = media_pb2.Frame(
            frame_id=frame_id, capture_time_us=self._captured_us.get(frame_id, 0)
        )
        found = self._opened.stream.finish(raw)
        return result_to_message(frame, self._opened.size, found, self._encoding)
