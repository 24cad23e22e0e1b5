"""Which captioning checkpoints lie in the models' folder. Reads JSON and headers only, no torch.

A checkpoint is a folder as `save_pretrained` writes it: `MODELS/NAME/` or `MODELS/NAME/REVISION/`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCAL_REVISION = "local"
"""The revision of a checkpoint whose folder names none."""
_CONFIG = "config.json"
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class KnownModel:
    """A checkpoint that can be fetched by name."""

    name: str
    license: str


KNOWN = (
    KnownModel("blip-image-captioning-base", "BSD-3-Clause"),
    KnownModel("florence-2-base", "MIT"),
    KnownModel("smolvlm2-500m-video-instruct", "Apache-2.0"),
)
"""The default first."""

ARCHITECTURES = {
    "BlipForConditionalGeneration": "blip",
    "Florence2ForConditionalGeneration": "florence2",
    "SmolVLMForConditionalGeneration": "smolvlm",
}
"""From what a checkpoint's config says to the family of its engine."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is here."""

    name: str
    folder: Path
    family: str
    """One of the values of ARCHITECTURES."""
    revision: str
    license: str


def present(models_dir: Path) -> list[Checkpoint]:
    """Every captioning checkpoint in the folder: known ones first, then others by name.

    Folders of other kinds of models are passed over.
    """
    if not models_dir.is_dir():
        return []
    licenses = {known.name: known.license for known in KNOWN}
    order = {known.name: rank for rank, known in enumerate(KNOWN)}
    folders = sorted(
        (folder for folder in models_dir.iterdir() if folder.is_dir()),
        key=lambda folder: (order.get(folder.name, len(KNOWN)), folder.name),
    )
    found = (_checkpoint(folder, licenses.get(folder.name, "")) for folder in folders)
    return [checkpoint for checkpoint in found if checkpoint is not None]


def weights_bytes(folder: Path, element_bytes: int) -> int:
    """Memory that the weights take with elements of so many bytes: exact for safetensors files.

    Raises:
        ValueError: a file is damaged.
    """
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return sum(_elements(path) for path in files) * element_bytes
    return sum(path.stat().st_size for path in folder.glob("*.bin"))


def _checkpoint(folder: Path, license_id: str) -> Checkpoint | None:
    for inner, revision in _places(folder):
        family = _family(inner / _CONFIG)
        if family is not None and any(inner.glob("*.safetensors")) | any(inner.glob("*.bin")):
            return Checkpoint(folder.name, inner, family, revision, license_id)
    return None


def _places(folder: Path) -> list[tuple[Path, str]]:
    """Where its files may lie and which revision they are then, the newest revision first."""
    revisions = [inner for inner in folder.iterdir() if (inner / _CONFIG).is_file()]
    revisions.sort(key=lambda inner: inner.stat().st_mtime, reverse=True)
    return [(folder, LOCAL_REVISION), *((inner, inner.name) for inner in revisions)]


def _family(config: Path) -> str | None:
    try:
        facts: dict[str, Any] = json.loads(config.read_text())
        architectures = facts.get("architectures") or ()
    except (OSError, ValueError, AttributeError):
        return None
    named = (ARCHITECTURES.get(architecture) for architecture in architectures)
    return next((family for family in named if family), None)


def _elements(path: Path) -> int:
    """How many numbers a safetensors file holds: its header is a length and JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path}: expected a safetensors file, found a damaged header")
        header: dict[str, Any] = json.loads(file.read(length))
    tensors = (entry for name, entry in header.items() if name != "__metadata__")
    return sum(math.prod(entry["shape"]) for entry in tensors)
