"""What requests may hold beyond the limits that stand in the protos."""

from __future__ import annotations

import json
import re

from google.protobuf import json_format, struct_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from kinemask_chassis import errors

MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 16
_ID = re.compile(r"[A-Za-z0-9._-]+")


def check_text(message: Message, field: str = "") -> None:
    """Refuse NUL in any text: a database cannot hold it.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    for descriptor, value in message.ListFields():
        path = f"{field}.{descriptor.name}" if field else descriptor.name
        values = value if descriptor.is_repeated else [value]
        if descriptor.type == FieldDescriptor.TYPE_STRING:
            if any("\0" in text for text in values):
                raise errors.invalid(path, "expected text without NUL characters, got one")
        elif isinstance(value, struct_pb2.Struct):
            continue  # `metadata_json` has looked at it, or will
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for part in values:
                check_text(part, path)


def check_new_id(field: str, value: str) -> str:
    """An id that the client chose: letters, digits, `-`, `_` and `.`; empty asks for one.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    if value and not _ID.fullmatch(value):
        what = f"expected letters, digits, -, _ and . only, got {value[:40]!r}"
        raise errors.invalid(field, what)
    return value


def check_name(field: str, value: str) -> str:
    """What to call somebody or something: not only blanks.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    if not value.strip():
        raise errors.invalid(field, "expected a name, got only blanks or nothing")
    return value


def metadata_json(message: struct_pb2.Struct, field: str = "metadata") -> str:
    """Metadata as compact JSON: at most 64 KiB, 16 levels deep.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    if _depth(message) > MAX_METADATA_DEPTH:
        what = f"expected at most {MAX_METADATA_DEPTH} levels, got more"
        raise errors.invalid(field, what)
    try:
        plain = json_format.MessageToDict(message)
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, json_format.Error) as error:
        raise errors.invalid(field, f"expected JSON values, got {error}") from error
    size = len(text.encode())
    if size > MAX_METADATA_BYTES:
        raise errors.invalid(field, f"expected at most {MAX_METADATA_BYTES} bytes, got {size}")
    if "\\u0000" in text:
        raise errors.invalid(field, "expected text without NUL characters, got one")
    return text


def metadata_message(text: str) -> struct_pb2.Struct:
    """What `metadata_json` gave, as a message."""
    return json_format.Parse(text, struct_pb2.Struct())


def _depth(message: struct_pb2.Struct) -> int:
    """Levels of objects and lists; stops counting beyond the limit."""
    level: list[struct_pb2.Value] = list(message.fields.values())
    depth = 1
    while level and depth <= MAX_METADATA_DEPTH:
        below: list[struct_pb2.Value] = []
        for value in level:
            below += value.struct_value.fields.values()
            below += value.list_value.values
        nested = any(v.WhichOneof("kind") in ("struct_value", "list_value") for v in level)
        depth += nested
        level = below if nested else []
    return depth
