"""Tokens of pages: where the page before ended, and of which question."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from google.protobuf.message import Message
from kinemask_chassis import errors

DEFAULT_PAGE = 50
_TOKEN = struct.Struct(">8sq")


def page_size(asked: int) -> int:
    """Entries on a page, where 0 means the default."""
    return asked or DEFAULT_PAGE


def before(request: Message) -> int | None:
    """The position that the page asked for begins below; None for the first page.

    Raises:
        ServiceError: INVALID_ARGUMENT: the token is not ours, or of another question.
    """
    token: str = request.page_token  # type: ignore[attr-defined]  # of every List request
    if not token:
        return None
    try:
        question, position = _TOKEN.unpack(base64.urlsafe_b64decode(token))
    except (binascii.Error, struct.error, ValueError):
        question, position = b"", 0
    if question != _question(request):
        what = "expected the next_page_token of the same question, got another text"
        raise errors.invalid("page_token", what, reason="BAD_PAGE_TOKEN")
    return int(position)


def token(request: Message, position: int) -> str:
    """For the page of entries below `position`."""
    packed = _TOKEN.pack(_question(request), position)
    return base64.urlsafe_b64encode(packed).decode("ascii")


def _question(request: Message) -> bytes:
    """A digest of the request without its page."""
    asked = type(request).FromString(request.SerializeToString())
    asked.ClearField("page_token")
    asked.ClearField("page_size")
    return hashlib.sha256(asked.SerializeToString(deterministic=True)).digest()[:8]
