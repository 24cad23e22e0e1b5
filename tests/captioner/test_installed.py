"""Which captioning engines there are, and what lacks where there are none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from kinemask.models import known_models
from kinemask_captioner.engines import installed
from kinemask_captioner.settings import CaptionerSettings

from tests.checkpoint_kit import write_checkpoint

BLIP = "BlipForConditionalGeneration"
KNOWN = [known.name for known in known_models("captioner")]


def test_damaged_weights_are_listed_as_such_and_do_not_stop_the_others(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    settings = CaptionerSettings(data_dir=tmp_path)
    (write_checkpoint(tmp_path / "models" / "mine", BLIP) / "model.safetensors").write_bytes(
        b"\xff" * 20
    )
    write_checkpoint(tmp_path / "models" / "yours", BLIP)
    engines = installed.installed_engines(settings)
    assert [engine.info.name for engine in engines] == ["yours"]
    assert "damaged" in {model.name: model.reason for model in engines.absent}["mine"]


def test_nothing_is_here_and_each_known_model_says_its_command(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    engines = installed.installed_engines(CaptionerSettings(data_dir=tmp_path))
    assert engines.default is None
    assert [model.name for model in engines.absent] == KNOWN
    for model in engines.absent:
        assert model.reason.endswith(f"kinemask models pull {model.name}")


def test_without_torch_every_model_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    absent = ("torch", "transformers")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else real(name)
    )
    write_checkpoint(tmp_path / "models" / "blip-image-captioning-base", BLIP)
    write_checkpoint(tmp_path / "models" / "mine", BLIP)
    engines = installed.installed_engines(CaptionerSettings(data_dir=tmp_path))
    assert engines.default is None
    reasons = {model.name: model.reason for model in engines.absent}
    assert next(iter(reasons)) == "blip-image-captioning-base"
    assert reasons.keys() == {*KNOWN, "mine"}
    install = "torch, transformers not installed: pip install 'kinemask-captioner[transformers]'"
    assert all(reason.startswith(install) for reason in reasons.values())
    assert "models pull" not in reasons["mine"]
    assert reasons["florence-2-base"].endswith("kinemask models pull florence-2-base")
