"""What depends on a picture's size alone, worked out once."""

from __future__ import annotations

from typing import Any

import torch

Size = tuple[int, int]


class Places:
    """Positions as the official image encoder adds them and gives them out."""

    def __init__(self, model: Any) -> None:
        """`model` is a `sam2` `SAM2Base`."""
        self._trunk = model.image_encoder.trunk
        self._encoding = model.image_encoder.neck.position_encoding
        self._patches: dict[Size, torch.Tensor] = {}
        self._levels: dict[Size, torch.Tensor] = {}

    def of_patches(self, seen: torch.Tensor) -> torch.Tensor:
        """What is added to `(B, H, W, C)` patches: `(1, H, W, C)`."""
        size = (int(seen.shape[1]), int(seen.shape[2]))
        if size not in self._patches:
            self._patches[size] = self._trunk._get_pos_embed(size)
        return self._patches[size]

    def of_level(self, level: torch.Tensor) -> torch.Tensor:
        """`(H * W, 1, C)` of a level `(B, C, H, W)`."""
        size = (int(level.shape[2]), int(level.shape[3]))
        if size not in self._levels:
            found = self._encoding(level[:1]).to(level.dtype)
            self._levels[size] = found.flatten(2).permute(2, 0, 1)
        return self._levels[size]
