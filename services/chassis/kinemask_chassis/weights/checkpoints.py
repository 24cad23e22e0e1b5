"""Which checkpoints lie in the models' folder. Reads JSON and headers only, no torch.

A checkpoint is a folder as `save_pretrained` writes it: `MODELS/NAME/` or `MODELS/NAME/REVISION/`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinemask.models import LOCK_FILE, known_models

LOCAL_REVISION = "local"
"""The revision of a checkpoint whose folder names none."""
SAFETENSORS = "*.safetensors"
PICKLES = "*.bin"
"""Older files: to be read with `weights_only` alone."""
_CONFIG = "config.json"
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is here."""

    name: str
    folder: Path
    architecture: str
    """The class that its config names, such as `BlipForConditionalGeneration`."""
    revision: str
    license: str


def present(
    models_dir: Path,
    service: str,
    architectures: Container[str],
    weights: Sequence[str] = (SAFETENSORS,),
) -> list[Checkpoint]:
    """Every checkpoint of these architectures: the service's known ones first, others by name.

    Folders of other kinds of models are passed over.

    Args:
        models_dir: the folder of models; need not be there.
        service: whose known models give order and licences.
        architectures: which configs are meant.
        weights: patterns of files, one of which has to be there.
    """
    if not models_dir.is_dir():
        return []
    known = {model.name: model for model in known_models(service)}
    order = list(known)
    folders = sorted(
        (folder for folder in models_dir.iterdir() if folder.is_dir()),
        key=lambda folder: ((*order, folder.name).index(folder.name), folder.name),
    )
    found = []
    for folder in folders:
        license_id = known[folder.name].license if folder.name in known else ""
        checkpoint = _checkpoint(folder, architectures, weights, license_id)
        found += [checkpoint] if checkpoint else []
    return found


def weights_bytes(folder: Path, element_bytes: int) -> int:
    """Memory that the weights take with elements of so many bytes: exact for safetensors files.

    Raises:
        ValueError: a file is damaged.
    """
    files = sorted(folder.glob(SAFETENSORS))
    if files:
        return sum(_elements(path) for path in files) * element_bytes
    return sum(path.stat().st_size for path in folder.glob(PICKLES))


def _checkpoint(
    folder: Path, architectures: Container[str], weights: Sequence[str], license_id: str
) -> Checkpoint | None:
    for inner, revision in _places(folder):
        named = [one for one in _architectures(inner / _CONFIG) if one in architectures]
        if named and any(any(inner.glob(pattern)) for pattern in weights):
            return Checkpoint(folder.name, inner, named[0], revision, license_id)
    return None


def _places(folder: Path) -> list[tuple[Path, str]]:
    """Where its files may lie and which revision they are then, the newest revision first."""
    revisions = [inner for inner in folder.iterdir() if (inner / _CONFIG).is_file()]
    revisions.sort(key=lambda inner: inner.stat().st_mtime, reverse=True)
    return [(folder, _pulled(folder)), *((inner, inner.name) for inner in revisions)]


def _pulled(folder: Path) -> str:
    """The commit that a pull recorded."""
    try:
        return str(json.loads((folder / LOCK_FILE).read_text())["commit"])
    except (OSError, ValueError, KeyError, TypeError):
        return LOCAL_REVISION


def _architectures(config: Path) -> list[str]:
    try:
        facts: dict[str, Any] = json.loads(config.read_text())
        return [str(one) for one in facts.get("architectures") or ()]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def _elements(path: Path) -> int:
    """How many numbers a safetensors file holds: its header is a length and JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path}: expected a safetensors file, found a damaged header")
        header: dict[str, Any] = json.loads(file.read(length))
    tensors = (entry for name, entry in header.items() if name != "__metadata__")
    return sum(math.prod(entry["shape"]) for entry in tensors)
