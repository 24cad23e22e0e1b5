"""Which SAM 2 weights are known, and where they lie. Does without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KnownModel:
    """A published checkpoint."""

    name: str
    file: str
    config: str
    sha256: str


KNOWN = (
    KnownModel(
        "sam2.1-hiera-large",
        "sam2.1_hiera_large.pt",
        "configs/sam2.1/sam2.1_hiera_l.yaml",
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
    KnownModel(
        "sam2.1-hiera-base-plus",
        "sam2.1_hiera_base_plus.pt",
        "configs/sam2.1/sam2.1_hiera_b+.yaml",
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    KnownModel(
        "sam2.1-hiera-small",
        "sam2.1_hiera_small.pt",
        "configs/sam2.1/sam2.1_hiera_s.yaml",
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    KnownModel(
        "sam2.1-hiera-tiny",
        "sam2.1_hiera_tiny.pt",
        "configs/sam2.1/sam2.1_hiera_t.yaml",
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
)
"""Most accurate first."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights on this machine."""

    name: str
    """The word a client may ask for."""
    path: Path
    config: str
    """A configuration that PyPI `sam2` carries, or a YAML file of one's own."""
    sha256: str | None
    """What the file has to be; None for one of the operator's own."""
    overrides: tuple[str, ...] = ()
    """Changes of the configuration, such as `model.image_encoder.trunk.embed_dim=16`."""


def default_path(models_dir: Path, known: KnownModel) -> Path:
    """Where a known checkpoint is expected."""
    return models_dir / known.name / known.file


def present(models_dir: Path) -> list[Checkpoint]:
    """The known checkpoints that lie in the folder, most accurate first; not verified yet."""
    found = ((known, default_path(models_dir, known)) for known in KNOWN)
    return [
        Checkpoint(known.name, path, known.config, known.sha256)
        for known, path in found
        if path.is_file()
    ]
