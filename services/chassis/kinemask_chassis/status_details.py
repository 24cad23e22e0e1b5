"""The parts of a `google.rpc.Status`, cut to what the trailers of a response can carry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest

# A status travels in HTTP/2 trailers, which peers refuse beyond 8 KiB: base64, percent-encoding
# and the message (sent twice) have to fit as well.
MAX_MESSAGE_BYTES = 512
_MAX_METADATA_BYTES = 512
_MAX_VIOLATIONS_BYTES = 2600
_MAX_FIELD_BYTES = 200
_MAX_DESCRIPTION_BYTES = 400


@dataclass(frozen=True)
class Violation:
    """One field that does not hold what it should."""

    field: str
    """Path from the request, such as `options.prompts[3]`."""
    description: str
    """What was expected and what came."""


def violations_that_fit(violations: tuple[Violation, ...]) -> list[Violation]:
    """The leading violations that fit into the trailers, their texts cut."""
    shown: list[Violation] = []
    room = _MAX_VIOLATIONS_BYTES
    for violation in violations:
        field = cut(violation.field, _MAX_FIELD_BYTES)
        description = cut(violation.description, _MAX_DESCRIPTION_BYTES)
        room -= len(field.encode()) + len(description.encode()) + 8
        if room < 0:
            break
        shown.append(Violation(field, description))
    return shown


def metadata_that_fits(metadata: Mapping[str, str]) -> dict[str, str]:
    """The leading entries of ErrorInfo's metadata that fit, values cut."""
    kept: dict[str, str] = {}
    room = _MAX_METADATA_BYTES
    for key, value in metadata.items():
        text = cut(value, max(room - len(key) - 8, 0))
        room -= len(key) + len(text.encode()) + 8
        if room < 0:
            break
        kept[key] = text
    return kept


def cut(text: str, max_bytes: int) -> str:
    """`text`, or what of it fits into `max_bytes` of UTF-8 with an ellipsis."""
    # Lone surrogates cannot be sent at all.
    raw = text.encode("utf-8", "replace")
    if len(raw) <= max_bytes:
        return raw.decode()
    return raw[: max(max_bytes - 3, 0)].decode("utf-8", "ignore") + "…"


def bad_request(violations: Iterable[Violation]) -> BadRequest:
    """The violations as a detail message."""
    return BadRequest(
        field_violations=[
            BadRequest.FieldViolation(field=v.field, description=v.description) for v in violations
        ]
    )


def duration(seconds: float) -> Duration:
    """Seconds, not less than 0, as a message."""
    whole = math.floor(max(seconds, 0.0))
    return Duration(seconds=whole, nanos=int((max(seconds, 0.0) - whole) * 1e9))
