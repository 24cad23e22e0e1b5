"""What memory attention reads: one object's past as tokens, in the official order.

The order and the positions are those of `SAM2Base._prepare_memory_conditioned_features` of PyPI
`sam2`, so that attention gives the same bits: maps of conditioning frames in the order of
insertion, then maps of frames ago, the furthest first, then pointers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe


@dataclass(frozen=True)
class Past:
    """What is read of one object's past for one frame."""

    maps: tuple[tuple[int, torch.Tensor], ...]
    """Temporal slot (6 for conditioning frames, else frames ago minus 1) and memory map
    `(1, 64, S/16, S/16)` bfloat16."""
    pointers: tuple[tuple[int, torch.Tensor], ...]
    """Frames ago and pointer `(1, 256)`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Pasts of equal shape can be attended to as one batch."""
        return len(self.maps), len(self.pointers)


@dataclass(frozen=True)
class Tokens:
    """A past as attention takes it; L tokens, the last of them pointers."""

    memory: torch.Tensor
    """`(L, 1, 64)` float32."""
    positions: torch.Tensor
    """`(L, 1, 64)` float32."""
    pointer_tokens: int
    """Tokens at the end that have no place in the picture."""


class Tokenizer:
    """Turns pasts into tokens; holds the positions that are the same for all of them."""

    def __init__(self, model: Any) -> None:
        """`model` is a `SAM2Base` on its device."""
        self._model = model
        side = model.image_size // model.backbone_stride
        like = torch.zeros(1, model.mem_dim, side, side, device=model.device)
        with torch.inference_mode():
            place = model.memory_encoder.position_encoding(like).to(like.dtype)
            flat = place.flatten(2).permute(2, 0, 1)
            slots = range(model.num_maskmem)
            self._places = [flat + model.maskmem_tpos_enc[slot] for slot in slots]

    def tokens(self, past: Past) -> Tokens:
        """Needs at least one map."""
        memory = [each.flatten(2).permute(2, 0, 1) for _, each in past.maps]
        positions = [self._places[slot] for slot, _ in past.maps]
        pointers = self._model.use_obj_ptrs_in_encoder and bool(past.pointers)
        if pointers:
            tokens, places = self._pointer_tokens(past)
            memory.append(tokens)
            positions.append(places)
        return Tokens(
            # Maps are bfloat16; what they are joined with decides the type.
            torch.cat([each.float() for each in memory]),
            torch.cat(positions),
            len(memory[-1]) if pointers else 0,
        )

    def _pointer_tokens(self, past: Past) -> tuple[torch.Tensor, torch.Tensor]:
        """Each pointer as `256 / 64` tokens, with its distance in time as position."""
        model = self._model
        width, parts = model.mem_dim, model.hidden_dim // model.mem_dim
        stacked = torch.stack([pointer for _, pointer in past.pointers])
        tokens = stacked.reshape(-1, 1, parts, width).permute(0, 2, 1, 3).flatten(0, 1)
        if not model.add_tpos_enc_to_obj_ptrs:
            return tokens, tokens.new_zeros(len(tokens), 1, width)
        ago = [distance for distance, _ in past.pointers]
        if not model.use_signed_tpos_enc_to_obj_ptrs:
            ago = [abs(distance) for distance in ago]
        dim = model.hidden_dim if model.proj_tpos_enc_in_obj_ptrs else width
        share = torch.tensor(ago).to(device=stacked.device) / (model.max_obj_ptrs_in_encoder - 1)
        places = model.obj_ptr_tpos_proj(get_1d_sine_pe(share, dim=dim))
        return tokens, places.unsqueeze(1).expand(-1, 1, width).repeat_interleave(parts, dim=0)
