"""The model store: fetched whole and right from a hub on loopback, or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kinemask.models import (
    KNOWN,
    LOCK_FILE,
    KnownModel,
    ModelError,
    Store,
    known_model,
    known_models,
    pull,
)
from kinemask_captioner.engines.installed import FAMILIES
from kinemask_chassis.weights.checkpoints import Checkpoint, present
from kinemask_segmenter.engines.sam2 import checkpoints as sam2

from tests.client.fake_hub import COMMIT, FakeHub, serving

pytest.importorskip("huggingface_hub", reason="the extra kinemask[models] is not installed")

BLIP = known_model("blip-image-captioning-base")
TINY = known_model("sam2.1-hiera-tiny")
FOLDER = {
    "config.json": b'{"architectures": ["BlipForConditionalGeneration"]}',
    "model.safetensors": bytes(range(256)) * 100,
    "vocab.txt": b"a\nb\n",
    "pytorch_model.bin": b"a pickle, which nobody needs",
    "onnx/config.json": b"{}",
}
WANTED = {"config.json", "model.safetensors", "vocab.txt"}
WEIGHTS = b"weights of one file" * 1000
ONE_FILE = KnownModel(
    "one-file",
    "tests",
    "org/one-file",
    "MIT",
    sha256s={"w.pt": hashlib.sha256(WEIGHTS).hexdigest()},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving(BLIP.repo, FOLDER) as served:
        yield served


def nothing_seen(store: Store) -> bool:
    """No service finds anything, not even half of it."""
    here = [path.name for path in store.models_dir.glob("*") if path.name != ".pull"]
    return not here and not captioners(store) and not sam2.present(store.models_dir)


def captioners(store: Store) -> list[Checkpoint]:
    """What the captioner finds in the store."""
    return present(store.models_dir, "captioner", FAMILIES)


def left_over(store: Store) -> list[Path]:
    return [path for path in store.models_dir.glob(".pull/*/files/**/*") if path.is_file()]


def line(store: Store, hub: FakeHub | None, *arguments: str) -> subprocess.Popen[str]:
    """`kinemask models ...` in a process of its own."""
    endpoint = hub.endpoint if hub else "http://127.0.0.1:1"
    told = {"KINEMASK_DATA_DIR": str(store.models_dir.parent), "HF_ENDPOINT": endpoint}
    return subprocess.Popen(
        [sys.executable, "-m", "kinemask.cli", "models", *arguments],
        env={**os.environ, **told, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_folder_is_pulled_to_where_the_captioner_looks(store: Store, hub: FakeHub) -> None:
    assert pull(store, BLIP, hub.endpoint)
    (found,) = captioners(store)
    assert found.name == BLIP.name
    assert found.folder == store.folder(BLIP)
    assert {path.name for path in found.folder.iterdir()} == WANTED | {LOCK_FILE}
    assert all((found.folder / name).read_bytes() == FOLDER[name] for name in WANTED)
    lock = store.lock(BLIP)
    assert lock is not None
    assert (lock.repo, lock.commit, set(lock.sha256s)) == (BLIP.repo, COMMIT, WANTED)
    assert not left_over(store)


def test_a_second_pull_asks_nobody(store: Store, hub: FakeHub) -> None:
    assert pull(store, BLIP, hub.endpoint)
    asked = len(hub.requests)
    assert not pull(store, BLIP, hub.endpoint)
    assert len(hub.requests) == asked


def test_a_file_of_known_hash_is_pulled_and_verified(store: Store) -> None:
    with serving(ONE_FILE.repo, {"w.pt": WEIGHTS}) as hub:
        assert pull(store, ONE_FILE, hub.endpoint)
        assert store.complaints(ONE_FILE) == ()
        (store.folder(ONE_FILE) / "w.pt").write_bytes(b"damaged")
        (store.folder(ONE_FILE) / "mine.yaml").write_text("the operator's own")
        (complaint,) = store.complaints(ONE_FILE)
        assert ONE_FILE.sha256s["w.pt"] in complaint
        assert hashlib.sha256(b"damaged").hexdigest() in complaint
        assert pull(store, ONE_FILE, hub.endpoint), "a damaged file is fetched anew"
    assert store.complaints(ONE_FILE) == ()
    assert (store.folder(ONE_FILE) / "mine.yaml").exists()


def test_a_wrong_hash_is_refused_with_both_and_nothing_is_left(store: Store) -> None:
    files = {"sam2.1_hiera_tiny.pt": b"something else"}
    with serving(TINY.repo, files) as hub, pytest.raises(ModelError) as caught:
        pull(store, TINY, hub.endpoint)
    assert TINY.sha256s["sam2.1_hiera_tiny.pt"] in str(caught.value)
    assert hashlib.sha256(b"something else").hexdigest() in str(caught.value)
    assert nothing_seen(store)
    assert not left_over(store)


def test_what_the_first_pull_brought_is_held_to(store: Store, hub: FakeHub) -> None:
    pull(store, BLIP, hub.endpoint)
    weights = store.folder(BLIP) / "model.safetensors"
    weights.unlink()
    assert not store.present(BLIP)
    # The same commit with other bytes: as a hub, or somebody between, may try.
    hub.files["model.safetensors"] = b"another model"
    with pytest.raises(ModelError, match="expected SHA-256"):
        pull(store, BLIP, hub.endpoint)
    assert not weights.exists()
    hub.files["model.safetensors"] = FOLDER["model.safetensors"]
    assert pull(store, BLIP, hub.endpoint)
    assert all(COMMIT in path for path in hub.requests[-1:])
    assert store.complaints(BLIP) == ()


@pytest.mark.parametrize(
    "end", [pytest.param(signal.SIGKILL, id="killed"), pytest.param(signal.SIGTERM, id="asked to")]
)
def test_a_pull_that_is_cut_off_leaves_nothing_to_be_seen(
    store: Store, hub: FakeHub, end: signal.Signals
) -> None:
    hub.cut_after["model.safetensors"] = 1000
    pulling = line(store, hub, "pull", BLIP.name)
    assert hub.stalled.wait(60)
    pulling.send_signal(end)
    pulling.communicate(timeout=60)
    assert pulling.returncode == (-end if end == signal.SIGKILL else 130)
    assert nothing_seen(store)
    parts = list(store.models_dir.rglob("*.incomplete"))
    assert end == signal.SIGKILL or not parts, "whoever can still tidy up does"
    assert pull(store, BLIP, hub.endpoint)
    assert store.complaints(BLIP) == ()
    assert not left_over(store)


def test_two_pulls_of_one_model_do_not_meet(store: Store, hub: FakeHub) -> None:
    hub.cut_after["model.safetensors"] = 1000
    first = line(store, hub, "pull", BLIP.name)
    assert hub.stalled.wait(60)
    with pytest.raises(ModelError, match="another pull"):
        pull(store, BLIP, hub.endpoint)
    first.kill()
    first.communicate(timeout=60)


def test_files_of_ones_own_are_not_overwritten(store: Store, hub: FakeHub) -> None:
    own = store.folder(BLIP) / "r1"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    assert store.present(BLIP)
    with pytest.raises(ModelError, match="move them away"):
        pull(store, BLIP, hub.endpoint)
    (complaint,) = store.complaints(BLIP)
    assert "no SHA-256 to hold it to" in complaint
    assert hub.requests == []


def test_a_repository_without_the_files_is_refused(store: Store) -> None:
    expected = pytest.raises(ModelError, match=r"expected config\.json and \.safetensors")
    with serving(BLIP.repo, {"config.json": b"{}", "w.bin": b"pickle"}) as hub, expected:
        pull(store, BLIP, hub.endpoint)
    assert nothing_seen(store)


def test_a_repository_the_hub_does_not_have(store: Store, hub: FakeHub) -> None:
    with pytest.raises(ModelError, match="the hub does not have it"):
        pull(store, TINY, hub.endpoint)
    assert nothing_seen(store)


def test_the_command_line_pulls_lists_and_verifies(store: Store, hub: FakeHub) -> None:
    told = line(store, hub, "list").communicate(timeout=60)[0]
    (row,) = [text for text in told.splitlines() if text.startswith(BLIP.name)]
    assert all(word in row for word in (BLIP.license, "captioner", "990", " no "))
    assert line(store, hub, "pull", BLIP.name).wait(60) == 0
    told = line(store, hub, "list").communicate(timeout=60)[0]
    assert " yes " in next(text for text in told.splitlines() if text.startswith(BLIP.name))
    right = line(store, None, "verify")
    assert right.communicate(timeout=60)[0] == f"{BLIP.name}: right\n"
    assert right.returncode == 0
    (store.folder(BLIP) / "vocab.txt").write_text("c")
    wrong = line(store, None, "verify", BLIP.name)
    assert "expected SHA-256" in wrong.communicate(timeout=60)[0]
    assert wrong.returncode == 1


def test_without_a_network_it_says_so(store: Store) -> None:
    pulling = line(store, None, "pull", BLIP.name)
    told = pulling.communicate(timeout=60)[1]
    assert pulling.returncode == 1
    assert f"{BLIP.repo} at http://127.0.0.1:1 cannot be reached" in told
    assert len(told.splitlines()) == 1
    assert nothing_seen(store)


def test_without_the_hubs_client_it_says_what_to_install(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"pip install \"kinemask\[models\]\""):
        pull(store, BLIP)
    assert not store.present(BLIP)


def test_a_damaged_lock_file_is_told_of(store: Store, hub: FakeHub) -> None:
    pull(store, BLIP, hub.endpoint)
    (store.folder(BLIP) / LOCK_FILE).write_text("{}")
    for words in (("list",), ("verify",), ("pull", BLIP.name)):
        told = line(store, hub, *words)
        assert f"{LOCK_FILE}: expected what a pull recorded" in "".join(
            told.communicate(timeout=60)
        )
        assert told.returncode == 1


def test_an_unknown_name_is_told_which_there_are(store: Store) -> None:
    pulling = line(store, None, "pull", "sam3")
    told = pulling.communicate(timeout=60)[1]
    assert pulling.returncode == 2
    assert "found 'sam3'" in told
    assert all(known.name in told for known in KNOWN)


def test_the_manifest_is_what_the_services_look_for(store: Store) -> None:
    by_name = {known.name: known for known in KNOWN}
    assert len(by_name) == len(KNOWN)
    for checkpoint in sam2.KNOWN:
        assert by_name[checkpoint.name].sha256s == {checkpoint.file: checkpoint.sha256}
        folder = store.folder(by_name[checkpoint.name])
        assert sam2.default_path(store.models_dir, checkpoint) == folder / checkpoint.file
    for service in ("captioner", "detector"):
        assert [known.name for known in known_models(service)]
        assert not any(known.sha256s for known in known_models(service))
