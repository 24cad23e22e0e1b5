"""SAM 2's weights: which are known, where they lie, and how they become a model.

Checkpoints are Meta's (Apache-2.0). Nothing in them is executed: `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

_LOAD = {"weights_only": True, "map_location": "cpu"}
_CHUNK_BYTES = 1 << 22


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


def verified_revision(checkpoint: Checkpoint) -> str:
    """The file's SHA-256.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file than was pinned; says both hashes.
    """
    digest = hashlib.sha256()
    with checkpoint.path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    found = digest.hexdigest()
    if checkpoint.sha256 is not None and found != checkpoint.sha256:
        raise ValueError(f"{checkpoint.path}: expected SHA-256 {checkpoint.sha256}, found {found}")
    return found


def state_dict(checkpoint: Checkpoint) -> Mapping[str, torch.Tensor]:
    """The weights by name.

    Raises:
        ValueError: the file is not a SAM 2 checkpoint.
    """
    try:
        loaded = torch.load(checkpoint.path, **_LOAD)
        weights = loaded["model"]
    except (RuntimeError, KeyError, TypeError, EOFError, ValueError, OSError) as error:
        raise ValueError(f"{checkpoint.path}: expected a SAM 2 checkpoint: {error}") from error
    except Exception as error:
        # What torch raises for a pickle with code in it has no public class of its own.
        raise ValueError(f"{checkpoint.path}: expected plain weights: {error}") from error
    if not isinstance(weights, dict):
        raise ValueError(f"{checkpoint.path}: expected weights by name under 'model'")
    return weights


def build(
    checkpoint: Checkpoint, weights: Mapping[str, torch.Tensor], input_size_px: int | None
) -> Any:
    """A `SAM2VideoPredictor` in eval mode on the CPU that shares the tensors of `weights`.

    Configured as the official `build_sam2_video_predictor` does for inference.

    Raises:
        ValueError: the configuration and the weights do not belong together.
    """
    size = [] if input_size_px is None else [f"model.image_size={input_size_px}"]
    overrides = OmegaConf.from_dotlist([*_INFERENCE, *size, *checkpoint.overrides])
    config = OmegaConf.merge(OmegaConf.load(_config_path(checkpoint.config)), overrides)
    OmegaConf.resolve(config)
    model = instantiate(config.model, _recursive_=True)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint.path} does not fit {checkpoint.config}: {error}") from error
    return model.eval()


def _config_path(config: str) -> Path:
    """A file of one's own, or one that `sam2` carries."""
    own = Path(config)
    path = own if own.is_absolute() else Path(str(sam2.__file__)).parent / config
    if not path.is_file():
        raise ValueError(f"expected a SAM 2 configuration at {path}, found none")
    return path


_MASK_DECODER = "model.sam_mask_decoder_extra_args"
_INFERENCE = (
    "model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor",
    f"{_MASK_DECODER}.dynamic_multimask_via_stability=true",
    f"{_MASK_DECODER}.dynamic_multimask_stability_delta=0.05",
    f"{_MASK_DECODER}.dynamic_multimask_stability_thresh=0.98",
    "model.binarize_mask_from_pts_for_mem_enc=true",
    "model.fill_hole_area=8",
)
