"""One SegmentVideo stream: an engine's stream behind the stream contract."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

import numpy as np
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors
from kinemask_chassis.media import decode_image
from kinemask_chassis.snapshots import pack, unpack
from kinemask_chassis.streams import Walk

from kinemask_segmenter.edits import StreamEdits
from kinemask_segmenter.engines.base import SegmenterEngine, StreamOptions
from kinemask_segmenter.messages import result_to_message
from kinemask_segmenter.opened import Opened
from kinemask_segmenter.threads import OffLoop

_STATE = ("segmenter stream", 1)
_DEPTH = 3
"""One frame is prepared, one stepped and one finished at a time."""


class SegmentHandler:
    """A `StreamHandler`; see there for who calls what when.

    The first frame that can be decoded gives the stream its size.
    """

    def __init__(
        self,
        engine: SegmenterEngine,
        options: StreamOptions,
        executor: Executor,
        *,
        max_pixels: int,
        max_objects: int,
        encoding: media_pb2.MaskEncoding.ValueType,
    ) -> None:
        self._engine = engine
        self._options = options
        self._off_loop = OffLoop(executor)
        self._max_pixels = max_pixels
        self._encoding = encoding
        self._edits = StreamEdits(engine.info, self._off_loop, max_objects, encoding)
        self._opening = asyncio.Lock()
        self._opened: Opened | None = None

    @property
    def depth(self) -> int:
        return _DEPTH

    async def restore(self, state: bytes) -> None:
        """Go on from what `snapshot` gave, before the first frame.

        Raises:
            ServiceError: DATA_LOSS: it is damaged, or was made by another engine.
        """
        try:
            facts = unpack(state, *_STATE)
            height, width = facts.arrays["size"].tolist()
            blob = facts.arrays["engine"].tobytes()
            await self._open(height, width, blob)
        except (KeyError, TypeError, ValueError) as error:
            raise errors.data_loss(
                f"resume_token: {error}", reason="RESUME_TOKEN_DAMAGED"
            ) from error

    # --- frames

    async def prepare(self, frame: media_pb2.Frame) -> object:
        """Decode and prepare in a thread.

        Raises:
            ServiceError: INVALID_ARGUMENT: undecodable, too large, or of another size than the
                stream's first frame (reason FRAME_SIZE).
        """
        # The lock is fair: the earliest frame that can be decoded decides the size.
        async with self._opening:
            if self._opened is None:
                image = await self._off_loop.run(self._decode, frame)
                opened = await self._open(image.shape[0], image.shape[1], None)
                return await self._off_loop.run(opened.stream.prepare, image)
            opened = self._opened
        return await self._off_loop.run(self._decode_and_prepare, frame, opened)

    async def step(self, frame: media_pb2.Frame, prepared: object) -> object:
        """Every followed object on this frame, the prompts applied for it first."""
        prompts = self._edits.take_staged()
        opened = self._stream(frame.frame_id)
        step = opened.stream.step(frame.frame_id, prepared, prompts)
        raw: object = await self._off_loop.to_the_end(step)
        opened.stepped(frame.frame_id, frame.capture_time_us)
        return raw

    async def finish(self, frame: media_pb2.Frame, raw: object) -> segmenter_pb2.SegmentVideoResult:
        """Masks at the frame's size, encoded, in a thread."""
        return await self._off_loop.run(self._encode, frame, raw, self._stream(frame.frame_id))

    # --- edits

    async def apply(
        self, edit: segmenter_pb2.SegmentVideoEdit, frame_id: int, prepared: object | None
    ) -> int | Walk:
        """Prompt an object, forget one or some of its prompts, or go over retained frames.

        Raises:
            ServiceError: INVALID_ARGUMENT (the prompt), NOT_FOUND (frame gone, no such object,
                nothing to clear), FAILED_PRECONDITION (nothing to propagate), RESOURCE_EXHAUSTED
                (too many objects), UNIMPLEMENTED (the engine cannot).
        """
        opened = self._stream(frame_id)
        return await self._edits.apply(opened, edit, frame_id, on_time=prepared is not None)

    # --- life

    async def snapshot(self) -> bytes:
        """The engine's state and the frames' size."""
        opened = self._stream(0)
        blob = await self._off_loop.to_the_end(opened.stream.snapshot())
        size = np.array([opened.height, opened.width], np.int64)
        # The engine's own blob is compressed already.
        return pack(*_STATE, {}, {"size": size, "engine": np.frombuffer(blob, np.uint8)}, level=0)

    async def close(self) -> None:
        """Free the engine's stream, once no thread works on it any more; does not wait for that."""
        opened, self._opened = self._opened, None
        self._off_loop.close(opened.stream.close if opened is not None else _nothing)

    async def _open(self, height: int, width: int, blob: bytes | None) -> Opened:
        stream = await self._off_loop.run(
            self._engine.open_stream, height, width, blob, self._options
        )
        self._opened = Opened(stream, height, width, self._window)
        return self._opened

    @property
    def _window(self) -> int:
        return self._options.retained_frames or self._engine.info.retained_frames

    def _stream(self, frame_id: int) -> Opened:
        if self._opened is None:
            raise errors.not_found(
                f"frame {frame_id} is not retained; frames that can be prompted: none",
                reason="FRAME_GONE",
                retained="none",
                window=str(self._window),
            )
        return self._opened

    # --- in threads

    def _decode(self, frame: media_pb2.Frame) -> wire.RgbImage:
        return decode_image(frame.image, self._max_pixels, "frame.image")

    def _decode_and_prepare(self, frame: media_pb2.Frame, opened: Opened) -> object:
        image = self._decode(frame)
        height, width = image.shape[:2]
        if (height, width) != (opened.height, opened.width):
            raise errors.invalid(
                "frame.image",
                f"expected {opened.width}x{opened.height} as the stream's first frame, "
                f"found {width}x{height}",
                reason="FRAME_SIZE",
            )
        return opened.stream.prepare(image)

    def _encode(
        self, frame: media_pb2.Frame, raw: object, opened: Opened
    ) -> segmenter_pb2.SegmentVideoResult:
        return result_to_message(frame, opened.size, opened.stream.finish(raw), self._encoding)


def _nothing() -> None:
    return
