"""The protos themselves, for the tests of this folder."""

from __future__ import annotations

import importlib.util
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types


@pytest.fixture(scope="session")
def protos_folder() -> Path:
    return Path(__file__).resolve().parents[2] / "protos"


@pytest.fixture(scope="session")
def generate_script(protos_folder: Path) -> ModuleType:
    """protos/generate.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("generate", protos_folder / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def files_with_comments(
    protos_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, FileDescriptorProto]:
    """Every proto of ours by its name, with source info (generated stubs have none)."""
    out = tmp_path_factory.mktemp("descriptors") / "all.binpb"
    sources = sorted(str(path) for path in (protos_folder / "kinemask/v1").glob("*.proto"))
    roots = [f"-I{protos_folder}", f"-I{files('grpc_tools') / '_proto'}"]
    options = ["--include_source_info", f"--descriptor_set_out={out}"]
    assert protoc.main(["protoc", *roots, *options, *sources]) == 0
    found = FileDescriptorSet.FromString(out.read_bytes())
    return {file.name: file for file in found.file}
