"""constraints.txt: everything pinned, everything that is asked for, one OpenCV."""

from __future__ import annotations

import re
from importlib import metadata

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.conftest import PROJECTS, ROOT, project

OURS = {canonicalize_name(project(path)["name"]) for path in PROJECTS}


def _pins() -> dict[str, str]:
    text = (ROOT / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        # No addresses and no hashes: the same file serves every index.
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!+]*", line), line
    return {canonicalize_name(name): v for name, v in (line.split("==") for line in lines)}


def _asked_for() -> list[Requirement]:
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    dev = [line for line in lines if line and not line.startswith("#")]
    of_projects = [text for path in PROJECTS for text in project(path)["dependencies"]]
    return [Requirement(text) for text in dev + of_projects]


def test_everything_that_is_asked_for_is_pinned_within_its_bounds() -> None:
    pins = _pins()
    for wanted in _asked_for():
        name = canonicalize_name(wanted.name)
        if name not in OURS:
            assert name in pins, f"{wanted}: run make constraints"
            assert wanted.specifier.contains(pins[name]), f"{wanted}, pinned {pins[name]}"


def test_what_those_need_is_pinned_too() -> None:
    pins = _pins()
    environment = {**default_environment(), "extra": ""}
    for name in pins:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate(environment):  # type: ignore[arg-type]  # the type lacks str
                assert canonicalize_name(need.name) in pins, f"{name} needs {need}"


def test_there_is_one_opencv_headless_and_below_5() -> None:
    opencv = {name: version for name, version in _pins().items() if "opencv" in name}
    assert opencv.keys() == {"opencv-python-headless"}
    assert int(opencv["opencv-python-headless"].split(".")[0]) < 5


def test_the_sdk_brings_no_heavy_framework() -> None:
    sdk = project(ROOT / "clients/python/pyproject.toml")["dependencies"]
    heavy = {"torch", "transformers", "onnxruntime", "tensorflow", "scikit-image", "scipy"}
    assert not heavy & {canonicalize_name(Requirement(text).name) for text in sdk}
