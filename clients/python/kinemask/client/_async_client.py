"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

from kinemask import config, results, types
from kinemask.client import _channel, _kinds, _operations
from kinemask.client._async_streams import AsyncLiveStream, AsyncTrackStream, AsyncVideoStream
from kinemask.client._calls import Attempts, Operation, ResultT, Settings
from kinemask.client._connection import StreamCall
from kinemask.client._stream import StreamContext
from kinemask.errors import KinemaskError, from_grpc
from kinemask.v1 import live_pb2_grpc, segmenter_pb2_grpc, tracker_pb2_grpc

if TYPE_CHECKING:
    from kinemask.analysis import Analysis, AnalyzeOptions, StoredPicture
    from kinemask.annotate import AsyncAnnotations
    from kinemask.faces import AsyncFaces
    from kinemask.types import ImageLike

_POLL_S = 0.1


class AsyncClient:
    """Everything Kinemask does, for asyncio. One client serves any number of tasks of one loop.

    Single calls are read-only, so they are tried again where a server was not there
    (UNAVAILABLE; up to four tries within the timeout). Every method raises KinemaskError.
    """

    def __init__(
        self,
        address: str | Sequence[str] = _channel.DEFAULT_ADDRESS,
        *,
        timeout_s: float | None = 30.0,
        tls: bool | config.TlsConfig = False,
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
        jpeg_quality: int | None = 90,
    ) -> None:
        """Nothing is connected yet.

        Args:
            address: `HOST:PORT`, a list of them or `dns:///HOST:PORT`: calls take turns.
            timeout_s: for each single call with all its tries, and for a stream to be taken.
            tls: True for the system's roots, or a TlsConfig.
            metadata: sent with every call.
            request_id: sent with every call instead of a fresh one each.
            jpeg_quality: of arrays, 1..100; None sends them raw.
        """
        self._settings = Settings(
            target=_channel.target_of(address),
            timeout_s=timeout_s,
            tls=_channel.tls_config(tls),
            metadata=dict(metadata or {}),
            request_id=request_id,
            jpeg_quality=jpeg_quality,
        )
        self._opened: grpc.aio.Channel | None = None

    @classmethod
    def with_settings(cls, settings: Settings) -> Self:
        """A client of settings that were checked already."""
        client = cls.__new__(cls)
        client._settings = settings
        client._opened = None
        return client

    @property
    def connected(self) -> bool:
        """True once a channel was opened."""
        return self._opened is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; calls and streams that run are cancelled. Idempotent."""
        if self._opened is not None:
            await self._opened.close()

    async def wait_ready(self, timeout_s: float = 30.0, service: str = "") -> None:
        """Return once the server says it is serving; `service` such as `kinemask.v1.LiveService`.

        Raises:
            KinemaskError: it did not within the time; the last thing heard from it.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(deadline_s - time.monotonic(), 0.01)
            heard: KinemaskError | None = None
            status = ""
            try:
                status = await self._once(_operations.health(service), left_s, "")
            except KinemaskError as error:
                heard = error
            if status == "SERVING":
                return
            _operations.check_wait(heard, status, time.monotonic() + _POLL_S < deadline_s)
            await asyncio.sleep(_POLL_S)

    async def services(self, *, timeout_s: float | None = None) -> types.Services:
        """The services behind the gateway and what each would run."""
        return await self._call(_operations.services(), timeout_s)

    async def models(
        self, service: _operations.ModelService, *, timeout_s: float | None = None
    ) -> list[types.ModelInfo]:
        """The models a service can run, the default first, and whether each is ready."""
        return await self._call(_operations.models(service), timeout_s)

    async def detect(
        self,
        image: ImageLike,
        prompts: Sequence[str] = (),
        *,
        classes: Sequence[str] = (),
        score_threshold: float | None = None,
        overlap_threshold: float | None = None,
        top_k: int = 0,
        model: str = "auto",
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> results.Detections:
        """Find things in one picture: `(H, W, 3)` uint8 RGB, encoded bytes, or a path.

        Args:
            prompts: words for what to find; `classes` keeps only these labels of a closed set.
            score_threshold: 0..1. Default: the model's own; `overlap_threshold` (IoU) likewise.
            top_k: at most so many, best first. Default 0: 100.
        """
        stage = config.DetectStage(
            prompts,
            classes,
            score_threshold=score_threshold,
            overlap_threshold=overlap_threshold,
            top_k=top_k,
            model=model,
        )
        batch = await self.detect_batch(
            [image], options=stage, timeout_s=timeout_s, request_id=request_id
        )
        return _operations.only(batch)

    async def detect_batch(
        self,
        images: Sequence[ImageLike],
        prompts: Sequence[str] = (),
        *,
        options: config.DetectStage | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> list[results.Detections]:
        """The same for up to 64 pictures; one that cannot be read has its `error` set."""
        stage = options or config.DetectStage(prompts)
        operation = await asyncio.to_thread(
            _operations.detect, images, stage, self._settings.jpeg_quality
        )
        return await self._call(operation, timeout_s, request_id)

    async def segment(
        self,
        image: ImageLike,
        prompts: Sequence[types.Prompt],
        *,
        candidates: int = 0,
        model: str = "auto",
        mask_encoding: types.MaskEncodingName = "rle",
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> results.Segmentation:
        """Masks of what is prompted in one picture; `candidates` (1..3) masks for each prompt."""
        operation = await asyncio.to_thread(
            _operations.segment,
            image,
            prompts,
            candidates,
            model,
            mask_encoding,
            self._settings.jpeg_quality,
        )
        return await self._call(operation, timeout_s, request_id)

    async def segment_everything(
        self,
        image: ImageLike,
        options: config.EverythingOptions | None = None,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> results.Segmentation:
        """Masks of everything in one picture, largest first."""
        operation = await asyncio.to_thread(
            _operations.segment_everything,
            image,
            options or config.EverythingOptions(),
            self._settings.jpeg_quality,
        )
        return await self._call(operation, timeout_s, request_id)

    async def caption(
        self,
        image: ImageLike,
        *,
        beams: int = 0,
        max_tokens: int = 0,
        min_tokens: int = 0,
        text: str = "",
        model: str = "auto",
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> results.Caption:
        """The words for one picture; see CaptionOptions. On a CPU it may take seconds."""
        options = config.CaptionOptions(beams, max_tokens, min_tokens, text, model)
        batch = await self.caption_batch(
            [image], options=options, timeout_s=timeout_s, request_id=request_id
        )
        return _operations.only(batch)

    async def caption_batch(
        self,
        images: Sequence[ImageLike],
        *,
        options: config.CaptionOptions | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> list[results.Caption]:
        """The same for up to 64 pictures; one that cannot be read has its `error` set."""
        operation = await asyncio.to_thread(
            _operations.caption,
            images,
            options or config.CaptionOptions(),
            self._settings.jpeg_quality,
        )
        return await self._call(operation, timeout_s, request_id)

    async def analyze(
        self,
        picture: ImageLike | StoredPicture,
        options: AnalyzeOptions,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Analysis:
        """Everything that is asked about one picture, each part with its own answer or error."""
        from kinemask.analysis._operations import analyze

        operation = await asyncio.to_thread(analyze, picture, options, self._settings.jpeg_quality)
        return await self._call(operation, timeout_s, request_id)

    def live(
        self,
        wanted: config.LiveConfig | None = None,
        *,
        prompts: Sequence[str] = (),
        effects: Sequence[config.Effect | str] = (),
        options: config.StreamOptions | None = None,
        request_id: str | None = None,
    ) -> AsyncLiveStream:
        """A live stream, not opened yet: of a LiveConfig, or of words and effects.

        Raises:
            ValueError: both were given.
        """
        wanted = config.live_config_of(wanted, prompts, effects)
        options = options or config.StreamOptions()
        kind = _kinds.live_kind(wanted, options)
        context = self._context(
            lambda c: live_pb2_grpc.LiveServiceStub(c).Stream, options, request_id
        )
        return AsyncLiveStream(kind, context, self._settings.jpeg_quality)

    def segment_video(
        self,
        wanted: config.VideoConfig | None = None,
        *,
        options: config.StreamOptions | None = None,
        request_id: str | None = None,
    ) -> AsyncVideoStream:
        """A segmenter stream, not opened yet: objects come from its prompts."""
        options = options or config.StreamOptions()
        kind = _kinds.video_kind(wanted or config.VideoConfig(), options)
        stub = segmenter_pb2_grpc.SegmenterServiceStub
        context = self._context(lambda channel: stub(channel).SegmentVideo, options, request_id)
        return AsyncVideoStream(kind, context, self._settings.jpeg_quality)

    def track_boxes(
        self,
        wanted: config.TrackStage | None = None,
        *,
        options: config.StreamOptions | None = None,
        request_id: str | None = None,
    ) -> AsyncTrackStream:
        """A tracker stream, not opened yet."""
        options = options or config.StreamOptions()
        kind = _kinds.track_kind(wanted or config.TrackStage(), options)
        stub = tracker_pb2_grpc.TrackerServiceStub
        context = self._context(lambda channel: stub(channel).Track, options, request_id)
        return AsyncTrackStream(kind, context)

    async def track(
        self,
        frames: Iterable[ImageLike | types.StreamFrame]
        | AsyncIterable[ImageLike | types.StreamFrame],
        wanted: config.LiveConfig | None = None,
        *,
        prompts: Sequence[str] = (),
        effects: Sequence[config.Effect | str] = (),
        objects: Sequence[types.Prompt] = (),
        options: config.StreamOptions | None = None,
        request_id: str | None = None,
    ) -> AsyncIterator[results.LiveFrame]:
        """Send every frame through a live stream and yield every answer, in order.

        `objects` are prompted before the first frame. Frames are taken while answers are read.
        """
        stream = self.live(
            wanted, prompts=prompts, effects=effects, options=options, request_id=request_id
        )
        async with stream:
            sender = asyncio.create_task(_send_all(stream, frames, objects))
            try:
                async for answer in stream:
                    yield answer
                await sender
            finally:
                sender.cancel()
                await asyncio.wait([sender])

    @property
    def faces(self) -> AsyncFaces:
        """Faces, and galleries of people."""
        from kinemask.faces import AsyncFaces
        from kinemask.faces._aio import AsyncCalls

        return AsyncFaces(AsyncCalls(self._call, self._channel, self._settings))

    @property
    def annotate(self) -> AsyncAnnotations:
        """Interactive sessions on stored videos."""
        from kinemask.annotate import AsyncAnnotations
        from kinemask.faces._aio import AsyncCalls

        return AsyncAnnotations(AsyncCalls(self._call, self._channel, self._settings))

    # --- running calls

    def _channel(self) -> grpc.aio.Channel:
        # Made inside the running loop: grpc binds a channel to the loop it finds.
        if self._opened is None:
            target, options = self._settings.target.target, self._settings.options()
            trusted = self._settings.credentials()
            if trusted is None:
                self._opened = grpc.aio.insecure_channel(target, options)
            else:
                self._opened = grpc.aio.secure_channel(target, trusted, options)
        return self._opened

    def _context(
        self,
        method: Callable[[Any], Callable[..., StreamCall]],
        options: config.StreamOptions,
        request_id: str | None,
    ) -> StreamContext:
        named = self._settings.new_request_id(request_id)
        metadata = self._settings.call_metadata(named)
        return StreamContext(
            connect=lambda: method(self._channel())(metadata=metadata),
            options=options,
            request_id=named,
            open_timeout_s=self._settings.timeout_s,
        )

    async def _call(
        self,
        operation: Operation[ResultT],
        timeout_s: float | None,
        request_id: str | None = None,
    ) -> ResultT:
        attempts = Attempts(self._settings.timeout_s if timeout_s is None else timeout_s)
        named = self._settings.new_request_id(request_id)
        while True:
            try:
                return await self._once(operation, attempts.timeout_s(), named)
            except KinemaskError as error:
                pause_s = attempts.pause_s(error)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def _once(
        self, operation: Operation[ResultT], timeout_s: float | None, request_id: str
    ) -> ResultT:
        metadata = self._settings.call_metadata(request_id)
        try:
            rpc = getattr(operation.stub(self._channel()), operation.method)
            response = await rpc(operation.request, timeout=timeout_s, metadata=metadata)
        except (grpc.RpcError, grpc.aio.UsageError) as error:
            raise from_grpc(error, request_id) from error
        return operation.decode(response, request_id)


async def _send_all(
    stream: AsyncLiveStream,
    frames: Iterable[ImageLike | types.StreamFrame] | AsyncIterable[ImageLike | types.StreamFrame],
    objects: Sequence[types.Prompt],
) -> None:
    """Prompt, send, finish; a failure ends the stream, so that nobody waits for its answers."""
    try:
        for prompt in objects:
            stream.edit(prompt)
        async for frame in _async_iter(frames):
            if isinstance(frame, types.StreamFrame):
                await stream.send(
                    frame.image, frame_id=frame.frame_id, capture_time_us=frame.capture_time_us
                )
            else:
                await stream.send(frame)
        await stream.finish()
    except BaseException:
        await stream.aclose()
        raise


async def _async_iter(
    frames: Iterable[ImageLike | types.StreamFrame] | AsyncIterable[ImageLike | types.StreamFrame],
) -> AsyncIterator[ImageLike | types.StreamFrame]:
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
        return
    for frame in frames:
        yield frame
