"""Which folders are captioning models, and what lacks where there are none."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from kinemask_captioner.engines import installed
from kinemask_captioner.engines.checkpoints import KNOWN, present, weights_bytes
from kinemask_captioner.settings import CaptionerSettings

BLIP = "BlipForConditionalGeneration"


def checkpoint(folder: Path, architecture: str = BLIP, weights: str = "model.safetensors") -> Path:
    """A folder that looks like a checkpoint from outside: one tensor of 3x5 numbers."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    header = {
        "w": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]},
        "__metadata__": {"format": "pt"},
    }
    text = json.dumps(header).encode()
    (folder / weights).write_bytes(len(text).to_bytes(8, "little") + text + bytes(60))
    return folder


def test_known_models_come_first_and_other_kinds_not_at_all(tmp_path: Path) -> None:
    checkpoint(tmp_path / "aaa")
    checkpoint(tmp_path / "florence-2-base", "Florence2ForConditionalGeneration")
    checkpoint(tmp_path / "blip-image-captioning-base")
    checkpoint(tmp_path / "detr", "DetrForObjectDetection")
    (tmp_path / "sam2.1-hiera-tiny").mkdir()
    (tmp_path / "notes.txt").write_text("no model")
    found = present(tmp_path)
    assert [(one.name, one.family) for one in found] == [
        ("blip-image-captioning-base", "blip"),
        ("florence-2-base", "florence2"),
        ("aaa", "blip"),
    ]
    assert [one.license for one in found] == ["BSD-3-Clause", "MIT", ""]


def test_revision_is_the_folder_in_between_the_newest_wins(tmp_path: Path) -> None:
    import os

    for age, revision in ((50, "old"), (10, "new"), (90, "older")):
        folder = checkpoint(tmp_path / "blip-image-captioning-base" / revision)
        os.utime(folder, (1e9 - age, 1e9 - age))
    (found,) = present(tmp_path)
    assert (found.revision, found.folder.name) == ("new", "new")


def test_plain_folder_is_a_local_revision(tmp_path: Path) -> None:
    checkpoint(tmp_path / "mine")
    assert [one.revision for one in present(tmp_path)] == ["local"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("config.json", b"{", id="config that is no JSON"),
        pytest.param("config.json", b"[]", id="config that is a list"),
        pytest.param("config.json", b'{"architectures": null}', id="config without architectures"),
        pytest.param("config.json", b"\xff\xfe", id="config that is no text"),
    ],
)
def test_damaged_config_is_no_model(tmp_path: Path, name: str, content: bytes) -> None:
    (checkpoint(tmp_path / "mine") / name).write_bytes(content)
    assert present(tmp_path) == []


def test_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    (checkpoint(tmp_path / "mine") / "model.safetensors").unlink()
    assert present(tmp_path) == []


def test_size_is_counted_from_the_headers(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine")
    assert weights_bytes(folder, 4) == 60
    assert weights_bytes(folder, 2) == 30


def test_damaged_weights_are_listed_as_such_and_do_not_stop_the_others(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    settings = CaptionerSettings(data_dir=tmp_path)
    (checkpoint(tmp_path / "models" / "mine") / "model.safetensors").write_bytes(b"\xff" * 20)
    checkpoint(tmp_path / "models" / "yours")
    engines = installed.installed_engines(settings)
    assert [engine.info.name for engine in engines] == ["yours"]
    assert "damaged" in {model.name: model.reason for model in engines.absent}["mine"]


def test_nothing_is_here_and_each_known_model_says_its_command(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    engines = installed.installed_engines(CaptionerSettings(data_dir=tmp_path))
    assert engines.default is None
    assert [model.name for model in engines.absent] == [known.name for known in KNOWN]
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
    checkpoint(tmp_path / "models" / "blip-image-captioning-base")
    checkpoint(tmp_path / "models" / "mine")
    engines = installed.installed_engines(CaptionerSettings(data_dir=tmp_path))
    assert engines.default is None
    reasons = {model.name: model.reason for model in engines.absent}
    assert next(iter(reasons)) == "blip-image-captioning-base"
    assert reasons.keys() == {*(known.name for known in KNOWN), "mine"}
    install = "torch, transformers not installed: pip install 'kinemask-captioner[transformers]'"
    assert all(reason.startswith(install) for reason in reasons.values())
    assert "models pull" not in reasons["mine"]
    assert reasons["florence-2-base"].endswith("kinemask models pull florence-2-base")
