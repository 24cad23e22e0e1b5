"""The client for ordinary code."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from kinemask import config, results, types
from kinemask.client import _channel, _operations
from kinemask.client._async_client import AsyncClient
from kinemask.client._calls import Attempts, Operation, ResultT, Settings
from kinemask.client._loop import shared_loop
from kinemask.client._sync_streams import LiveStream, TrackStream, VideoStream
from kinemask.errors import KinemaskError, StreamClosedError, from_grpc

if TYPE_CHECKING:
    from kinemask.analysis import Analysis, AnalyzeOptions, StoredPicture
    from kinemask.annotate import Annotations
    from kinemask.faces import Faces
    from kinemask.stored import Jobs, Videos
    from kinemask.stored._calls import Calls
    from kinemask.types import ImageLike

_POLL_S = 0.1


class Client:
    """Everything Kinemask does. One client serves any number of threads.

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
        self._channel = self._open_channel()
        self._streams = AsyncClient.with_settings(self._settings)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls and streams that run are cancelled. Idempotent."""
        self._closed = True
        self._channel.close()
        if self._streams.connected:
            shared_loop().run(self._streams.aclose())

    def wait_ready(self, timeout_s: float = 30.0, service: str = "") -> None:
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
                status = self._once(_operations.health(service), left_s, "")
            except KinemaskError as error:
                heard = error
            if status == "SERVING":
                return
            _operations.check_wait(heard, status, time.monotonic() + _POLL_S < deadline_s)
            time.sleep(_POLL_S)

    def services(self, *, timeout_s: float | None = None) -> types.Services:
        """The services behind the gateway and what each would run."""
        return self._call(_operations.services(), timeout_s)

    def models(
        self, service: _operations.ModelService, *, timeout_s: float | None = None
    ) -> list[types.ModelInfo]:
        """The models a service can run, the default first, and whether each is ready."""
        return self._call(_operations.models(service), timeout_s)

    def detect(
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
        batch = self.detect_batch(
            [image], options=stage, timeout_s=timeout_s, request_id=request_id
        )
        return _operations.only(batch)

    def detect_batch(
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
        operation = _operations.detect(images, stage, self._settings.jpeg_quality)
        return self._call(operation, timeout_s, request_id)

    def segment(
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
        quality = self._settings.jpeg_quality
        operation = _operations.segment(image, prompts, candidates, model, mask_encoding, quality)
        return self._call(operation, timeout_s, request_id)

    def segment_everything(
        self,
        image: ImageLike,
        options: config.EverythingOptions | None = None,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> results.Segmentation:
        """Masks of everything in one picture, largest first."""
        options = options or config.EverythingOptions()
        quality = self._settings.jpeg_quality
        operation = _operations.segment_everything(image, options, quality)
        return self._call(operation, timeout_s, request_id)

    def caption(
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
        batch = self.caption_batch(
            [image], options=options, timeout_s=timeout_s, request_id=request_id
        )
        return _operations.only(batch)

    def caption_batch(
        self,
        images: Sequence[ImageLike],
        *,
        options: config.CaptionOptions | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> list[results.Caption]:
        """The same for up to 64 pictures; one that cannot be read has its `error` set."""
        options = options or config.CaptionOptions()
        operation = _operations.caption(images, options, self._settings.jpeg_quality)
        return self._call(operation, timeout_s, request_id)

    def analyze(
        self,
        picture: ImageLike | StoredPicture,
        options: AnalyzeOptions,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Analysis:
        """Everything that is asked about one picture, each part with its own answer or error."""
        from kinemask.analysis._operations import analyze

        operation = analyze(picture, options, self._settings.jpeg_quality)
        return self._call(operation, timeout_s, request_id)

    def live(
        self,
        wanted: config.LiveConfig | None = None,
        *,
        prompts: Sequence[str] = (),
        effects: Sequence[config.Effect | str] = (),
        options: config.StreamOptions | None = None,
        request_id: str | None = None,
    ) -> LiveStream:
        """A live stream, not opened yet: of a LiveConfig, or of words and effects.

        Raises:
            ValueError: both were given.
        """
        stream = self._streams.live(
            wanted, prompts=prompts, effects=effects, options=options, request_id=request_id
        )
        return LiveStream(shared_loop(), stream, self._settings.jpeg_quality)

    def segment_video(
        self,
        wanted: config.VideoConfig | None = None,
        *,
        options: config.StreamOptions | None = None,
        request_id: str | None = None,
    ) -> VideoStream:
        """A segmenter stream, not opened yet: objects come from its prompts."""
        stream = self._streams.segment_video(wanted, options=options, request_id=request_id)
        return VideoStream(shared_loop(), stream, self._settings.jpeg_quality)

    def track_boxes(
        self,
        wanted: config.TrackStage | None = None,
        *,
        options: config.StreamOptions | None = None,
        request_id: str | None = None,
    ) -> TrackStream:
        """A tracker stream, not opened yet."""
        stream = self._streams.track_boxes(wanted, options=options, request_id=request_id)
        return TrackStream(shared_loop(), stream)

    def track(
        self,
        frames: Iterable[ImageLike | types.StreamFrame],
        wanted: config.LiveConfig | None = None,
        *,
        prompts: Sequence[str] = (),
        effects: Sequence[config.Effect | str] = (),
        objects: Sequence[types.Prompt] = (),
        options: config.StreamOptions | None = None,
        request_id: str | None = None,
    ) -> Iterator[results.LiveFrame]:
        """Send every frame through a live stream and yield every answer, in order.

        `objects` are prompted before the first frame. Frames are taken as the window has room, so
        the server works on some while the caller looks at an answer. A source slower than the
        server gets its answers one frame late: use `live` and two threads there.
        """
        with self.live(
            wanted, prompts=prompts, effects=effects, options=options, request_id=request_id
        ) as stream:
            for prompt in objects:
                stream.edit(prompt)
            for frame in frames:
                if isinstance(frame, types.StreamFrame):
                    when_us = frame.capture_time_us
                    stream.send(frame.image, frame_id=frame.frame_id, capture_time_us=when_us)
                else:
                    stream.send(frame)
                yield from stream.ready()
            stream.finish()
            yield from stream

    # --- what is stored

    @property
    def videos(self) -> Videos:
        """The library of stored videos."""
        from kinemask.stored import Videos

        return Videos(self._stored_calls())

    @property
    def jobs(self) -> Jobs:
        """Jobs on stored videos."""
        from kinemask.stored import Jobs

        return Jobs(self._stored_calls())

    @property
    def annotate(self) -> Annotations:
        """Interactive sessions on stored videos."""
        from kinemask.annotate import Annotations

        return Annotations(self._stored_calls())

    @property
    def faces(self) -> Faces:
        """Faces, and galleries of people."""
        from kinemask.faces import Faces

        return Faces(self._stored_calls(), self._streams.faces)

    def _stored_calls(self) -> Calls:
        from kinemask.stored._calls import Calls

        return Calls(self._call, self._channel, self._settings)

    # --- running calls

    def _open_channel(self) -> grpc.Channel:
        target, options = self._settings.target.target, self._settings.options()
        trusted = self._settings.credentials()
        if trusted is None:
            return grpc.insecure_channel(target, options)
        return grpc.secure_channel(target, trusted, options)

    def _call(
        self,
        operation: Operation[ResultT],
        timeout_s: float | None,
        request_id: str | None = None,
    ) -> ResultT:
        attempts = Attempts(self._settings.timeout_s if timeout_s is None else timeout_s)
        named = self._settings.new_request_id(request_id)
        while True:
            try:
                return self._once(operation, attempts.timeout_s(), named)
            except KinemaskError as error:
                pause_s = attempts.pause_s(error)
                if pause_s is None:
                    raise
            time.sleep(pause_s)

    def _once(
        self, operation: Operation[ResultT], timeout_s: float | None, request_id: str
    ) -> ResultT:
        if self._closed:
            raise StreamClosedError("the client is closed")
        metadata = self._settings.call_metadata(request_id)
        try:
            rpc = getattr(operation.stub(self._channel), operation.method)
            response = rpc(operation.request, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise from_grpc(error, request_id) from error
        return operation.decode(response, request_id)
