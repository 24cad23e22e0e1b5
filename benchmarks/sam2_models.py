"""SAM 2 models with seeded random weights, and the official predictor on given tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import sam2
import torch
from kinemask_segmenter.engines.sam2.core import CoreConfig, StreamCore
from kinemask_segmenter.engines.sam2.forward import Forward, Points
from kinemask_segmenter.engines.sam2.memory import Output
from kinemask_segmenter.engines.sam2.models import exact
from kinemask_segmenter.engines.sam2.work import alone
from omegaconf import OmegaConf
from sam2 import sam2_video_predictor
from sam2.build_sam import build_sam2_video_predictor

CONFIGS = {
    "tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "base-plus": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}
TINY = CONFIGS["tiny"]
_SMALL_TRUNK = [
    "++model.image_encoder.trunk.embed_dim=16",
    "++model.image_encoder.trunk.stages=[1,1,2,1]",
    "++model.image_encoder.trunk.global_att_blocks=[3]",
    "++model.image_encoder.neck.backbone_channel_list=[128,64,32,16]",
]


def build(
    seed: int,
    size: int,
    *,
    tiny: bool = False,
    model: str = "",
    device: str = "cpu",
    compiled: bool = False,
) -> Any:
    """An official `SAM2VideoPredictor` with random weights; ours reads the same one.

    `size` is the model's input size. A small trunk, unless `tiny` (`sam2.1_hiera_t`) or `model`, a
    key of CONFIGS, says another. `compiled` is the official `vos_optimized`, for CUDA.
    """
    torch.manual_seed(seed)
    whole = bool(model) or tiny
    built = build_sam2_video_predictor(
        CONFIGS[model or "tiny"],
        None,
        device=device,
        hydra_overrides_extra=[f"++model.image_size={size}", *([] if whole else _SMALL_TRUNK)],
        vos_optimized=compiled,
    )
    torch.nn.init.constant_(_score_bias(built), 2.0)  # objects are there unless a test says not
    return built


def write_checkpoint(
    folder: Path, seed: int, size: int, *, tiny: bool = False, model: str = ""
) -> tuple[Path, Path]:
    """The same random weights as files that the service loads: checkpoint and configuration."""
    built = build(seed, size, tiny=tiny, model=model)
    config = OmegaConf.load(Path(str(sam2.__file__)).parent / CONFIGS[model or "tiny"])
    overrides = [f"model.image_size={size}", *([] if tiny or model else _SMALL_TRUNK)]
    merged = OmegaConf.merge(
        config, OmegaConf.from_dotlist([each.removeprefix("++") for each in overrides])
    )
    checkpoint, configuration = folder / "small.pt", folder / "small.yaml"
    torch.save({"model": built.state_dict()}, checkpoint)
    OmegaConf.save(merged, configuration)
    return checkpoint, configuration


def service_settings(
    folder: Path, seed: int, size: int, *, model: str = "", device: str = "cpu"
) -> dict[str, str]:
    """The environment in which a segmenter serves such weights."""
    checkpoint, configuration = write_checkpoint(folder, seed, size, model=model)
    return {
        "KINEMASK_SAM2_CHECKPOINT": str(checkpoint),
        "KINEMASK_SAM2_CONFIG": str(configuration),
        "KINEMASK_SAM2_DEVICE": device,
        "OMP_NUM_THREADS": "1",
    }


def show_objects(model: Any, shown: bool) -> None:
    """Push every object's score far above zero, or far below."""
    with torch.no_grad():
        _score_bias(model).fill_(2.0 if shown else -50.0)


def _score_bias(model: Any) -> Any:
    return model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias


def frames(seed: int, count: int, size: int) -> torch.Tensor:
    """`(count, 3, size, size)` float32: blobs that drift, and a little noise."""
    generator = torch.Generator().manual_seed(seed + 1)
    still = torch.randn(1, 3, size // 8, size // 8, generator=generator)
    wide = torch.nn.functional.interpolate(still, size=(size, size), mode="bilinear")
    moved = [torch.roll(wide[0], (2 * k, 3 * k), (1, 2)) for k in range(count)]
    return torch.stack(moved) + 0.1 * torch.randn(count, 3, size, size, generator=generator)


def official_state(model: Any, images: torch.Tensor) -> Any:
    """The official predictor's state for frames of the model's own size."""
    size = model.image_size
    with mock.patch.object(
        sam2_video_predictor, "load_video_frames", lambda **_: (images, size, size)
    ):
        return model.init_state("")


class Follower:
    """A stream core driven by hand, with low-resolution logits `(1, 1, S/4, S/4)` as its words."""

    def __init__(
        self, model: Any, config: CoreConfig | None = None, forward: Forward | None = None
    ) -> None:
        """`model` runs by the tier `exact` unless a `forward` is given."""
        self.core = StreamCore(forward or exact(model), config)

    def add_frame(self, image: torch.Tensor) -> int:
        """Encode the next frame `(3, S, S)`; its index."""
        return alone(self.core.see(image))

    def track(self, index: int, object_ids: Sequence[int] | None = None) -> dict[int, torch.Tensor]:
        """Objects carried to a retained frame."""
        return _logits(alone(self.core.carry(index, object_ids)))

    def walk(self, indices: Sequence[int]) -> list[dict[int, torch.Tensor]]:
        """Retained frames gone over once more, in that order."""
        walk = self.core.walk(indices)
        return [_logits(alone(walk.step())) for _ in indices]

    def prompt(
        self, index: int, object_id: int, points: Points | None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What a prompt gives on its frame."""
        return alone(self.core.say(index, object_id, points, mask)).logits

    def clear_frame(self, index: int, object_id: int) -> None:
        """Take back what was prompted on a retained frame and after it."""
        alone(self.core.unsay(index, object_id))

    def remove(self, object_id: int) -> bool:
        return self.core.remove(object_id)


def _logits(found: dict[int, Output]) -> dict[int, torch.Tensor]:
    return {key: each.logits for key, each in found.items()}
