"""The folder of models: what is here, and whether it is what it should be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kinemask.models.manifest import KnownModel

LOCK_FILE = "kinemask-lock.json"
"""Beside a model's files: where they came from, and what they were."""
_CONFIG = "config.json"


class ModelError(Exception):
    """A model could not be fetched, or is not what it should be."""


@dataclass(frozen=True)
class Lock:
    """Where a model's files came from, and what they have to be from then on."""

    repo: str
    commit: str
    sha256s: Mapping[str, str]


@dataclass(frozen=True)
class Store:
    """Models in a folder, each in `MODELS_DIR/NAME/`, where the services look for it."""

    models_dir: Path

    def folder(self, known: KnownModel) -> Path:
        """Where its files are expected."""
        return self.models_dir / known.name

    def expected(self, known: KnownModel) -> Mapping[str, str]:
        """Its files' SHA-256: published, or recorded when it was pulled; empty: neither.

        Raises:
            ModelError: the lock file is damaged.
        """
        if known.sha256s:
            return known.sha256s
        lock = self.lock(known)
        return lock.sha256s if lock else {}

    def lock(self, known: KnownModel) -> Lock | None:
        """What was recorded when it was pulled; None: it was not pulled.

        Raises:
            ModelError: the lock file is damaged.
        """
        path = self.folder(known) / LOCK_FILE
        try:
            found = json.loads(path.read_text())
            sha256s = {str(file): str(sha256) for file, sha256 in found["sha256s"].items()}
            return Lock(str(found["repo"]), str(found["commit"]), sha256s)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: expected what a pull recorded, found {error!r}") from None

    def present(self, known: KnownModel) -> bool:
        """Whether all its files are here; what is in them is not looked at."""
        folder, expected = self.folder(known), self.expected(known)
        if expected:
            return all((folder / file).is_file() for file in expected)
        # A folder of the operator's own: MODELS/NAME/ or MODELS/NAME/REVISION/.
        return (folder / _CONFIG).is_file() or any(folder.glob(f"*/{_CONFIG}"))

    def complaints(self, known: KnownModel) -> tuple[str, ...]:
        """What is wrong with it, a line each; reads every byte. Empty: all is right.

        Raises:
            ModelError: the lock file is damaged.
        """
        if not self.present(known):
            return (f"{known.name} is not here: kinemask models pull {known.name}",)
        expected = self.expected(known)
        if not expected:
            folder = self.folder(known)
            return (f"{folder}: not pulled by Kinemask, so there is no SHA-256 to hold it to",)
        return differences(self.folder(known), expected)

    def size_bytes(self, known: KnownModel) -> int:
        """What its folder takes on this machine."""
        files = self.folder(known).rglob("*")
        return sum(path.stat().st_size for path in files if path.is_file())


def differences(folder: Path, expected: Mapping[str, str]) -> tuple[str, ...]:
    """A line for each file that is not what it should be; both hashes are in it."""
    lines = []
    for file, sha256 in expected.items():
        found = file_sha256(folder / file)
        if found != sha256:
            lines.append(f"{folder / file}: expected SHA-256 {sha256}, found {found}")
    return tuple(lines)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lock(folder: Path, lock: Lock) -> None:
    """Record it beside the files, by a rename."""
    part = folder / f".{LOCK_FILE}.part"
    part.write_text(json.dumps(asdict(lock), indent=2) + "\n")
    part.replace(folder / LOCK_FILE)
