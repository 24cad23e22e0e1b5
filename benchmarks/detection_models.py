"""D-FINE checkpoints with seeded random weights, as `save_pretrained` writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers


@dataclass(frozen=True)
class DFineSize:
    """How large a D-FINE is."""

    side_px: int
    """Of the square that every picture is shrunk to."""
    config: dict[str, Any] = field(default_factory=dict)
    """What differs from transformers' own defaults."""


_SLIM = {
    "model_type": "hgnet_v2",
    "depths": [1, 1, 2, 1],
    "stem_channels": [3, 16, 16],
    "stage_in_channels": [16, 64, 128, 256],
    "stage_mid_channels": [16, 32, 64, 128],
    "stage_out_channels": [64, 128, 256, 512],
    "hidden_sizes": [64, 128, 256, 512],
    "stage_num_blocks": [1, 1, 2, 1],
    "stage_numb_of_layers": [3, 3, 3, 3],
    "stage_downsample": [False, True, True, True],
    "stage_light_block": [False, False, True, True],
    "stage_kernel_size": [3, 3, 5, 5],
    "out_indices": [2, 3, 4],
}
SIZES = {
    "small": DFineSize(
        320,
        {
            "backbone_config": _SLIM,
            "encoder_in_channels": [128, 256, 512],
            "encoder_hidden_dim": 128,
            "encoder_ffn_dim": 256,
            "d_model": 128,
            "decoder_in_channels": [128, 128, 128],
            "decoder_ffn_dim": 256,
            "decoder_layers": 3,
            "depth_mult": 0.34,
        },
    ),
    # About that of ustc-community/dfine-large-coco.
    "large": DFineSize(640),
}


def save_dfine(folder: Path, size: DFineSize, seed: int = 0) -> Path:
    """Write a D-FINE of that size to a new folder."""
    labels = {index: f"thing {index}" for index in range(80)}
    config = transformers.DFineConfig(
        num_denoising=0,
        id2label=labels,
        label2id={name: index for index, name in labels.items()},
        **size.config,
    )
    torch.manual_seed(seed)
    model = transformers.DFineForObjectDetection(config)
    with torch.no_grad():  # as small as a fresh model's, all scores would be the same
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.normal_(0.0, 1.0 / weights[0].numel() ** 0.5)
    model.save_pretrained(folder)
    square = {"height": size.side_px, "width": size.side_px}
    transformers.RTDetrImageProcessor(size=square).save_pretrained(folder)
    return folder
