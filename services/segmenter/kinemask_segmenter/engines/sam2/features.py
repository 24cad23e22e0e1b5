"""What the image encoder makes of one frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Encoded:
    """Features of one frame, shared by all objects on it."""

    features: list[torch.Tensor]
    """Three levels `(H_i * W_i, 1, C_i)`, the finest first."""
    positions: list[torch.Tensor]
    """As `features`; the same for every frame of a model."""
    sizes: list[tuple[int, int]]
    attended: tuple[torch.Tensor, ...] = ()
    """What attention has worked out of the frame alone; filled at its first use."""

    @property
    def state_bytes(self) -> int:
        tensors = (*self.features, *self.positions, *self.attended)
        return sum(each.numel() * each.element_size() for each in tensors)
