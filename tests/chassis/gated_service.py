"""A service with one stream whose handler does what the frames' bytes say, when a test lets it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.rpc import status_pb2
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc
from kinemask_chassis import errors
from kinemask_chassis.server import Service
from kinemask_chassis.settings import ChassisSettings
from kinemask_chassis.streams import StreamLimits, StreamPlan, StreamServer, Walk
from kinemask_chassis.streams.terms import StreamTerms

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Edit = segmenter_pb2.SegmentVideoEdit
FAILING_WALK = 99
"""A walk that comes to this frame fails."""


class Gate:
    """Lets steps through: all of them while open, otherwise as many as were let."""

    def __init__(self) -> None:
        self.open = True
        self.waiting = 0
        self._permits = asyncio.Semaphore(0)

    def shut(self) -> None:
        self.open = False

    def let(self, steps: int) -> None:
        for _ in range(steps):
            self._permits.release()

    def release_all(self) -> None:
        self.open = True
        self.let(self.waiting)

    async def __call__(self) -> None:
        if self.open:
            return
        self.waiting += 1
        try:
            await self._permits.acquire()
        finally:
            self.waiting -= 1


class GatedWalk:
    """Names the frames from the edit's to the one it asks for, when a test lets it."""

    def __init__(self, gate: Gate, edit: Edit, frame_id: int) -> None:
        self._gate = gate
        self._edit_id = edit.edit_id
        step = 1 if edit.propagate.to_frame_id >= frame_id else -1
        self._left = list(range(frame_id, edit.propagate.to_frame_id + step, step))

    async def step(self) -> segmenter_pb2.PropagatedResult | None:
        if not self._left:
            return None
        await self._gate()
        frame_id = self._left.pop(0)
        if frame_id == FAILING_WALK:
            raise errors.not_found(f"frame {frame_id} is not retained", reason="FRAME_GONE")
        return segmenter_pb2.PropagatedResult(
            edit_id=self._edit_id,
            result=segmenter_pb2.SegmentVideoResult(frame_id=frame_id),
            last=not self._left,
        )

    def ended(self, status: status_pb2.Status) -> segmenter_pb2.PropagatedResult:
        return segmenter_pb2.PropagatedResult(edit_id=self._edit_id, last=True, status=status)


class GatedHandler:
    """Counts steps and edits, and puts both into every result: width and height."""

    def __init__(
        self, gate: Gate, walk_gate: Gate, state: bytes, depth: int, payload_bytes: int
    ) -> None:
        self._gate = gate
        self._walk_gate = walk_gate
        self._payload = b"\1" * payload_bytes
        self.depth = depth
        self.closed = 0
        counts: list[int] = json.loads(state) if state else [0, 0]
        self.steps, self.edits = counts

    async def prepare(self, frame: media_pb2.Frame) -> str:
        text = frame.image.encoded.decode()
        if text == "bad":
            raise errors.invalid("frame.image", "not a picture", reason="IMAGE_UNDECODABLE")
        return text

    async def step(self, frame: media_pb2.Frame, prepared: str) -> tuple[str, int, int]:
        await self._gate()
        if prepared == "fail in step":
            raise errors.failed_precondition("as asked", reason="ASKED_FOR")
        if prepared == "bug in step":
            raise RuntimeError("the secret is xyzzy")
        self.steps += 1
        return prepared, self.steps, self.edits

    async def finish(
        self, frame: media_pb2.Frame, raw: tuple[str, int, int]
    ) -> segmenter_pb2.SegmentVideoResult:
        text, steps, edits = raw
        if text == "fail in finish":
            raise errors.failed_precondition("as asked", reason="ASKED_FOR")
        mask = media_pb2.Mask(width=1, height=1, bits=self._payload)
        return segmenter_pb2.SegmentVideoResult(
            frame_id=frame.frame_id,
            capture_time_us=frame.capture_time_us,
            objects=[segmenter_pb2.ObjectMask(mask=mask)] if self._payload else [],
            width=steps,
            height=edits,
        )

    async def apply(self, edit: Edit, frame_id: int, prepared: str | None) -> int | Walk:
        if edit.HasField("propagate"):
            return GatedWalk(self._walk_gate, edit, frame_id)
        if prepared is None and frame_id < self.steps - 2:
            raise errors.not_found(f"frame {frame_id} is not retained", reason="FRAME_GONE")
        self.edits += 1
        return edit.remove.object_id or edit.prompt.object_id

    async def snapshot(self) -> bytes:
        return json.dumps([self.steps, self.edits]).encode()

    async def close(self) -> None:
        self.closed += 1


class _Rpcs(segmenter_pb2_grpc.SegmenterServiceServicer):
    """The stream rpc; the others stay as they were generated."""

    def __init__(self, serve: Callable[[AsyncIterator[Any], Context], Awaitable[None]]) -> None:
        self._serve = serve

    async def SegmentVideo(  # type: ignore[override]  # the stubs know no handler that writes through its context
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> None:
        await self._serve(request_iterator, context)


class GatedService(Service[ChassisSettings]):
    """One stream rpc, over `GatedHandler`s that a test can look at."""

    name = "gated"
    rpc_services = ("kinemask.v1.SegmenterService",)

    def __init__(
        self, settings: ChassisSettings, *, depth: int = 2, payload_bytes: int = 0
    ) -> None:
        super().__init__(settings)
        self.gate = Gate()
        self.walk_gate = Gate()
        self.handlers: list[GatedHandler] = []
        self.streams = StreamServer(StreamLimits.of(settings))
        self._depth = depth
        self._payload_bytes = payload_bytes

    def register(self, server: grpc.aio.Server) -> None:
        rpcs = _Rpcs(self._serve)  # type: ignore[abstract]  # one rpc is enough here
        segmenter_pb2_grpc.add_SegmenterServiceServicer_to_server(rpcs, server)

    async def on_drain(self, grace_s: float) -> None:
        await self.streams.drain(grace_s)

    async def _serve(self, request_iterator: AsyncIterator[Any], context: Context) -> None:
        await self.streams.serve(
            "SegmentVideo",
            request_iterator,
            context.write,
            segmenter_pb2.SegmentVideoResponse,
            self._open,
            self.metrics.frames("SegmentVideo"),
        )

    async def _open(
        self, config: segmenter_pb2.SegmentVideoConfig, terms: StreamTerms
    ) -> StreamPlan[media_pb2.Frame, Edit, str, tuple[str, int, int]]:
        if config.model not in ("", "gated"):
            raise errors.not_found(f"no model {config.model!r}", reason="UNKNOWN_MODEL")
        handler = GatedHandler(
            self.gate, self.walk_gate, terms.state, self._depth, self._payload_bytes
        )
        self.handlers.append(handler)
        effective = segmenter_pb2.SegmentVideoConfig(model="gated")
        terms.fill_in(effective.stream)
        started = segmenter_pb2.SegmentVideoStarted(config=effective)
        return StreamPlan(handler, started, media_pb2.ServiceInfo(service=self.name))

    def counted(self, outcome: str) -> float:
        """Frames that the metrics have counted: received, answered, failed, dropped."""
        labels = {"rpc": "SegmentVideo", "outcome": outcome}
        return self.metrics.registry.get_sample_value("kinemask_frames_total", labels) or 0.0
