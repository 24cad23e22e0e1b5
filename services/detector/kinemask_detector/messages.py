"""Between the detector's messages and plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from kinemask import wire
from kinemask.v1 import detector_pb2, media_pb2
from kinemask_chassis import errors

from kinemask_detector.engines.base import (
    Detection,
    DetectRequest,
    EngineInfo,
    Image,
    UnknownPromptError,
)
from kinemask_detector.engines.registry import AnyEngine

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


def query_from_message(
    options: detector_pb2.DetectOptions, engine: AnyEngine, field: str = "options"
) -> Query:
    """What validated options ask of this engine.

    Raises:
        ServiceError: INVALID_ARGUMENT, reason UNKNOWN_PROMPT or UNKNOWN_CLASS: names what it finds.
    """
    try:
        engine.check(options.prompts, options.classes)
    except UnknownPromptError as error:
        raise _unknown(error, engine.info.name, options, field) from error
    given = options.HasField
    return Query(
        prompts=tuple(options.prompts),
        classes=tuple(options.classes),
        score_threshold=options.score_threshold if given("score_threshold") else None,
        top_k=options.top_k or DEFAULT_TOP_K,
        overlap_threshold=options.overlap_threshold if given("overlap_threshold") else None,
    )


def effective_options(
    options: detector_pb2.DetectOptions, info: EngineInfo
) -> detector_pb2.DetectOptions:
    """The options as they hold, defaults filled in."""
    effective = detector_pb2.DetectOptions()
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


def model_to_message(info: EngineInfo, is_default: bool) -> media_pb2.ModelInfo:
    """One row of ListModels."""
    return media_pb2.ModelInfo(
        name=info.name,
        engine=info.name,
        revision=info.revision,
        ready=True,
        license=info.license,
        is_default=is_default,
        classes=info.classes or (),
    )


def _unknown(
    error: UnknownPromptError, engine: str, options: detector_pb2.DetectOptions, field: str
) -> errors.ServiceError:
    """Each unknown word where it stands in the request, with what could be asked instead."""
    known = ", ".join(error.known)
    asked = options.prompts if error.field == "prompts" else options.classes
    wrong = [
        errors.Violation(
            f"{field}.{error.field}[{index}]", f"expected one of {known}, found {word!r}"
        )
        for index, word in enumerate(asked)
        if word in error.unknown
    ]
    words = ", ".join(repr(word) for word in error.unknown[:5])
    return errors.ServiceError(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"the {engine} engine can find {known}; it cannot find {words}",
        reason="UNKNOWN_PROMPT" if error.field == "prompts" else "UNKNOWN_CLASS",
        violations=wrong[:20],
        metadata={"available": known},
    )
