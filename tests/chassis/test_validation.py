"""The limits of the protos, on their messages and on ones that random data fills."""

from __future__ import annotations

import importlib
import math
import pkgutil
from typing import Any

import grpc
import kinemask.v1
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemask.v1 import (
    detector_pb2,
    limits_pb2,
    media_pb2,
    segmenter_pb2,
    streams_pb2,
    tracker_pb2,
)
from kinemask_chassis.errors import ServiceError
from kinemask_chassis.validation import MAX_VIOLATIONS, validate, violations

Box = media_pb2.Box
NAN, INF = math.nan, math.inf
GOOD_BOX = Box(x_min=1, y_min=2, x_max=3, y_max=4)


def _paths(message: Message) -> list[str]:
    return [violation.field for violation in violations(message)]


@pytest.mark.parametrize(
    ("message", "paths"),
    [
        pytest.param(GOOD_BOX, [], id="a good box"),
        pytest.param(Box(x_min=NAN, y_max=INF), ["x_min", "y_max"], id="floats are finite"),
        pytest.param(Box(x_min=INF, x_max=-INF), ["x_min", "x_max"], id="infinities cancel out"),
        pytest.param(media_pb2.Image(), ["source"], id="a required oneof"),
        pytest.param(media_pb2.Image(encoded=b"jpeg"), [], id="a oneof's bytes"),
        pytest.param(media_pb2.Frame(), ["image"], id="a required message"),
        pytest.param(
            media_pb2.Frame(image=media_pb2.Image()), ["image.source"], id="a path goes down"
        ),
        pytest.param(
            media_pb2.Image(
                raw=media_pb2.RawImage(width=65536, format=media_pb2.PIXEL_FORMAT_RGB24)
            ),
            ["raw.data", "raw.width", "raw.height"],
            id="empty bytes, too wide, and a zero below the least",
        ),
        pytest.param(
            media_pb2.RawImage(data=b"1", width=1, height=1), ["format"], id="a required enum"
        ),
        pytest.param(
            media_pb2.RawImage(data=b"1", width=1, height=1, format=99),  # type: ignore[arg-type]  # not a format, on purpose
            ["format"],
            id="an enum's value that is not defined",
        ),
        pytest.param(
            detector_pb2.DetectOptions(prompts=["x"] * 65), ["prompts"], id="too many items"
        ),
        pytest.param(
            detector_pb2.DetectOptions(prompts=["ok", "ä" * 200, "x" * 201]),
            ["prompts[2]"],
            id="characters are counted, of each item",
        ),
        pytest.param(
            detector_pb2.DetectOptions(score_threshold=1.5, top_k=1000, model="x" * 201),
            ["score_threshold", "model"],
            id="an optional number, a string, and a number at its limit",
        ),
        pytest.param(
            detector_pb2.DetectOptions(score_threshold=NAN), ["score_threshold"], id="NaN in range"
        ),
        pytest.param(detector_pb2.DetectOptions(), [], id="what is unset is right"),
        pytest.param(detector_pb2.DetectRequest(), ["images"], id="a required list"),
        pytest.param(
            segmenter_pb2.SegmentVideoRequest(frame=media_pb2.Frame()),
            ["frame.image"],
            id="through a oneof",
        ),
        pytest.param(
            streams_pb2.StreamOptions(resume_token=b"x" * (64 * 2**20 + 1)),
            ["resume_token"],
            id="bytes are counted",
        ),
        pytest.param(tracker_pb2.TrackEdit(), ["end_track_ids"], id="a required list of numbers"),
    ],
)
def test_limits(message: Message, paths: list[str]) -> None:
    assert _paths(message) == paths


def test_a_violation_says_what_was_expected_and_what_came() -> None:
    frame = tracker_pb2.TrackFrame(
        detections=[detector_pb2.Detection(box=GOOD_BOX, score=0.5)] * 3
        + [detector_pb2.Detection(box=Box(x_max=NAN), score=2)]
    )
    assert [(v.field, v.description) for v in violations(frame)] == [
        ("detections[3].box.x_max", "expected a finite number, got nan"),
        ("detections[3].score", "expected 0 to 1, got 2"),
    ]


def test_at_most_twenty_are_reported() -> None:
    frame = tracker_pb2.TrackFrame(detections=[detector_pb2.Detection()] * 1000)
    assert len(violations(frame)) == MAX_VIOLATIONS
    many = tracker_pb2.TrackFrame(detections=[detector_pb2.Detection()] * 1001)
    assert _paths(many) == ["detections"]  # too many: its items are not even looked at


def test_validate_raises_with_all_of_them() -> None:
    with pytest.raises(ServiceError) as caught:
        validate(Box(x_min=NAN, y_min=NAN))
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in caught.value.violations] == ["x_min", "y_min"]
    validate(GOOD_BOX)


def test_a_type_that_holds_itself() -> None:
    metadata = struct_pb2.Struct()
    metadata["people"] = {"heights": [1.5, INF]}
    path = 'fields["people"].struct_value.fields["heights"].list_value.values[1].number_value'
    assert _paths(metadata) == [path]


def _all_messages() -> list[Descriptor]:
    found: list[Descriptor] = []
    for module in pkgutil.iter_modules(kinemask.v1.__path__):
        if module.name.endswith("_pb2"):
            pb2 = importlib.import_module(f"kinemask.v1.{module.name}")
            found += pb2.DESCRIPTOR.message_types_by_name.values()
    return found


@pytest.mark.parametrize("descriptor", _all_messages(), ids=lambda d: d.name)
def test_the_limits_of_every_message_fit_their_fields(descriptor: Descriptor) -> None:
    message = message_factory.GetMessageClass(descriptor)()
    assert all(v.description.startswith("expected") for v in violations(message))


# --- Limits that the protos do not use yet, on types made here ---------------------------------

Proto = descriptor_pb2.FieldDescriptorProto


def _message_class(name: str, *fields: Proto) -> Any:
    """A message class with these fields, and a nested map entry for fields of type message."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package="chassis_test", syntax="proto3"
    )
    file.dependency.append("kinemask/v1/limits.proto")
    message = file.message_type.add(name=name)
    for number, one in enumerate(fields, start=1):
        added = message.field.add()
        added.CopyFrom(one)
        added.number = number
        if one.proto3_optional:
            added.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{one.name}")
        if one.type == Proto.TYPE_MESSAGE:
            entry = message.nested_type.add(name="Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=Proto.TYPE_STRING, label=1)
            entry.field.add(name="value", number=2, type=Proto.TYPE_DOUBLE, label=1)
            added.type_name = f".chassis_test.{name}.Entry"
    descriptor_pool.Default().Add(file)
    found = descriptor_pool.Default().FindMessageTypeByName(f"chassis_test.{name}")
    return message_factory.GetMessageClass(found)


def _field(name: str, kind: Any, label: Any = 1, **limits: Any) -> Proto:
    made = Proto(name=name, type=kind, label=label)
    if limits:
        made.options.Extensions[limits_pb2.limits].CopyFrom(limits_pb2.Limits(**limits))
    return made


def test_limits_of_items_maps_and_optional_strings() -> None:
    optional = _field("nick", Proto.TYPE_STRING, required=True)
    optional.proto3_optional = True
    made = _message_class(
        "Various",
        _field("ages", Proto.TYPE_INT32, 3, min=0, max=150, max_items=3),
        _field("embedding", Proto.TYPE_DOUBLE, 3),
        _field("weights", Proto.TYPE_MESSAGE, 3, max_items=2),
        optional,
        _field("depth", Proto.TYPE_DOUBLE, min=-1),
    )
    good = {"ages": [0, 150], "embedding": [1e308, 1e308], "weights": {"a": 1.0}, "nick": "x"}
    assert _paths(made(**good)) == []  # the embedding's sum overflows, its parts are finite
    assert _paths(made(**{**good, "ages": [-1, 5, 151]})) == ["ages[0]", "ages[2]"]
    assert _paths(made(**{**good, "embedding": [0, INF, -INF]})) == ["embedding[1]", "embedding[2]"]
    assert _paths(made(**{**good, "weights": {"a": NAN}})) == ['weights["a"]']
    assert _paths(made(**{**good, "weights": {"a": 1, "b": 2, "c": 3}})) == ["weights"]
    assert _paths(made(**{**good, "nick": ""})) == ["nick"]
    assert _paths(made(ages=[1])) == ["nick"]
    assert _paths(made(**good, depth=INF)) == ["depth"]
    assert _paths(made(**good, depth=-1.5)) == ["depth"]


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        pytest.param(Proto.TYPE_STRING, {"min": 1}, id="a least string"),
        pytest.param(Proto.TYPE_INT32, {"max_len": 1}, id="a number's length"),
        pytest.param(Proto.TYPE_INT32, {"required": True}, id="a zero cannot be told from none"),
    ],
)
def test_limits_that_do_not_fit_are_a_mistake_in_the_proto(
    kind: Proto.Type.ValueType, limits: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    name = "Misfit" + "".join(filter(str.isalnum, request.node.callspec.id))
    made = _message_class(name, _field("it", kind, **limits))
    with pytest.raises(TypeError, match="its limits do not fit"):
        violations(made(it="x" if kind == Proto.TYPE_STRING else 1))


# --- Against a slow, plain reading of limits.proto ----------------------------------------------

FLOATS = st.one_of(st.sampled_from([NAN, INF, -INF, 0.0, 1.0, -1.0, 2.0]), st.floats(width=32))
ROOTS = [
    segmenter_pb2.SegmentVideoRequest,
    segmenter_pb2.SegmentImageRequest,
    tracker_pb2.TrackRequest,
    detector_pb2.DetectStreamRequest,
]


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.integers(0, 9)
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return FLOATS
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.sampled_from(["", "a", "x" * 100, "x" * 101, "x" * 200, "x" * 201])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.sampled_from([b"", b"a"])
    return st.sampled_from([0, 1, 3, 4, 100, 101, 256, 257, 65535, 65536, 2**31 - 1])


@st.composite
def _messages(draw: st.DrawFn, descriptor: Any) -> Message:
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if not draw(st.booleans()):
            continue
        inner = field.message_type
        values = _messages(inner) if inner else _scalars(field)
        if field.is_repeated:
            items = draw(st.lists(values, max_size=3))
            getattr(message, field.name).extend(items)
        elif inner:
            getattr(message, field.name).CopyFrom(draw(values))
        else:
            setattr(message, field.name, draw(values))
    return message


def _is_wrong(message: Message) -> bool:
    """Whether any rule of limits.proto is broken anywhere; slow and plain."""
    for oneof in message.DESCRIPTOR.oneofs:
        required = oneof.GetOptions().Extensions[limits_pb2.oneof_limits].required
        if required and message.WhichOneof(oneof.name) is None:
            return True
    return any(_is_field_wrong(message, field) for field in message.DESCRIPTOR.fields)


def _is_field_wrong(message: Message, field: Any) -> bool:
    limits = field.GetOptions().Extensions[limits_pb2.limits]
    if field.has_presence and not message.HasField(field.name):
        return bool(limits.required)
    value = getattr(message, field.name)
    values = list(value) if field.is_repeated else [value]
    if limits.required and not (values if field.is_repeated else value):
        return True
    if field.is_repeated and limits.HasField("max_items") and len(values) > limits.max_items:
        return True
    return any(_is_value_wrong(one, field, limits) for one in values)


def _is_value_wrong(value: Any, field: FieldDescriptor, limits: limits_pb2.Limits) -> bool:
    if isinstance(value, Message):
        return _is_wrong(value)
    if field.enum_type is not None:
        return value not in field.enum_type.values_by_number
    if isinstance(value, (str, bytes)):
        return limits.HasField("max_len") and len(value) > limits.max_len
    too_small = limits.HasField("min") and value < limits.min
    too_large = limits.HasField("max") and value > limits.max
    return too_small or too_large or not math.isfinite(value)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), root=st.sampled_from(ROOTS))
def test_the_compiled_check_agrees_with_the_plain_one(
    data: st.DataObject, root: type[Message]
) -> None:
    message = data.draw(_messages(root.DESCRIPTOR))
    assert bool(violations(message)) == _is_wrong(message)
