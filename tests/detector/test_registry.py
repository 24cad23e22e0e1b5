"""How engines are found, registered and chosen."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from kinemask_chassis.errors import ServiceError
from kinemask_detector.engines.registry import GROUP, EngineSet, installed_engines

from tests.detector.spot_engine import SpotEngine


@pytest.mark.parametrize("name", ["", "auto", "spots"])
def test_default_is_the_first(name: str) -> None:
    first, second = SpotEngine(), SpotEngine("others")
    choice = EngineSet([first, second], notice="why").choose(name)
    assert choice.engine is first
    assert choice.notice == ("" if name == "spots" else "why")


def test_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ServiceError) as refused:
        EngineSet([SpotEngine()]).choose("gpt")
    assert refused.value.metadata["available"] == "auto, spots"


@pytest.mark.parametrize("count", [0, 2], ids=["none", "two of one name"])
def test_set_that_cannot_be(count: int) -> None:
    with pytest.raises(ValueError, match="different names, at least one"):
        EngineSet([SpotEngine() for _ in range(count)])


def install(folder: Path, entry: str) -> None:
    """Lay out a package's metadata that registers an engine."""
    info = folder / "spots-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry}\n")


def test_registered_engine_comes_before_classic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "spots = tests.detector.spot_engine:SpotEngine")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    importlib.invalidate_caches()
    engines = installed_engines()
    assert [engine.info.name for engine in engines] == ["spots", "classic"]
    assert engines.choose("auto").notice == ""


def test_entry_must_bear_its_engines_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "dots = tests.detector.spot_engine:SpotEngine")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="'dots' to make 'dots', got 'spots'"):
        installed_engines()


def test_classic_alone_says_why_it_was_chosen() -> None:
    choice = installed_engines().choose("auto")
    assert choice.engine.info.name == "classic"
    assert "classic" in choice.notice
