"""Checks of single values (numbers, strings, enums) against a field's limits, as closures."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from kinemask.v1 import limits_pb2

from kinemask_chassis.errors import Violation

Found: TypeAlias = Iterable[Violation]
Reader: TypeAlias = Callable[[object], Found]
"""Takes a value, gives what is wrong with it; paths begin at the value (empty for a scalar)."""
FLOAT_TYPES = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
_TEXT_TYPES = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
_MAX_FLOAT = sys.float_info.max


def limits_of(field: FieldDescriptor) -> limits_pb2.Limits | None:
    """The field's `limits` option, None where it has none."""
    options = field.GetOptions()
    if not options.HasExtension(limits_pb2.limits):
        return None
    return options.Extensions[limits_pb2.limits]


def value_reader(field: FieldDescriptor) -> Reader | None:
    """What checks one value of this scalar field; None if every value is right.

    Raises:
        TypeError: the proto asks for what the field's type cannot hold.
    """
    limits = limits_of(field) or limits_pb2.Limits()
    _refuse_misfits(field, limits)
    required = limits.required and not field.is_repeated
    if field.enum_type is not None:
        return _enum_reader(field, required)
    if field.type in _TEXT_TYPES:
        return _text_reader(field, limits, required)
    return _number_reader(field, limits)


def floats_check(names: list[str]) -> Callable[[Message], Found]:
    """Checks in one look that all these float fields of a message are finite."""
    read: Callable[[Message], Any] = attrgetter(*names)
    several = len(names) > 1

    def check_floats(message: Message) -> Found:
        # A sum is finite only if every part is; one that overflows gets the slow look below.
        if math.isfinite(sum(read(message)) if several else read(message)):
            return ()
        values = ((name, getattr(message, name)) for name in names)
        return [Violation(name, _not_finite(v)) for name, v in values if not math.isfinite(v)]

    return check_floats


def _refuse_misfits(field: FieldDescriptor, limits: limits_pb2.Limits) -> None:
    """A limit that could never hold or never fail is a mistake in the proto: say so at once."""
    is_number = field.enum_type is None and field.type not in _TEXT_TYPES
    bounded = limits.HasField("min") or limits.HasField("max")
    silent = limits.required and is_number and not (field.has_presence or field.is_repeated)
    if (bounded and not is_number) or (limits.HasField("max_len") and is_number) or silent:
        raise TypeError(f"{field.full_name}: its limits do not fit its type: {limits!s}")


def _enum_reader(field: FieldDescriptor, required: bool) -> Reader:
    assert field.enum_type is not None
    known = {value.number: value.name for value in field.enum_type.values}
    allowed = frozenset(known) - ({0} if required else set())
    names = ", ".join(known[number] for number in sorted(allowed))

    def read_enum(value: object) -> Found:
        if value in allowed:
            return ()
        came = known[0] if value == 0 else value
        return (Violation("", f"expected one of {names}, got {came}"),)

    return read_enum


def _text_reader(
    field: FieldDescriptor, limits: limits_pb2.Limits, required: bool
) -> Reader | None:
    unit = "characters" if field.type == FieldDescriptor.TYPE_STRING else "bytes"
    low = 1 if required else 0
    high = limits.max_len if limits.HasField("max_len") else sys.maxsize
    if not required and not limits.HasField("max_len"):
        return None

    def read_text(value: object) -> Found:
        assert isinstance(value, (str, bytes))
        length = len(value)
        if low <= length <= high:
            return ()
        wanted = f"at most {high} {unit}" if length else "a value that is not empty"
        return (Violation("", f"expected {wanted}, got {length or 'none'}"),)

    return read_text


def _number_reader(field: FieldDescriptor, limits: limits_pb2.Limits) -> Reader | None:
    """One comparison: NaN fails it, and bounds of a float are finite, so infinities do as well."""
    is_float = field.type in FLOAT_TYPES
    has_low, has_high = limits.HasField("min"), limits.HasField("max")
    if not (is_float or has_low or has_high):
        return None
    widest = _MAX_FLOAT if is_float else math.inf
    low = limits.min if has_low else -widest
    high = limits.max if has_high else widest
    wanted = _range(limits)

    def read_number(value: object) -> Found:
        assert isinstance(value, (int, float))
        if low <= value <= high:
            return ()
        if not math.isfinite(value):
            return (Violation("", _not_finite(value)),)
        return (Violation("", f"expected {wanted}, got {value:g}"),)

    return read_number


def _range(limits: limits_pb2.Limits) -> str:
    if limits.HasField("min") and limits.HasField("max"):
        return f"{limits.min:.10g} to {limits.max:.10g}"
    if limits.HasField("min"):
        return f"at least {limits.min:.10g}"
    return f"at most {limits.max:.10g}"


def _not_finite(value: object) -> str:
    return f"expected a finite number, got {value}"
