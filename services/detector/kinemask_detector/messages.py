"""Between the detector's messages and plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from kinemask import wire
from kinemask.v1 import detector_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.provenance import service_info
from kinemask_chassis.weights.absent import AbsentModel

from kinemask_detector.engines.base import (
    BadPromptError,
    Detection,
    DetectRequest,
    EngineInfo,
    Image,
    UnknownPromptError,
)
from kinemask_detector.engines.labels import near_labels
from kinemask_detector.engines.registry import AnyEngine, Choice

Options: TypeAlias = detector_pb2.DetectOptions

DEFAULT_TOP_K = 100


@dataclass(frozen=True)
class Query:
    """What to look for and how, without a picture; as in `DetectRequest`."""

    prompts: tuple[str, ...]
    classes: tuple[str, ...]
    score_threshold: float | None
    top_k: int
    overlap_threshold: float | None

    def about(self, image: Image) -> DetectRequest:
        """The same asked of one picture."""
        return DetectRequest(
            image=image,
            prompts=self.prompts,
            classes=self.classes,
            score_threshold=self.score_threshold,
            top_k=self.top_k,
            overlap_threshold=self.overlap_threshold,
        )


def query_from_message(options: Options, engine: AnyEngine, field: str = "options") -> Query:
    """What validated options ask of this engine.

    Raises:
        ServiceError: INVALID_ARGUMENT, reason UNKNOWN_PROMPT or UNKNOWN_CLASS: names what comes
            near to it; reason BAD_PROMPT: no words, or too many.
    """
    try:
        engine.check(options.prompts, options.classes)
    except UnknownPromptError as error:
        raise _unknown(error, engine.info.name, options, field) from error
    except BadPromptError as error:
        place = "" if error.index is None else f"[{error.index}]"
        wrong = f"{field}.prompts{place}"
        raise errors.invalid(wrong, str(error), reason="BAD_PROMPT") from error
    given = options.HasField
    return Query(
        prompts=tuple(options.prompts),
        classes=tuple(options.classes),
        score_threshold=options.score_threshold if given("score_threshold") else None,
        top_k=options.top_k or DEFAULT_TOP_K,
        overlap_threshold=options.overlap_threshold if given("overlap_threshold") else None,
    )


def effective_options(options: Options, info: EngineInfo) -> Options:
    """The options as they hold, defaults filled in."""
    effective = Options()
    effective.CopyFrom(options)
    effective.model = info.name
    effective.top_k = options.top_k or DEFAULT_TOP_K
    if not options.HasField("score_threshold"):
        effective.score_threshold = info.score_threshold
    if not options.HasField("overlap_threshold"):
        effective.overlap_threshold = info.overlap_threshold
    return effective


def found_to_message(
    found: Sequence[Detection], height: int, width: int
) -> detector_pb2.ImageDetections:
    """One picture's detections, without timing."""
    return detector_pb2.ImageDetections(
        detections=[
            detector_pb2.Detection(
                box=wire.box_to_message(one.box_xyxy),
                score=min(max(one.score, 0.0), 1.0),
                label=one.label,
                prompt=one.prompt,
            )
            for one in found
        ],
        width=width,
        height=height,
    )


def engine_to_message(engine: AnyEngine, is_default: bool) -> media_pb2.ModelInfo:
    """A row of ListModels for a model that is here."""
    info = engine.info
    return media_pb2.ModelInfo(
        name=info.name,
        engine=info.engine or info.name,
        revision=info.revision,
        ready=True,
        license=info.license,
        is_default=is_default,
        classes=info.classes or (),
    )


def absent_to_message(model: AbsentModel) -> media_pb2.ModelInfo:
    """A row of ListModels for a model that is not."""
    return media_pb2.ModelInfo(
        name=model.name, engine=model.engine, license=model.license, reason=model.reason
    )


def service_to_message(choice: Choice) -> media_pb2.ServiceInfo:
    """Who made a result."""
    info = choice.engine.info
    return service_info(
        "detector",
        engine=info.engine or info.name,
        model=info.model,
        revision=info.revision,
        device=info.device,
        notice=choice.notice,
    )


def _unknown(
    error: UnknownPromptError, engine: str, options: Options, field: str
) -> errors.ServiceError:
    """Each unknown word where it stands in the request, with what comes near to it."""
    asked = options.prompts if error.field == "prompts" else options.classes
    wrong = [
        errors.Violation(f"{field}.{error.field}[{index}]", _instead(word, error.known))
        for index, word in enumerate(asked)
        if word in error.unknown
    ]
    unknown = ", ".join(repr(word) for word in error.unknown[:5])
    return errors.ServiceError(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{engine} finds {_findable(error.unknown[0], error.known)}; it cannot find {unknown}",
        reason="UNKNOWN_PROMPT" if error.field == "prompts" else "UNKNOWN_CLASS",
        violations=wrong[:20],
        metadata={"available": ", ".join(error.known)},
    )


def _instead(word: str, known: Sequence[str]) -> str:
    """What was expected in place of the word."""
    return f"expected one of {_findable(word, known)}; found {word!r}"


def _findable(word: str, known: Sequence[str]) -> str:
    """What comes near to the word; everything, where that is little."""
    near = near_labels(word, known)
    if len(near) == len(known):
        return ", ".join(known)
    return f"{len(known)} labels, such as {', '.join(near or known[:5])}"
