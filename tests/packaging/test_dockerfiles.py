"""Each service's Dockerfile against the tree: sources, commands, ports, variables, versions."""

from __future__ import annotations

import fnmatch
import importlib.util
from pathlib import Path

import pytest
from kinemask.cli.up.services import DEFAULT_PORTS

from tests.packaging.conftest import ROOT, SERVICES, load_as, project
from tests.packaging.dockerfile import Stage, read_dockerfile

each_service = pytest.mark.parametrize("service", SERVICES)


def _stages(service: str) -> tuple[Stage, Stage]:
    build, final = read_dockerfile(ROOT / "services" / service / "Dockerfile")
    return build, final


def test_every_service_has_a_dockerfile() -> None:
    assert {path.parent.name for path in ROOT.glob("services/*/Dockerfile")} == set(SERVICES)
    assert len(SERVICES) >= 4


@each_service
def test_both_stages_stand_on_the_same_small_python(service: str) -> None:
    assert [stage.image for stage in _stages(service)] == ["python:3.11-slim"] * 2


@each_service
def test_it_copies_the_sdk_the_chassis_and_the_service_and_no_more(service: str) -> None:
    build, final = _stages(service)
    sources = {source for copy in build.copies for source in copy[:-1]}
    ours = {"clients/python", "services/chassis", f"services/{service}"}
    assert sources == {"constraints.txt", *ours}
    assert all((ROOT / source).exists() for source in sources)
    assert final.copies == []
    assert {name for name in ours if f"./{name}" in build.runs[-1]} == ours


@each_service
def test_what_is_copied_is_not_ignored(service: str) -> None:
    build, _ = _stages(service)
    rules = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line[:1] != "#"]
    for copy in build.copies:
        for source in copy[:-1]:
            assert not _ignored(source, rules), source
    assert _ignored(".venv", rules) and _ignored(".git", rules) and _ignored("tests", rules)


def _ignored(path: str, rules: list[str]) -> bool:
    """The last rule that fits the path, or a folder above it, decides."""
    ignored = False
    above = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    for rule in filter(None, rules):
        pattern = rule.removeprefix("!").removeprefix("**/")
        if any(fnmatch.fnmatch(part, pattern) for part in above):
            ignored = not rule.startswith("!")
    return ignored


@each_service
def test_everything_is_installed_at_its_pinned_version_and_nothing_compiled(service: str) -> None:
    installs = [run for run in _stages(service)[0].runs if "pip install" in run]
    assert len(installs) == 2
    for run in installs:
        assert "--constraint constraints.txt" in run and "--only-binary :all:" in run
    assert "--no-build-isolation" in installs[-1], "the backend would come unpinned"
    assert _stages(service)[0].environment["PIP_NO_CACHE_DIR"] == "1"


@each_service
def test_it_starts_the_service_and_asks_for_its_health(service: str) -> None:
    final = _stages(service)[1]
    assert final.command == ["python", "-m", f"kinemask_{service}"]
    assert final.health_command == ["python", "-m", "kinemask_chassis.probe"]
    for command in (final.command[-1] + ".__main__", final.health_command[-1]):
        assert importlib.util.find_spec(command) is not None
    assert final.user == "kinemask" and "useradd" in final.runs[0]


@each_service
def test_variables_and_ports_are_those_of_the_settings(service: str) -> None:
    final = _stages(service)[1]
    settings = load_as(service, final.environment)
    assert settings.port == DEFAULT_PORTS[service] == type(settings).model_fields["port"].default
    assert final.ports == [settings.port, settings.metrics_port]
    assert settings.host == settings.metrics_host == "0.0.0.0", "other containers could not call"
    assert str(settings.data_dir) == "/data" and f"kinemask {settings.data_dir}" in final.runs[0]


@each_service
def test_every_accelerator_is_an_extra_of_the_project(service: str) -> None:
    build = _stages(service)[0]
    extras = project(ROOT / f"services/{service}/pyproject.toml").get("optional-dependencies", {})
    accelerators = {"cpu", "cuda"} & extras.keys()
    assert build.arguments == ({"ACCELERATOR": "cpu"} if accelerators else {})
    assert (f"./services/{service}[${{ACCELERATOR}}]" in build.runs[-1]) == bool(accelerators)
    assert accelerators in (set(), {"cpu", "cuda"})
