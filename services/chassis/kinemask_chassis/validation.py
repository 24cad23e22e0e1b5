"""Checks messages against the limits that stand in the protos (`limits.proto`).

Each message type is compiled once, from its descriptor to closures; sub-trees that have no limits,
floats or enums are not even looked at, and the bytes of a frame are never copied for a check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message
from kinemask.v1 import limits_pb2

from kinemask_chassis.errors import Violation, invalid_fields
from kinemask_chassis.validation_values import (
    FLOAT_TYPES,
    Found,
    Reader,
    floats_check,
    limits_of,
    value_reader,
)

__all__ = ["MAX_VIOLATIONS", "Violation", "validate", "violations"]

MAX_VIOLATIONS = 20
Check: TypeAlias = Callable[[Message], Found]
"""Takes a message, gives what is wrong below it; paths begin at its fields."""


def violations(message: Message) -> list[Violation]:
    """What is wrong with `message`: at most 20, with paths such as `options.prompts[3]`."""
    check = _compiled(message.DESCRIPTOR)
    return list(check(message))[:MAX_VIOLATIONS] if check else []


def validate(message: Message) -> None:
    """Refuse a message that breaks its limits.

    Raises:
        ServiceError: INVALID_ARGUMENT with a BadRequest of at most 20 violations.
    """
    if found := violations(message):
        raise invalid_fields(found)


@cache
def _compiled(descriptor: Descriptor) -> Check | None:
    """The check of a message type; None if nothing in it can be wrong."""
    if not _can_fail(descriptor):
        return None
    oneofs = [oneof for oneof in descriptor.oneofs if not _is_synthetic(oneof)]
    plain = [f for f in descriptor.fields if f.containing_oneof not in oneofs]
    floats = [f.name for f in plain if _is_free_float(f)]
    checks = [floats_check(floats)] if floats else []
    checks += [check for oneof in oneofs if (check := _oneof_check(oneof))]
    rest = (_field_check(f) for f in plain if not _is_free_float(f))
    checks += [check for check in rest if check]
    return checks[0] if len(checks) == 1 else lambda message: _collect(checks, message)


def _collect(checks: Sequence[Check], message: Message) -> list[Violation]:
    found: list[Violation] = []
    for check in checks:
        if more := check(message):
            found += more
            if len(found) >= MAX_VIOLATIONS:
                break
    return found


@cache
def _can_fail(descriptor: Descriptor) -> bool:
    """Whether this type, or one it holds at any depth, has a rule. Types may hold themselves."""
    seen: set[Descriptor] = set()
    waiting = [descriptor]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if any(map(_has_rule, current.fields)) or any(map(_is_required, current.oneofs)):
            return True
        waiting += [field.message_type for field in current.fields if field.message_type]
    return False


def _has_rule(field: FieldDescriptor) -> bool:
    return field.type in FLOAT_TYPES or field.enum_type is not None or limits_of(field) is not None


def _is_required(oneof: OneofDescriptor) -> bool:
    return bool(oneof.GetOptions().Extensions[limits_pb2.oneof_limits].required)


def _is_synthetic(oneof: OneofDescriptor) -> bool:
    """The oneof that protoc makes up around a proto3 `optional` field."""
    return len(oneof.fields) == 1 and oneof.name == f"_{oneof.fields[0].name}"


def _is_free_float(field: FieldDescriptor) -> bool:
    """A float that is always there and may be anything finite."""
    single = not field.is_repeated and not field.has_presence
    return single and field.type in FLOAT_TYPES and limits_of(field) is None


def _oneof_check(oneof: OneofDescriptor) -> Check | None:
    """One member is set, where that is required; the one that is set is right."""
    name = oneof.name
    members = {f.name: check for f in oneof.fields if (check := _value_check(f))}
    if not members and not _is_required(oneof):
        return None
    known = ", ".join(field.name for field in oneof.fields)
    missing = (Violation(name, f"expected one of {known}, got none"),)
    if_none: Found = missing if _is_required(oneof) else ()

    def check_oneof(message: Message) -> Found:
        chosen = message.WhichOneof(name)
        if chosen is None:
            return if_none
        check = members.get(chosen)
        return check(message) if check else ()

    return check_oneof


def _field_check(field: FieldDescriptor) -> Check | None:
    if field.is_repeated:
        item = field.message_type
        is_map = item is not None and item.GetOptions().map_entry
        return _map_check(field, item) if item and is_map else _repeated_check(field)
    return _optional_check(field) if field.has_presence else _value_check(field)


def _value_check(field: FieldDescriptor) -> Check | None:
    """The value of a field that is there."""
    name, read = field.name, _reader(field)
    if read is None:
        return None

    def check_value(message: Message) -> Found:
        found = read(getattr(message, name))
        return _below(name, found) if found else ()

    return check_value


def _optional_check(field: FieldDescriptor) -> Check | None:
    """A field that may be absent: present where that is required, and right if present."""
    name, limits, check = field.name, limits_of(field), _value_check(field)
    required = limits is not None and limits.required
    if check is None and not required:
        return None
    if_none: Found = (Violation(name, "expected a value, got none"),) if required else ()

    def check_optional(message: Message) -> Found:
        if not message.HasField(name):
            return if_none
        return check(message) if check else ()

    return check_optional


def _repeated_check(field: FieldDescriptor) -> Check | None:
    """Not too many items, not none where that is required, and every item right."""
    name, read, limits = field.name, _reader(field), limits_of(field)
    if read is None and limits is None:
        return None
    too_many = _count_check(field, "items")
    if_none: Found = ()
    if limits is not None and limits.required:
        if_none = (Violation(name, "expected at least one item, got none"),)
    sums = field.type in FLOAT_TYPES and limits is None

    def check_repeated(message: Message) -> Found:
        values = getattr(message, name)
        if not values:
            return if_none
        if found := too_many(values):
            return found
        if read is None or (sums and math.isfinite(sum(values))):
            return ()
        return _items(((f"{name}[{i}]", v) for i, v in enumerate(values)), read)

    return check_repeated


def _map_check(field: FieldDescriptor, entry: Descriptor) -> Check | None:
    """Not too many entries, and every value right; a path names the key: `fields["age"]`."""
    name, read = field.name, _reader(entry.fields_by_name["value"])
    if read is None and limits_of(field) is None:
        return None
    too_many = _count_check(field, "entries")

    def check_map(message: Message) -> Found:
        entries = getattr(message, name)
        if found := too_many(entries):
            return found
        if read is None:
            return ()
        return _items(((f'{name}["{key}"]', entries[key]) for key in entries), read)

    return check_map


def _count_check(field: FieldDescriptor, noun: str) -> Callable[[Any], Found]:
    name, limits = field.name, limits_of(field)
    if limits is None or not limits.HasField("max_items"):
        return lambda values: ()
    most = limits.max_items

    def too_many(values: Any) -> Found:
        if len(values) <= most:
            return ()
        return (Violation(name, f"expected at most {most} {noun}, got {len(values)}"),)

    return too_many


def _items(values: Iterable[tuple[str, object]], read: Reader) -> Found:
    found: list[Violation] = []
    for path, value in values:
        if wrong := read(value):
            found += _below(path, wrong)
            if len(found) >= MAX_VIOLATIONS:
                break
    return found


def _reader(field: FieldDescriptor) -> Reader | None:
    """What checks one value of this field; None if every value is right."""
    if field.message_type is None:
        return value_reader(field)
    descriptor = field.message_type
    if not _can_fail(descriptor):
        return None
    compiled: list[Check] = []

    def read(value: Any) -> Found:
        if not compiled:
            # Compiled when first met, because a type may hold itself.
            compiled.append(_compiled(descriptor) or (lambda message: ()))
        return compiled[0](value)

    return read


def _below(parent: str, found: Found) -> list[Violation]:
    return [Violation(f"{parent}.{v.field}" if v.field else parent, v.description) for v in found]
