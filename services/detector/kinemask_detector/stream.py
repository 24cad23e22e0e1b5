"""One DetectStream: an engine behind the stream contract."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError
from kinemask import wire
from kinemask.v1 import detector_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.streams.terms import StreamTerms
from kinemask_chassis.validation import validate

from kinemask_detector.devices import Inferred
from kinemask_detector.engines.registry import AUTO
from kinemask_detector.messages import Options, Query, effective_options
from kinemask_detector.pictures import EngineRunner, Picture

_DEPTH = 3
"""One frame is prepared, one is in the model and one finished at a time."""


@dataclass(frozen=True)
class Ahead:
    """A frame that was prepared before its turn, and its pixels in case an edit comes between."""

    image: wire.RgbImage
    picture: Picture


@dataclass(frozen=True)
class Seen:
    """A frame that the model has seen."""

    picture: Picture
    inferred: Inferred


class DetectHandler:
    """A `StreamHandler`; see there for who calls what when.

    Invariant: `_query` is what `options` ask; a frame reaches the model only prepared for it.
    """

    def __init__(self, runner: EngineRunner, query: Query, options: Options, last: int) -> None:
        """Use `opened`. `options` are effective and ask the query; frames up to `last` are done."""
        self._runner = runner
        self._query = query
        self._options = options
        self._last_stepped = last

    @classmethod
    async def opened(
        cls, runner: EngineRunner, options: Options, terms: StreamTerms | None = None
    ) -> DetectHandler:
        """A handler that looks for what `opening_options` gave.

        Raises:
            ServiceError: INVALID_ARGUMENT: the engine cannot look for that.
        """
        after = None if terms is None else terms.resumed_after
        query = await runner.query(options, "config.options")
        effective = effective_options(options, runner.engine.info)
        return cls(runner, query, effective, -1 if after is None else after)

    @property
    def options(self) -> Options:
        """What is looked for now, defaults filled in."""
        return self._options

    @property
    def depth(self) -> int:
        return _DEPTH

    async def prepare(self, frame: media_pb2.Frame) -> Ahead:
        """Decode, and prepare for what is asked now.

        Raises:
            ServiceError: INVALID_ARGUMENT: undecodable or too large.
        """
        image = await self._runner.decode(frame.image, "frame.image")
        return Ahead(image, await self._runner.prepare(image, self._query))

    async def step(self, frame: media_pb2.Frame, prepared: Ahead) -> Seen:
        """Through the model, with other streams' frames."""
        picture = prepared.picture
        if picture.query != self._query:
            picture = await self._runner.prepare(prepared.image, self._query)
        inferred = await self._runner.infer(picture)
        self._last_stepped = frame.frame_id
        return Seen(picture, inferred)

    async def finish(self, frame: media_pb2.Frame, raw: Seen) -> detector_pb2.DetectStreamResult:
        return detector_pb2.DetectStreamResult(
            frame_id=frame.frame_id,
            capture_time_us=frame.capture_time_us,
            detections=await self._runner.finish(raw.picture, raw.inferred),
        )

    async def apply(
        self, edit: detector_pb2.DetectStreamEdit, frame_id: int, prepared: Ahead | None
    ) -> int:
        """Look for something else from this frame on, or from the next if it was skipped.

        Raises:
            ServiceError: NOT_FOUND (the frame was answered already), INVALID_ARGUMENT (another
                model, an unknown prompt).
        """
        if prepared is None and frame_id <= self._last_stepped:
            raise errors.not_found(
                f"expected a frame after {self._last_stepped}, found {frame_id}: it has passed",
                reason="FRAME_GONE",
            )
        name = self._runner.engine.info.name
        if edit.options.model not in ("", AUTO, name):
            raise errors.invalid(
                "edit.options.model",
                f"expected {name} or nothing, found {edit.options.model!r}: the model stays",
            )
        self._query = await self._runner.query(edit.options, "edit.options")
        self._options = effective_options(edit.options, self._runner.engine.info)
        return 0

    async def snapshot(self) -> bytes:
        """The options: a detector remembers nothing else."""
        return self._options.SerializeToString(deterministic=True)

    async def close(self) -> None:
        return


def opening_options(options: Options, terms: StreamTerms) -> Options:
    """What a stream looks for at first: what is asked, or what a resume token remembers.

    Raises:
        ServiceError: DATA_LOSS: the token is damaged.
    """
    return options if terms.resumed_after is None else _options_in(terms.state)


def _options_in(state: bytes) -> Options:
    try:
        options = Options.FromString(state)
        validate(options)
    except (DecodeError, errors.ServiceError) as error:
        raise errors.data_loss(
            f"resume_token: expected options, found something else ({error})",
            reason="RESUME_TOKEN_DAMAGED",
        ) from error
    return options
