"""How engines are found, registered and chosen."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from kinemask.models import known_models
from kinemask_chassis.errors import ServiceError
from kinemask_chassis.weights.absent import AbsentModel
from kinemask_chassis.weights.checkpoints import Checkpoint
from kinemask_detector.engines.architectures import GROUP as ARCHITECTURES
from kinemask_detector.engines.base import UnknownPromptError
from kinemask_detector.engines.classic import ClassicEngine
from kinemask_detector.engines.installed import GROUP, installed_engines
from kinemask_detector.engines.registry import EngineSet
from kinemask_detector.settings import DetectorSettings

from tests.checkpoint_kit import write_checkpoint
from tests.detector.spot_engine import SpotEngine


@pytest.mark.parametrize("name", ["", "auto", "spots"])
def test_default_is_the_first(name: str) -> None:
    first, second = SpotEngine(), SpotEngine("others")
    choice = EngineSet([first, second]).choose(name)
    assert choice.engine is first
    assert choice.notice == ("" if name == "spots" else "auto chose spots")


def test_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ServiceError) as refused:
        EngineSet([SpotEngine()]).choose("gpt")
    assert refused.value.metadata["available"] == "auto, spots"


class OneWord(SpotEngine):
    """Knows a single word."""

    def check(self, prompts: Sequence[str], classes: Sequence[str]) -> None:
        if unknown := [word for word in prompts if word != self.info.name]:
            raise UnknownPromptError(unknown, [self.info.name])


@pytest.mark.parametrize(
    ("prompts", "chosen", "notice"),
    [
        pytest.param(["cup"], "cup", "auto chose cup", id="the default knows it"),
        pytest.param(
            ["hat"], "hat", "auto chose hat: cup cannot look for these words", id="another does"
        ),
        pytest.param(["cup", "hat"], "cup", "auto chose cup", id="none knows all: the default"),
        pytest.param([], "cup", "auto chose cup", id="no words"),
        pytest.param(
            ["a face"],
            "classic",
            "auto chose classic: it is made for what the prompts name",
            id="faces alone",
        ),
    ],
)
def test_auto_takes_the_first_that_can_look_for_the_words(
    prompts: list[str], chosen: str, notice: str
) -> None:
    engines = EngineSet([OneWord("cup"), OneWord("hat"), ClassicEngine()])
    choice = engines.choose("auto", prompts)
    assert (choice.engine.info.name, choice.notice) == (chosen, notice)


def test_absent_model_says_what_it_lacks() -> None:
    lacking = AbsentModel("big", "transformers", "MIT", "no weights: kinemask models pull big")
    engines = EngineSet([SpotEngine()], [lacking])
    with pytest.raises(ServiceError, match="kinemask models pull big") as refused:
        engines.choose("big")
    assert (refused.value.code, refused.value.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MODEL_ABSENT",
    )
    assert engines.choose("auto").engine.info.name == "spots"


@pytest.mark.parametrize("count", [0, 2], ids=["none", "two of one name"])
def test_set_that_cannot_be(count: int) -> None:
    with pytest.raises(ValueError, match="different names, at least one"):
        EngineSet([SpotEngine() for _ in range(count)])


def install(folder: Path, entry: str, group: str = GROUP) -> None:
    """Lay out a package's metadata that registers an engine."""
    info = folder / "spots-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")


def test_registered_engine_comes_before_classic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "spots = tests.detector.spot_engine:SpotEngine")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    importlib.invalidate_caches()
    engines = installed_engines(DetectorSettings(data_dir=tmp_path))
    assert [engine.info.name for engine in engines] == ["spots", "classic"]
    assert engines.choose("auto").notice == "auto chose spots"


def test_entry_must_bear_its_engines_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "dots = tests.detector.spot_engine:SpotEngine")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="'dots' to make 'dots', got 'spots'"):
        installed_engines(DetectorSettings(data_dir=tmp_path))


def test_classic_alone_says_why_and_what_the_others_lack(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="without it, they lack that")
    engines = installed_engines(DetectorSettings(data_dir=tmp_path))
    choice = engines.choose("auto")
    assert choice.engine.info.name == "classic"
    assert choice.notice == "auto chose classic: no other engine can run here"
    assert [model.name for model in engines.absent] == [m.name for m in known_models("detector")]
    for model in engines.absent:
        assert model.reason.endswith(f"kinemask models pull {model.name}")


def test_without_torch_every_model_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    absent = ("torch", "timm")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else real(name)
    )
    write_checkpoint(tmp_path / "models" / "mine", "DetrForObjectDetection")
    engines = installed_engines(DetectorSettings(data_dir=tmp_path))
    assert [engine.info.name for engine in engines] == ["classic"]
    install = "torch, timm not installed: pip install 'kinemask-detector[transformers]'"
    assert all(model.reason.startswith(install) for model in engines.absent)
    assert {model.name for model in engines.absent} > {"mine"}


def test_damaged_checkpoint_is_listed_as_such_and_does_not_stop_the_others(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="without it, nothing is looked at")
    folder = write_checkpoint(tmp_path / "models" / "mine", "DetrForObjectDetection")
    (folder / "model.safetensors").write_bytes(b"\xff" * 20)
    engines = installed_engines(DetectorSettings(data_dir=tmp_path))
    assert [engine.info.name for engine in engines] == ["classic"]
    assert "damaged" in {model.name: model.reason for model in engines.absent}["mine"]


class Painted(SpotEngine):
    """Somebody's engine for an architecture of theirs."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint.name)
        self.device = device


def test_architecture_is_added_by_registering_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="without it, no checkpoint is looked at")
    install(tmp_path, "PaintedForDetection = tests.detector.test_registry:Painted", ARCHITECTURES)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    importlib.invalidate_caches()
    write_checkpoint(tmp_path / "models" / "mine", "PaintedForDetection")
    settings = DetectorSettings(data_dir=tmp_path, detector_device="cpu")
    mine, classic = installed_engines(settings)
    assert (mine.info.name, classic.info.name) == ("mine", "classic")
    assert getattr(mine, "device", None) == "cpu"
