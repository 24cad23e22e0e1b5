"""One SegmentVideo stream: an engine's stream behind the stream contract."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors
from kinemask_chassis.media import decode_image
from kinemask_chassis.snapshots import pack, unpack

from kinemask_segmenter.engines.base import (
    AnyStream,
    FrameGoneError,
    Prompt,
    SegmenterEngine,
    StreamOptions,
)
from kinemask_segmenter.messages import prompt_from_message, result_to_message
from kinemask_segmenter.threads import OffLoop

_STATE = ("segmenter stream", 1)
_DEPTH = 3
"""One frame is prepared, one stepped and one finished at a time."""


@dataclass(frozen=True)
class _Opened:
    """The engine's stream and the size of its frames."""

    stream: AnyStream
    height: int
    width: int


class SegmentHandler:
    """A `StreamHandler`; see there for who calls what when.

    The first frame that can be decoded gives the stream its size. Invariant: `_staged` holds the
    prompts applied for the frame that is about to be stepped, and nothing between frames.
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
        self._max_objects = max_objects
        self._encoding = encoding
        self._opening = asyncio.Lock()
        self._opened: _Opened | None = None
        self._staged: list[Prompt] = []

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
        prompts, self._staged = self._staged, []
        stream = self._stream(frame.frame_id).stream
        return await self._off_loop.to_the_end(stream.step(frame.frame_id, prepared, prompts))

    async def finish(self, frame: media_pb2.Frame, raw: object) -> segmenter_pb2.SegmentVideoResult:
        """Masks at the frame's size, encoded, in a thread."""
        return await self._off_loop.run(self._encode, frame, raw, self._stream(frame.frame_id))

    # --- edits

    async def apply(
        self, edit: segmenter_pb2.SegmentVideoEdit, frame_id: int, prepared: object | None
    ) -> int:
        """Prompt an object or forget one; returns its id.

        Raises:
            ServiceError: INVALID_ARGUMENT (the prompt), NOT_FOUND (frame gone, no such object),
                RESOURCE_EXHAUSTED (too many objects), UNIMPLEMENTED (the engine cannot).
        """
        action = edit.WhichOneof("action")
        if action == "prompt":
            return await self._prompt(edit.prompt, frame_id, prepared is not None)
        if action == "remove":
            return self._forget(edit.remove.object_id, frame_id)
        if action == "clear":
            return self._forget(edit.clear.object_id, frame_id)
        raise errors.unimplemented(
            f"the {self._engine.info.name} engine cannot {action}; it can prompt, remove and clear",
            reason="ACTION_UNSUPPORTED",
        )

    async def _prompt(
        self, message: segmenter_pb2.ObjectPrompt, frame_id: int, on_time: bool
    ) -> int:
        opened = self._stream(frame_id)
        self._check_object(message.object_id, opened)
        size = opened.height, opened.width
        prompt = await self._off_loop.run(prompt_from_message, message, *size)
        if on_time:
            self._staged.append(prompt)
        else:
            await self._prompt_late(opened, frame_id, prompt)
        return prompt.object_id

    async def _prompt_late(self, opened: _Opened, frame_id: int, prompt: Prompt) -> None:
        try:
            await self._off_loop.to_the_end(opened.stream.prompt_late(frame_id, [prompt]))
        except FrameGoneError as error:
            retained = f"{error.retained[0]}..{error.retained[-1]}" if error.retained else "none"
            raise errors.not_found(str(error), reason="FRAME_GONE", retained=retained) from error

    def _check_object(self, object_id: int, opened: _Opened) -> None:
        if object_id < 1:
            raise errors.invalid(
                "prompt.object_id",
                "expected at least 1, found 0: only a live stream of the gateway picks ids",
            )
        known = self._known(opened)
        if object_id not in known and len(known) >= self._max_objects:
            raise errors.exhausted(
                f"{self._max_objects} objects are followed; expected no more than that",
                reason="TOO_MANY_OBJECTS",
            )

    def _forget(self, object_id: int, frame_id: int) -> int:
        opened = self._stream(frame_id)
        if object_id not in self._known(opened):
            raise errors.not_found(f"no object {object_id} is followed", reason="UNKNOWN_OBJECT")
        self._staged = [prompt for prompt in self._staged if prompt.object_id != object_id]
        opened.stream.remove(object_id)
        return object_id

    def _known(self, opened: _Opened) -> set[int]:
        return {*opened.stream.object_ids(), *(prompt.object_id for prompt in self._staged)}

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

    async def _open(self, height: int, width: int, blob: bytes | None) -> _Opened:
        stream = await self._off_loop.run(
            self._engine.open_stream, height, width, blob, self._options
        )
        self._opened = _Opened(stream, height, width)
        return self._opened

    def _stream(self, frame_id: int) -> _Opened:
        if self._opened is None:
            raise errors.not_found(
                f"frame {frame_id} is not retained; frames that can be prompted: none",
                reason="FRAME_GONE",
                retained="none",
            )
        return self._opened

    # --- in threads

    def _decode(self, frame: media_pb2.Frame) -> wire.RgbImage:
        return decode_image(frame.image, self._max_pixels, "frame.image")

    def _decode_and_prepare(self, frame: media_pb2.Frame, opened: _Opened) -> object:
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
        self, frame: media_pb2.Frame, raw: object, opened: _Opened
    ) -> segmenter_pb2.SegmentVideoResult:
        size = opened.height, opened.width
        return result_to_message(frame, size, opened.stream.finish(raw), self._encoding)


def _nothing() -> None:
    return
