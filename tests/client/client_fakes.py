"""Small servers that speak the protos, for the client's tests.

Their streams carry real state (the frames stepped, the objects prompted), so that a frame or edit
that was lost, doubled or reordered on the way shows in a result.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2_grpc
from grpc_status import rpc_status
from kinemask import wire
from kinemask.v1 import (
    captioner_pb2,
    captioner_pb2_grpc,
    detector_pb2,
    detector_pb2_grpc,
    live_pb2,
    live_pb2_grpc,
    media_pb2,
    segmenter_pb2,
    segmenter_pb2_grpc,
    streams_pb2,
    tracker_pb2,
    tracker_pb2_grpc,
)

MASK = np.zeros((6, 8), np.bool_)
MASK[1:4, 2:7] = True


def rich_status(
    code: grpc.StatusCode,
    message: str,
    reason: str = "",
    retry_after_s: float | None = None,
    field_name: str = "",
) -> status_pb2.Status:
    """A status with the details that the services send."""
    status = status_pb2.Status(code=code.value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain="kinemask", metadata={"hint": "h"})
    status.details.add().Pack(info)
    if field_name:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=field_name, description=message)
        status.details.add().Pack(bad)
    if retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(int(retry_after_s * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


async def abort_with(context: Any, status: status_pb2.Status) -> None:
    """End the rpc with a status and its details."""
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)


@dataclass
class Script:
    """How one connection of a fake stream behaves."""

    window: int = 4
    refuse: status_pb2.Status | None = None
    """Ends the rpc with this instead of starting."""
    go_away_after: int | None = None
    """Leaves after so many answers, however many frames it has read."""
    abort_after: int | None = None
    """Ends the rpc with UNAVAILABLE after so many answers."""
    end_after: int | None = None
    """Ends the rpc with OK after so many answers, whatever is unanswered."""
    hold: asyncio.Event | None = None
    """No frame is answered before it is set."""
    skip: tuple[int, int] | None = None
    """Frames of this range are announced as dropped when the last of them comes."""
    bad_frames: frozenset[int] = frozenset()
    """Answered with an error in-band."""


@dataclass
class State:
    """What a stream has seen; travels in its tokens."""

    frames: list[int] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)

    def token(self) -> bytes:
        return json.dumps([self.frames, self.objects]).encode()

    @classmethod
    def of(cls, token: bytes) -> State:
        return cls(*json.loads(token)) if token else cls()


@dataclass
class Streams:
    """The scripts of the connections to come, and what was seen on all of them."""

    scripts: list[Script] = field(default_factory=list)
    connections: int = 0
    read: int = 0
    answered: int = 0
    max_unanswered: int = 0
    tokens: list[bytes] = field(default_factory=list)
    configs: list[Any] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    edits_seen: list[int] = field(default_factory=list)


class FakeStream:
    """One connection by the contract: a reader, and a worker that answers in order."""

    def __init__(self, streams: Streams, response: Any, started: Any, context: Any) -> None:
        self.streams = streams
        self.script = streams.scripts.pop(0) if streams.scripts else Script()
        self.response = response
        self.started = started
        self.context = context
        self.edits: list[Any] = []
        self.answers = 0
        self.since_snapshot = 0
        self.unanswered = 0
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def run(self, requests: Any) -> None:
        self.streams.connections += 1
        metadata = dict(self.context.invocation_metadata())
        self.streams.request_ids.append(metadata.get("x-request-id", ""))
        config = (await anext(requests)).config
        self.streams.configs.append(config)
        self.streams.tokens.append(config.stream.resume_token)
        if self.script.refuse is not None:
            await abort_with(self.context, self.script.refuse)
        self.state = State.of(config.stream.resume_token)
        self.every = config.stream.snapshot_every_n_frames
        terms = streams_pb2.StreamTerms(window=self.script.window, policy=config.stream.policy)
        terms.service.CopyFrom(media_pb2.ServiceInfo(service="fake", replica=f"r{id(self)}"))
        await self.context.write(self.response(started=self.started(config=config, terms=terms)))
        self.reader = reader = asyncio.create_task(self._read(requests))
        try:
            await self._work()
        finally:
            reader.cancel()

    async def _read(self, requests: Any) -> None:
        async for request in requests:
            if request.WhichOneof("message") == "frame":
                self.streams.read += 1
                self.unanswered += 1
                self.streams.max_unanswered = max(self.streams.max_unanswered, self.unanswered)
            self.queue.put_nowait(request)
        self.queue.put_nowait(None)

    async def _work(self) -> None:
        while (request := await self.queue.get()) is not None:
            if request.WhichOneof("message") == "edit":
                await self._edit(request.edit)
                continue
            if self.script.hold is not None:
                await self.script.hold.wait()
            await self._frame(request.frame)
            if await self._leaves():
                return

    async def _edit(self, edit: Any) -> None:
        self.streams.edits_seen.append(edit.edit_id)
        last = self.state.frames[-1] if self.state.frames else -1
        if edit.HasField("frame_id") and edit.frame_id <= last:
            await self._apply(edit, edit.frame_id)
        else:
            self.edits.append(edit)

    async def _apply(self, edit: Any, frame_id: int) -> None:
        result = streams_pb2.EditResult(edit_id=edit.edit_id, frame_id=frame_id)
        kind = "end" if isinstance(edit, tracker_pb2.TrackEdit) else edit.WhichOneof("action")
        if kind == "remove" and edit.remove.object_id not in self.state.objects:
            status = rich_status(grpc.StatusCode.NOT_FOUND, "no such object", "UNKNOWN_OBJECT")
            result.status.CopyFrom(status)
        elif kind == "remove":
            self.state.objects.remove(edit.remove.object_id)
        elif kind == "prompt":
            result.object_id = edit.prompt.object_id or 100 + len(self.state.objects)
            self.state.objects.append(result.object_id)
        await self.context.write(self.response(edit=result))
        if kind == "propagate":
            await self._propagate(edit)

    async def _propagate(self, edit: Any) -> None:
        step = 1 if edit.propagate.to_frame_id >= edit.frame_id else -1
        for frame_id in range(edit.frame_id, edit.propagate.to_frame_id + step, step):
            message = segmenter_pb2.PropagatedResult(
                edit_id=edit.edit_id,
                result=segmenter_pb2.SegmentVideoResult(frame_id=frame_id),
                last=frame_id == edit.propagate.to_frame_id,
            )
            await self.context.write(self.response(propagated=message))

    async def _frame(self, frame: Any) -> None:
        skip = self.script.skip
        if skip and skip[0] <= frame.frame_id <= skip[1]:
            self.unanswered -= 1
            if frame.frame_id == skip[1]:
                await self._skipped(*skip)
            return
        due = [e for e in self.edits if not e.HasField("frame_id") or e.frame_id <= frame.frame_id]
        for edit in due:
            self.edits.remove(edit)
            await self._apply(edit, frame.frame_id)
        if frame.frame_id in self.script.bad_frames:
            bad = rich_status(grpc.StatusCode.INVALID_ARGUMENT, "not a picture", "BAD", None, "f")
            error = streams_pb2.FrameError(frame_id=frame.frame_id, status=bad)
            await self._answer(self.response(error=error))
            return
        self.state.frames.append(frame.frame_id)
        await self._answer(self.response(result=self.result(frame)))
        self.since_snapshot += 1
        if self.every and self.since_snapshot >= self.every:
            self.since_snapshot = 0
            token = self.state.token()
            snapshot = streams_pb2.StreamSnapshot(frame_id=frame.frame_id, resume_token=token)
            await self.context.write(self.response(snapshot=snapshot))

    def result(self, frame: Any) -> Any:
        raise NotImplementedError

    async def _answer(self, message: Any) -> None:
        self.answers += 1
        self.unanswered -= 1
        self.streams.answered += 1
        await self.context.write(message)

    async def _skipped(self, first: int, last: int) -> None:
        status = rich_status(grpc.StatusCode.ABORTED, "newer frames came", "FRAME_DROPPED")
        run = streams_pb2.FramesSkipped(
            first_frame_id=first, last_frame_id=last, count=last - first + 1, status=status
        )
        await self.context.write(self.response(skipped=run))

    async def _leaves(self) -> bool:
        script = self.script
        if script.abort_after is not None and self.answers >= script.abort_after:
            await self.context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        if script.end_after is not None and self.answers >= script.end_after:
            return True
        if script.go_away_after is None or self.answers < script.go_away_after:
            return False
        message = streams_pb2.GoAway(deadline=Duration(seconds=5), resume_token=self.state.token())
        if self.state.frames:
            message.last_frame_id = self.state.frames[-1]
        await self.context.write(self.response(go_away=message))
        await asyncio.wait([self.reader], timeout=5)  # until the client has gone
        return True


class FakeLiveStream(FakeStream):
    def result(self, frame: Any) -> live_pb2.StreamResult:
        """`caption` lists every frame the state has seen, `objects` every prompted object."""
        found = [
            live_pb2.LiveObject(
                object_id=object_id,
                label="thing",
                score=0.5,
                box=wire.box_to_message((2, 1, 7, 4)),
                mask=wire.mask_to_message(MASK),
                state=tracker_pb2.TRACK_STATE_CONFIRMED,
                area_px=15,
            )
            for object_id in self.state.objects
        ]
        return live_pb2.StreamResult(
            frame_id=frame.frame_id,
            capture_time_us=frame.capture_time_us,
            width=8,
            height=6,
            objects=found,
            caption=json.dumps(self.state.frames),
        )


class FakeVideoStream(FakeStream):
    def result(self, frame: Any) -> segmenter_pb2.SegmentVideoResult:
        found = [
            segmenter_pb2.ObjectMask(object_id=object_id, mask=wire.mask_to_message(MASK))
            for object_id in self.state.objects
        ]
        return segmenter_pb2.SegmentVideoResult(
            frame_id=frame.frame_id, objects=found, width=8, height=6
        )


class FakeTrackStream(FakeStream):
    def result(self, frame: Any) -> tracker_pb2.TrackResult:
        tracks = [
            tracker_pb2.Track(
                track_id=index + 1,
                box=found.box,
                score=found.score,
                label=found.label,
                state=tracker_pb2.TRACK_STATE_TENTATIVE,
                detection_index=index,
            )
            for index, found in enumerate(frame.detections)
        ]
        return tracker_pb2.TrackResult(frame_id=frame.frame_id, tracks=tracks)


@dataclass
class Fakes(
    live_pb2_grpc.LiveServiceServicer,
    segmenter_pb2_grpc.SegmenterServiceServicer,
    tracker_pb2_grpc.TrackerServiceServicer,
    detector_pb2_grpc.DetectorServiceServicer,
    captioner_pb2_grpc.CaptionerServiceServicer,
):
    """Every service the client talks to, on one port."""

    streams: Streams = field(default_factory=Streams)
    failures: list[status_pb2.Status] = field(default_factory=list)
    """Single calls are answered with these first."""
    calls: list[Any] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    health: health.aio.HealthServicer = field(default_factory=health.aio.HealthServicer)
    address: str = ""

    async def _called(self, request: Any, context: Any) -> None:
        self.calls.append(request)
        metadata = dict(context.invocation_metadata())
        self.request_ids.append(metadata.get("x-request-id", ""))
        if self.failures:
            await abort_with(context, self.failures.pop(0))

    async def Stream(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # a coroutine that writes
        stream = FakeLiveStream(
            self.streams, live_pb2.StreamResponse, live_pb2.StreamStarted, context
        )
        await stream.run(requests)

    async def SegmentVideo(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # a coroutine that writes
        response, started = segmenter_pb2.SegmentVideoResponse, segmenter_pb2.SegmentVideoStarted
        await FakeVideoStream(self.streams, response, started, context).run(requests)

    async def Track(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # a coroutine that writes
        response, started = tracker_pb2.TrackResponse, tracker_pb2.TrackStarted
        await FakeTrackStream(self.streams, response, started, context).run(requests)

    async def ListServices(self, request: Any, context: Any) -> live_pb2.ListServicesResponse:
        await self._called(request, context)
        model = media_pb2.ModelInfo(name="flow", ready=True, is_default=True)
        status = live_pb2.ServiceStatus(service="segmenter", serving=True, models=[model])
        gateway = media_pb2.ServiceInfo(service="gateway", version="0.1.0")
        return live_pb2.ListServicesResponse(services=[status], gateway=gateway)

    async def Detect(self, request: Any, context: Any) -> detector_pb2.DetectResponse:
        await self._called(request, context)
        response = detector_pb2.DetectResponse(service=media_pb2.ServiceInfo(engine="classic"))
        for image in request.images:
            result = response.results.add(width=8, height=6)
            if image.encoded == b"bad":
                bad = rich_status(grpc.StatusCode.INVALID_ARGUMENT, "not a picture", "BAD_IMAGE")
                result.error.CopyFrom(bad)
                continue
            for prompt in request.options.prompts:
                box = wire.box_to_message((1, 2, 4, 6))
                result.detections.add(box=box, score=0.75, label=prompt, prompt=prompt)
        return response

    async def Caption(self, request: Any, context: Any) -> captioner_pb2.CaptionResponse:
        await self._called(request, context)
        response = captioner_pb2.CaptionResponse(service=media_pb2.ServiceInfo(model="blip"))
        for image in request.images:
            if image.encoded == b"bad":
                bad = rich_status(grpc.StatusCode.INVALID_ARGUMENT, "not a picture", "BAD_IMAGE")
                response.results.add(error=bad)
            else:
                response.results.add(caption="a red car", score=0.5, tokens=3, truncated=True)
        return response

    async def SegmentImage(self, request: Any, context: Any) -> segmenter_pb2.SegmentImageResponse:
        await self._called(request, context)
        response = segmenter_pb2.SegmentImageResponse(width=8, height=6)
        for prompt in request.prompts:
            offered = response.results.add(object_id=prompt.object_id)
            for number in range(request.candidates or 1):
                offered.candidates.add(
                    object_id=prompt.object_id,
                    mask=wire.mask_to_message(MASK, request.mask_encoding),
                    score=0.9 - number / 10,
                    box=wire.box_to_message((2, 1, 7, 4)),
                    area_px=15,
                )
        return response

    async def SegmentEverything(
        self, request: Any, context: Any
    ) -> segmenter_pb2.SegmentEverythingResponse:
        await self._called(request, context)
        mask = segmenter_pb2.ObjectMask(object_id=1, mask=wire.mask_to_message(MASK))
        return segmenter_pb2.SegmentEverythingResponse(masks=[mask], width=8, height=6)

    async def ListModels(self, request: Any, context: Any) -> Any:
        await self._called(request, context)
        model = media_pb2.ModelInfo(name="classic", classes=["face"])
        if isinstance(request, detector_pb2.DetectorServiceListModelsRequest):
            return detector_pb2.DetectorServiceListModelsResponse(models=[model])
        if isinstance(request, captioner_pb2.CaptionerServiceListModelsRequest):
            return captioner_pb2.CaptionerServiceListModelsResponse(models=[model])
        return segmenter_pb2.SegmenterServiceListModelsResponse(models=[model])

    async def ListAlgorithms(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def DetectStream(self, requests: Any, context: Any) -> None:  # type: ignore[override]  # not used
        raise NotImplementedError


@asynccontextmanager
async def serving(fakes: Fakes | None = None) -> AsyncIterator[tuple[Fakes, grpc.aio.Server]]:
    """The fakes on a free port of the loopback."""
    fakes = fakes or Fakes()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    live_pb2_grpc.add_LiveServiceServicer_to_server(fakes, server)
    segmenter_pb2_grpc.add_SegmenterServiceServicer_to_server(fakes, server)
    tracker_pb2_grpc.add_TrackerServiceServicer_to_server(fakes, server)
    detector_pb2_grpc.add_DetectorServiceServicer_to_server(fakes, server)
    captioner_pb2_grpc.add_CaptionerServiceServicer_to_server(fakes, server)
    health_pb2_grpc.add_HealthServicer_to_server(fakes.health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    fakes.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield fakes, server
    finally:
        await server.stop(0)
