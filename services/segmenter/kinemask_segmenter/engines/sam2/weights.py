"""SAM 2's weights: how a checkpoint becomes a model.

Checkpoints are Meta's (Apache-2.0). Nothing in them is executed: `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kinemask_segmenter.engines.sam2.checkpoints import Checkpoint

_LOAD = {"weights_only": True, "map_location": "cpu"}
_CHUNK_BYTES = 1 << 22


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
