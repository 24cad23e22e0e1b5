"""Which folders are checkpoints, what known models lack, and which models are in memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from kinemask.models import LOCK_FILE
from kinemask_chassis.errors import ServiceError
from kinemask_chassis.weights.absent import absent_models, install_hint
from kinemask_chassis.weights.checkpoints import PICKLES, Checkpoint, present, weights_bytes
from kinemask_chassis.weights.residency import Loadable, Residency

from tests.checkpoint_kit import write_checkpoint

BLIP, FLORENCE = "BlipForConditionalGeneration", "Florence2ForConditionalGeneration"


def found_in(folder: Path) -> list[Checkpoint]:
    return present(folder, "captioner", {BLIP, FLORENCE})


def test_known_models_come_first_and_other_kinds_not_at_all(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "aaa", BLIP)
    write_checkpoint(tmp_path / "florence-2-base", FLORENCE)
    write_checkpoint(tmp_path / "blip-image-captioning-base", BLIP)
    write_checkpoint(tmp_path / "detr", "DetrForObjectDetection")
    (tmp_path / "sam2.1-hiera-tiny").mkdir()
    (tmp_path / "notes.txt").write_text("no model")
    found = found_in(tmp_path)
    assert [(one.name, one.architecture) for one in found] == [
        ("blip-image-captioning-base", BLIP),
        ("florence-2-base", FLORENCE),
        ("aaa", BLIP),
    ]
    assert [one.license for one in found] == ["BSD-3-Clause", "MIT", ""]


def test_revision_is_the_folder_in_between_the_newest_wins(tmp_path: Path) -> None:
    for age, revision in ((50, "old"), (10, "new"), (90, "older")):
        folder = write_checkpoint(tmp_path / "blip-image-captioning-base" / revision, BLIP)
        os.utime(folder, (1e9 - age, 1e9 - age))
    (found,) = found_in(tmp_path)
    assert (found.revision, found.folder.name) == ("new", "new")


@pytest.mark.parametrize(
    ("lock", "revision"),
    [
        pytest.param(None, "local", id="the operator's own"),
        pytest.param({"commit": "c0ffee"}, "c0ffee", id="pulled"),
        pytest.param(["c0ffee"], "local", id="lock that is no lock"),
    ],
)
def test_revision_of_a_plain_folder_is_what_a_pull_recorded(
    tmp_path: Path, lock: object, revision: str
) -> None:
    folder = write_checkpoint(tmp_path / "mine", BLIP)
    if lock is not None:
        (folder / LOCK_FILE).write_text(json.dumps(lock))
    assert [one.revision for one in found_in(tmp_path)] == [revision]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"architectures": null}', id="no architectures"),
        pytest.param(b'{"architectures": 3}', id="architectures that are no list"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_damaged_config_is_no_model(tmp_path: Path, content: bytes) -> None:
    (write_checkpoint(tmp_path / "mine", BLIP) / "config.json").write_bytes(content)
    assert found_in(tmp_path) == []


def test_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path / "mine", BLIP) / "model.safetensors").unlink()
    assert found_in(tmp_path) == []


def test_pickles_count_only_where_they_are_asked_for(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "mine", BLIP, "pytorch_model.bin")
    assert found_in(tmp_path) == []
    assert [one.name for one in present(tmp_path, "captioner", {BLIP}, (PICKLES,))] == ["mine"]


def test_size_is_counted_from_the_headers(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mine", BLIP)
    assert weights_bytes(folder, 4) == 60
    assert weights_bytes(folder, 2) == 30


def test_every_known_model_that_is_not_here_says_its_command(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "florence-2-base", FLORENCE)
    lacking = absent_models("captioner", "transformers", found_in(tmp_path))
    assert [model.name for model in lacking] == [
        "blip-image-captioning-base",
        "smolvlm2-500m-video-instruct",
    ]
    assert lacking[0].reason.endswith("kinemask models pull blip-image-captioning-base")


def test_missing_packages_are_named_with_what_to_install() -> None:
    assert install_hint(["json", "surely_nothing"], "kinemask-x[y]") == (
        "surely_nothing not installed: pip install 'kinemask-x[y]'"
    )
    assert install_hint(["json"], "kinemask-x[y]") == ""


class Weighty:
    """An engine that says how much it weighs, and weighs more once it is loaded."""

    def __init__(self, name: str, size_bytes: int, grows_bytes: int = 0) -> None:
        self.name, self.size_bytes, self.loaded = name, size_bytes, False
        self._grows_bytes = grows_bytes

    @property
    def info(self) -> Weighty:
        return self

    def load(self) -> None:
        self.loaded = True
        self.size_bytes += self._grows_bytes

    def unload(self) -> None:
        self.loaded = False


def test_the_one_not_used_for_longest_makes_room() -> None:
    one, two, three = (Weighty(name, 40) for name in ("one", "two", "three"))
    residency = Residency(100, "X")
    for engine in (one, two, one, three):
        assert isinstance(engine, Loadable)
        residency.hold(engine)
    assert residency.names == ("one", "three")
    assert [engine.loaded for engine in (one, two, three)] == [True, False, True]
    residency.clear()
    assert not any(engine.loaded for engine in (one, two, three))


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(Weighty("big", 101), id="by its files"),
        pytest.param(Weighty("big", 50, grows_bytes=51), id="once it is loaded"),
    ],
)
def test_model_over_the_budget_is_refused_and_says_which_setting(engine: Weighty) -> None:
    residency = Residency(100, "KINEMASK_X_MEMORY_MIB")
    with pytest.raises(ServiceError, match="KINEMASK_X_MEMORY_MIB") as refused:
        residency.hold(engine)
    assert refused.value.reason == "MODEL_TOO_LARGE"
    assert not engine.loaded
