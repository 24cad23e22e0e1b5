"""All parts of one analysis at once; a part that fails costs only its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import grpc
from google.rpc import status_pb2
from kinemask.v1 import captioner_pb2, images_pb2, media_pb2
from kinemask_chassis import errors

from kinemask_gateway.images.parts import Parts, add_timing

PARTS = ("detect", "segment", "instances", "everything", "object", "faces", "caption")
"""The parts that ask a service, by their names in request and answer."""

Answer: TypeAlias = (
    images_pb2.DetectAnswer
    | images_pb2.SegmentAnswer
    | images_pb2.InstancesAnswer
    | images_pb2.EverythingAnswer
    | images_pb2.FacesAnswer
    | images_pb2.CaptionAnswer
)


def check(request: images_pb2.AnalyzeRequest) -> None:
    """Refuse what limits cannot say.

    Raises:
        ServiceError: INVALID_ARGUMENT: no part at all, or one that would change a gallery.
    """
    if not any(request.HasField(part) for part in PARTS):  # type: ignore[arg-type]  # all are fields
        raise errors.invalid("request", f"expected one of {', '.join(PARTS)}, found none")
    if request.faces.recognise.HasField("enrol_strangers"):
        why = "expected it unset: Analyze changes nothing; see FacesService.Recognise"
        raise errors.invalid("faces.recognise.enrol_strangers", why)


async def analyse(
    request: images_pb2.AnalyzeRequest, parts: Parts, response: images_pb2.AnalyzeResponse
) -> None:
    """Ask for every part at once and put the answers into `response`.

    Raises:
        ServiceError: UNAVAILABLE: the services of all parts are down.
    """
    asked: dict[str, Callable[[], Awaitable[Answer]]] = {
        "detect": lambda: parts.detect(request.detect),
        "segment": lambda: parts.segment(request.segment),
        "instances": lambda: parts.instances(request.instances),
        "everything": lambda: parts.everything(request.everything),
        "object": lambda: parts.labelled(request.object),
        "faces": lambda: parts.faces(request.faces),
        "caption": lambda: parts.caption(request.caption),
    }
    wanted = [part for part in PARTS if request.HasField(part)]  # type: ignore[arg-type]  # as above
    answers = await asyncio.gather(*(_tried(asked[part]()) for part in wanted))
    failed = [answer for answer in answers if isinstance(answer, status_pb2.Status)]
    unavailable = grpc.StatusCode.UNAVAILABLE.value[0]
    if len(failed) == len(wanted) and all(one.code == unavailable for one in failed):
        raise errors.unavailable(failed[0].message, reason="ALL_PARTS_DOWN", retry_after_s=1.0)
    for part, answer in zip(wanted, answers, strict=True):
        _put(response, part, answer)


async def _tried(answering: Awaitable[Answer]) -> Answer | status_pb2.Status:
    try:
        return await answering
    except Exception as error:  # noqa: BLE001 - one part's failure must not cost the others
        return errors.status_from_exception(error)


def _put(
    response: images_pb2.AnalyzeResponse, part: str, answer: Answer | status_pb2.Status
) -> None:
    place = getattr(response, part)
    if not isinstance(answer, status_pb2.Status):
        place.CopyFrom(answer)
        add_timing(response.timing, _timing(answer))
    elif part == "caption":
        place.caption.CopyFrom(captioner_pb2.ImageCaption(error=answer))
    else:
        place.error.CopyFrom(answer)


def _timing(answer: Answer) -> media_pb2.Timing:
    if isinstance(answer, images_pb2.CaptionAnswer):
        return answer.caption.timing
    return answer.timing
