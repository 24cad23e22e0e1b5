"""Between the captioner's messages and plain values."""

from __future__ import annotations

from kinemask.v1 import captioner_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.provenance import service_info
from kinemask_chassis.weights.absent import AbsentModel

from kinemask_captioner.engines.base import Caption, CaptionQuery
from kinemask_captioner.engines.registry import AnyEngine, Choice

DEFAULT_MAX_TOKENS = 40


def query_from_message(options: captioner_pb2.CaptionOptions) -> CaptionQuery:
    """What validated options ask for.

    Raises:
        ServiceError: INVALID_ARGUMENT: more tokens at least than at most.
    """
    max_tokens = options.max_tokens or DEFAULT_MAX_TOKENS
    if options.min_tokens > max_tokens:
        raise errors.invalid(
            "options.min_tokens",
            f"expected at most max_tokens ({max_tokens}), found {options.min_tokens}",
        )
    return CaptionQuery(
        beams=options.beams or 1,
        max_tokens=max_tokens,
        min_tokens=options.min_tokens,
        text=options.text.strip(),
    )


def caption_to_message(caption: Caption) -> captioner_pb2.ImageCaption:
    """One picture's result, without timing."""
    score = None if caption.score is None else min(max(caption.score, 0.0), 1.0)
    return captioner_pb2.ImageCaption(
        caption=caption.text, score=score, tokens=caption.tokens, truncated=caption.truncated
    )


def engine_to_message(engine: AnyEngine, is_default: bool) -> media_pb2.ModelInfo:
    """A row of ListModels for a model that is here."""
    info = engine.info
    return media_pb2.ModelInfo(
        name=info.name,
        engine=info.engine,
        revision=info.revision,
        ready=True,
        license=info.license,
        is_default=is_default,
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
        "captioner",
        engine=info.engine,
        model=info.name,
        revision=info.revision,
        device=info.device,
        notice=choice.notice,
    )
