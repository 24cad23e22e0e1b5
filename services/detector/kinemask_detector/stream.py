"""One DetectStream: an engine behind the stream contract."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError
from kinemask import wire
from kinemask.v1 import detector_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.streams.terms import StreamTerms
from kinemask_chassis.validation import validate

from kinemask_detector.engines.registry import AUTO
from kinemask_detector.messages import effective_options, query_from_message
from kinemask_detector.pictures import EngineRunner, Inferred, Picture

Options = detector_pb2.DetectOptions

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

    def __init__(
        self, runner: EngineRunner, options: Options, terms: StreamTerms | None = None
    ) -> None:
        """A stream that goes on from a token takes its options from there.

        Raises:
            ServiceError: INVALID_ARGUMENT (a prompt the engine does not know), DATA_LOSS (token).
        """
        self._runner = runner
        self._last_stepped = -1
        if terms is not None and terms.resumed_after is not None:
            self._last_stepped = terms.resumed_after
            options = _options_in(terms.state)
        self._ask(options, "config.options")

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
        self._ask(edit.options, "edit.options")
        return 0

    async def snapshot(self) -> bytes:
        """The options: a detector remembers nothing else."""
        return self._options.SerializeToString(deterministic=True)

    async def close(self) -> None:
        return

    def _ask(self, options: Options, field: str) -> None:
        engine = self._runner.engine
        self._query = query_from_message(options, engine, field)
        self._options = effective_options(options, engine.info)


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
