"""What every proto of ours promises: lint, fresh stubs, comments, the stream contract, limits."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import kinemask.v1
import pytest
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto
from kinemask.v1 import limits_pb2

Place = tuple[int, ...]
"""Where a thing stands in a FileDescriptorProto: field numbers and indices in turn."""

REQUEST_FIELDS = {"config": 1, "frame": 2, "edit": 3, "snapshot": 4}
RESPONSE_FIELDS = {
    "started": 1,
    "result": 2,
    "error": 3,
    "skipped": 4,
    "edit": 5,
    "snapshot": 6,
    "go_away": 7,
}
# A stream that takes no edits (samples to enrol) has none to answer.
OPTIONAL_FIELDS = {"edit"}

MUTATING = re.compile(
    "Add|Cancel|Clear|Create|Delete|Enrol|Finish|Merge|Propagate|Reembed|Reject|Remove|Resume|Revoke"
    "|Share|Start|Transfer|Unmerge|Update"
)
# Bounded by the message size and the pixel limit, which only the decoder can check.
PICTURE_BYTES = {
    "kinemask.v1.Image.encoded",
    "kinemask.v1.RawImage.data",
    "kinemask.v1.Mask.rle",
    "kinemask.v1.Mask.png",
    "kinemask.v1.Mask.bits",
}


def _our_files() -> list[FileDescriptor]:
    names = sorted(m.name for m in pkgutil.iter_modules(kinemask.v1.__path__))
    modules = [importlib.import_module(f"kinemask.v1.{n}") for n in names if n.endswith("_pb2")]
    return [module.DESCRIPTOR for module in modules]


FILES = _our_files()
METHODS: list[MethodDescriptor] = [
    method
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
]
BIDIRECTIONAL = [m for m in METHODS if m.client_streaming and m.server_streaming]


def _rpc_id(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


def test_buf_lint_finds_nothing(protos_folder: Path) -> None:
    buf = Path(sysconfig.get_path("scripts")) / "buf"
    run = subprocess.run(
        [buf, "lint"], cwd=protos_folder, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_committed_stubs_equal_a_fresh_generation(
    generate_script: ModuleType, tmp_path: Path
) -> None:
    generate_script.generate(tmp_path)
    fresh = tmp_path / generate_script.PACKAGE
    assert len(list(fresh.glob("*_pb2.py"))) == len(FILES)
    assert generate_script.differences(fresh, generate_script.STUBS) == []


def _enum_places(enum: EnumDescriptorProto, at: Place, name: str) -> Iterator[tuple[Place, str]]:
    yield at, f"{name}.{enum.name}"
    for i, value in enumerate(enum.value):
        yield (*at, 2, i), f"{name}.{enum.name}.{value.name}"


def _message_places(message: DescriptorProto, at: Place, name: str) -> Iterator[tuple[Place, str]]:
    name = f"{name}.{message.name}"
    yield at, name
    for i, field in enumerate(message.field):
        yield (*at, 2, i), f"{name}.{field.name}"
    synthetic = {field.oneof_index for field in message.field if field.proto3_optional}
    for i, oneof in enumerate(message.oneof_decl):
        if i not in synthetic:
            yield (*at, 8, i), f"{name}.{oneof.name}"
    for i, nested in enumerate(message.nested_type):
        yield from _message_places(nested, (*at, 3, i), name)
    for i, enum in enumerate(message.enum_type):
        yield from _enum_places(enum, (*at, 4, i), name)


def _places(file: FileDescriptorProto) -> Iterator[tuple[Place, str]]:
    """Everything that wants a comment: where it stands and what it is called."""
    yield (12,), "the file (above `syntax`)"
    for i, message in enumerate(file.message_type):
        yield from _message_places(message, (4, i), "message")
    for i, enum in enumerate(file.enum_type):
        yield from _enum_places(enum, (5, i), "enum")
    for i, extension in enumerate(file.extension):
        yield (7, i), f"extension {extension.name}"
    for i, service in enumerate(file.service):
        yield (6, i), f"service {service.name}"
        for j, method in enumerate(service.method):
            yield (6, i, 2, j), f"rpc {service.name}.{method.name}"


@pytest.mark.parametrize("name", [file.name for file in FILES])
def test_everything_has_a_comment(
    files_with_comments: dict[str, FileDescriptorProto], name: str
) -> None:
    file = files_with_comments[name]
    locations = file.source_code_info.location
    commented = {tuple(at.path) for at in locations if at.leading_comments.strip()}
    assert [what for place, what in _places(file) if place not in commented] == []


def _enums(messages: Iterable[Descriptor]) -> Iterator[EnumDescriptor]:
    for message in messages:
        yield from message.enum_types
        yield from _enums(message.nested_types)


def test_the_zero_of_every_enum_is_unspecified() -> None:
    enums = [e for file in FILES for e in file.enum_types_by_name.values()]
    enums += [e for file in FILES for e in _enums(file.message_types_by_name.values())]
    assert enums
    zeros = {enum.full_name: enum.values_by_number[0].name for enum in enums}
    assert [e for e, zero in zeros.items() if not zero.endswith("_UNSPECIFIED")] == []


def _oneof_numbers(message: Descriptor) -> dict[str, int]:
    assert list(message.oneofs_by_name) == ["message"], "a stream's message is one oneof"
    return {field.name: field.number for field in message.oneofs_by_name["message"].fields}


@pytest.mark.parametrize("method", BIDIRECTIONAL, ids=_rpc_id)
@pytest.mark.parametrize(
    ("side", "contract"),
    [
        pytest.param("input_type", REQUEST_FIELDS, id="requests"),
        pytest.param("output_type", RESPONSE_FIELDS, id="responses"),
    ],
)
def test_streams_share_the_numbers_of_the_contract(
    method: MethodDescriptor, side: str, contract: dict[str, int]
) -> None:
    numbers = _oneof_numbers(getattr(method, side))
    shared = {name: number for name, number in numbers.items() if name in contract}
    missing_edit = OPTIONAL_FIELDS - numbers.keys()
    assert shared == {n: number for n, number in contract.items() if n not in missing_edit}
    own = [number for name, number in numbers.items() if name not in contract]
    assert not own or min(own) > max(contract.values())


def test_a_stream_takes_edits_exactly_where_it_answers_them() -> None:
    assert BIDIRECTIONAL
    for method in BIDIRECTIONAL:
        asks = "edit" in method.input_type.fields_by_name
        assert asks == ("edit" in method.output_type.fields_by_name), _rpc_id(method)


@pytest.mark.parametrize(
    "method",
    [m for m in METHODS if MUTATING.match(m.name) and not m.client_streaming],
    ids=_rpc_id,
)
def test_what_changes_something_takes_a_request_id(method: MethodDescriptor) -> None:
    assert "request_id" in method.input_type.fields_by_name


@pytest.mark.parametrize(
    "method",
    [m for m in METHODS if "page_size" in m.input_type.fields_by_name],
    ids=_rpc_id,
)
def test_pages_have_tokens_both_ways(method: MethodDescriptor) -> None:
    assert "page_token" in method.input_type.fields_by_name
    assert "next_page_token" in method.output_type.fields_by_name


def _fields_below(message: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    """Every field of ours that a client can fill in, at any depth."""
    if message.full_name in seen or message.file.package != "kinemask.v1":
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field
        if field.message_type is not None:
            yield from _fields_below(field.message_type, seen)


def _unbounded(field: FieldDescriptor) -> list[str]:
    limits = field.GetOptions().Extensions[limits_pb2.limits]
    text = field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
    missing = []
    if text and not limits.max_len and field.full_name not in PICTURE_BYTES:
        missing.append(f"{field.full_name}: max_len")
    if field.is_repeated and not limits.max_items:
        missing.append(f"{field.full_name}: max_items")
    return missing


def test_text_and_lists_from_clients_are_bounded() -> None:
    seen: set[str] = set()
    fields = [f for method in METHODS for f in _fields_below(method.input_type, seen)]
    assert {"kinemask.v1.DetectOptions.prompts"} <= {f.full_name for f in fields}
    assert [line for field in fields for line in _unbounded(field)] == []
