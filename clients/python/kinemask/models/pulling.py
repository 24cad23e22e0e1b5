"""Fetching a model from the Hugging Face hub: whole and checked, or not at all.

Files are fetched into `MODELS/.pull/NAME/`, where no service looks, and moved to where it does by
renames once all are there and right. After a pull that was cut off, the files that had come whole
are not fetched again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

from kinemask.models.manifest import KnownModel
from kinemask.models.store import Lock, ModelError, Store, differences, file_sha256, write_lock

# What a folder needs to be loaded: no pickles, and no other frameworks' weights.
_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".safetensors")
_LOCK_TIMEOUT_S = 1.0
_INSTALL = 'pulling needs the hub\'s client: pip install "kinemask[models]"'


def pull(store: Store, known: KnownModel, endpoint: str | None = None) -> bool:
    """Fetch a model that is not here, or not right; True if anything was fetched.

    Where the files' SHA-256 are not published here, those of the first pull and its commit are
    recorded beside them, and later pulls have to bring the same.

    Args:
        store: where to.
        known: which.
        endpoint: URL of the hub; by default HF_ENDPOINT, or the public one.

    Raises:
        ModelError: no network, the hub refuses, a wrong hash (says both; nothing is kept), another
            pull of it is running, its folder holds files of the operator's own, or
            `huggingface_hub` is not installed.
        OSError: no room, or no right to write.
    """
    if store.present(known) and not store.expected(known):
        raise ModelError(
            f"{store.folder(known)} holds files that were not pulled; move them away to pull"
        )
    if store.present(known) and not store.complaints(known):
        return False
    with _staging(store, known) as staging:
        lock = _fetched(known, store.lock(known), staging, endpoint)
        _check(staging, store.expected(known))
        _move_in(staging, store.folder(known), lock)
    return True


@contextmanager
def _staging(store: Store, known: KnownModel) -> Iterator[Path]:
    """A folder that is this pull's alone; after one that was cut off, whole files stay in it."""
    try:
        from huggingface_hub.utils import WeakFileLock
    except ImportError:
        raise ModelError(_INSTALL) from None
    place = store.models_dir / ".pull" / known.name
    place.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(WeakFileLock(place / "lock", timeout=_LOCK_TIMEOUT_S))
        except TimeoutError:
            raise ModelError(f"another pull of {known.name} is running") from None
        (place / "files").mkdir(exist_ok=True)
        _drop_parts(place / "files")  # of a pull that was killed
        try:
            yield place / "files"
        finally:
            _drop_parts(place / "files")
        shutil.rmtree(place / "files")


def _drop_parts(staging: Path) -> None:
    """Remove files that did not come whole: the hub's client never goes on with them."""
    for part in staging.glob(".cache/huggingface/download/**/*.incomplete"):
        part.unlink()


def _fetched(known: KnownModel, before: Lock | None, staging: Path, endpoint: str | None) -> Lock:
    """All files of one commit in the staging folder, and what they are."""
    from huggingface_hub import HfApi

    hub = HfApi(endpoint=endpoint or os.environ.get("HF_ENDPOINT") or None)
    with _told(known, hub.endpoint):
        info = hub.model_info(known.repo, revision=before.commit if before else "main", timeout=30)
        commit = cast(str, info.sha)
        files = _chosen(known, before, [entry.rfilename for entry in info.siblings or ()])
        for file in files:
            hub.hf_hub_download(known.repo, file, revision=commit, local_dir=staging)
    return Lock(known.repo, commit, {file: file_sha256(staging / file) for file in files})


def _chosen(known: KnownModel, before: Lock | None, offered: Sequence[str]) -> list[str]:
    wanted = list(known.sha256s or (before.sha256s if before else ()))
    if wanted:
        return wanted
    found = sorted(file for file in offered if "/" not in file and file.endswith(_SUFFIXES))
    if not any(file.endswith(".safetensors") for file in found) or "config.json" not in found:
        raise ModelError(
            f"{known.repo}: expected config.json and .safetensors, found {', '.join(offered)}"
        )
    return found


def _check(staging: Path, expected: Mapping[str, str]) -> None:
    wrong = differences(staging, expected)
    if wrong:
        shutil.rmtree(staging)
        raise ModelError("; ".join(wrong) + "; nothing of it was kept")


def _move_in(staging: Path, folder: Path, lock: Lock) -> None:
    """By one rename; into a folder that is there already, by one a file, and the lock last."""
    shutil.rmtree(staging / ".cache", ignore_errors=True)  # the hub client's notes
    if not folder.exists():
        write_lock(staging, lock)
        staging.rename(folder)
        staging.mkdir()
        return
    for file in lock.sha256s:
        (staging / file).replace(folder / file)
    write_lock(folder, lock)


@contextmanager
def _told(known: KnownModel, endpoint: str) -> Iterator[None]:
    """The hub client's errors as ours: what happened, and what to do."""
    from huggingface_hub import errors

    source = f"{known.repo} at {endpoint}"
    http_error = cast(Any, errors).HTTPError  # of whichever HTTP client it uses
    unreached = (http_error, ConnectionError, errors.LocalEntryNotFoundError)
    try:
        yield
    except errors.GatedRepoError:
        how = "ask for access on its page, then set HF_TOKEN"
        raise ModelError(f"{source} is not given to everybody: {how}") from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelError(f"{source}: the hub does not have it ({_line(error)})") from None
    except errors.RemoteEntryNotFoundError as error:
        raise ModelError(f"{source}: {_line(error)}") from None
    except errors.HfHubHTTPError as error:
        raise ModelError(f"{source}: the hub refused ({_line(error)})") from None
    except (*unreached, errors.FileMetadataError) as error:
        raise ModelError(
            f"{source} cannot be reached ({_line(error)}); pull on a machine with a network and "
            f"copy the folder {known.name}, or run the same line again later"
        ) from None


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
