"""What is remembered of one object: conditioning frames and a ring of recent ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from kinemask_segmenter.engines.sam2.tokens import Past

SPATIAL_FRAMES = 6
"""Memory maps that tracking reads beside those of conditioning frames: `num_maskmem - 1`."""
POINTER_FRAMES = 15
"""Pointers that tracking reads beside those of conditioning frames."""
_CONDITIONING_SLOT = 6


@dataclass(frozen=True)
class Output:
    """One object on one frame. S is the model's input size."""

    low_res_logits: torch.Tensor | None
    """`(1, 1, S/4, S/4)` float32, small holes filled; None once no prompt can reach the frame."""
    pointer: torch.Tensor
    """`(1, 256)`."""
    object_score: torch.Tensor
    """`(1, 1)` logit; the object is there where it is above 0."""
    memory: torch.Tensor | None = None
    """`(1, 64, S/16, S/16)` bfloat16; None once it is too old to be read."""
    began: bool = False
    """True on a frame that the object was prompted on before it was followed to it."""

    @property
    def logits(self) -> torch.Tensor:
        """`low_res_logits` of a frame that is still within reach.

        Raises:
            LookupError: it is not.
        """
        if self.low_res_logits is None:
            raise LookupError("the frame's mask is not kept any more")
        return self.low_res_logits


@dataclass
class ObjectMemory:
    """Invariants: no index is in both stores; `conditioning` is in the order of insertion, has at
    most `max_conditioning` entries, and never loses its first. Of `recent`, maps and pointers are
    kept only as far back as tracking any of the last `slack + 1` frames again would read."""

    max_conditioning: int
    slack: int = 0
    conditioning: dict[int, Output] = field(default_factory=dict)
    recent: dict[int, Output] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_conditioning < 2:
            raise ValueError(
                f"expected at least 2 conditioning frames, got {self.max_conditioning}"
            )

    def condition(self, index: int, output: Output) -> None:
        """Keep a prompted frame; over the cap, the oldest but the first goes."""
        self.recent.pop(index, None)
        self.conditioning[index] = output
        if len(self.conditioning) > self.max_conditioning:
            pinned = next(iter(self.conditioning))
            others = [key for key in self.conditioning if key not in (pinned, index)]
            del self.conditioning[min(others)]

    def follow(self, index: int, output: Output) -> None:
        """Keep a tracked frame and let go of what no later frame reads."""
        self.recent[index] = output
        newest = max(self.recent)
        for key in list(self.recent):
            if key <= newest - POINTER_FRAMES - self.slack:
                del self.recent[key]
                continue
            kept = self.recent[key]
            if key <= newest - SPATIAL_FRAMES - self.slack:
                kept = replace(kept, memory=None)
            if key < newest - self.slack:
                kept = replace(kept, low_res_logits=None)
            self.recent[key] = kept

    def at(self, index: int) -> Output | None:
        """The output on that frame, if it is still kept."""
        return self.conditioning.get(index) or self.recent.get(index)

    def past(self, index: int, *, reverse: bool = False) -> Past:
        """What tracking frame `index` reads; walking in reverse, what comes after it is its past.

        Going forwards, prompts on later frames are not read, so that a late prompt changes nothing
        before them; in reverse all of them are, as in the official predictor.
        """
        step = 1 if reverse else -1
        prompted = {key: each for key, each in self.conditioning.items() if reverse or key <= index}
        maps = [(_CONDITIONING_SLOT, _map(each)) for each in prompted.values()]
        for ago in range(SPATIAL_FRAMES, 0, -1):
            seen = self.recent.get(index + step * ago)
            if seen is not None and seen.memory is not None:
                maps.append((ago - 1, seen.memory))
        # Only pointers of the walk's past are read.
        pointers = [
            (step * (key - index), each.pointer)
            for key, each in prompted.items()
            if step * (key - index) >= 0
        ]
        for ago in range(1, POINTER_FRAMES + 1):
            seen = self.recent.get(index + step * ago)
            if seen is not None:
                pointers.append((ago, seen.pointer))
        return Past(tuple(maps), tuple(pointers))

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor that belongs to this object."""
        for each in (*self.conditioning.values(), *self.recent.values()):
            yield from (each.pointer, each.object_score)
            if each.low_res_logits is not None:
                yield each.low_res_logits
            if each.memory is not None:
                yield each.memory

    @property
    def state_bytes(self) -> int:
        total: int = sum(each.numel() * each.element_size() for each in self.tensors())
        return total


def _map(output: Output) -> torch.Tensor:
    assert output.memory is not None, "a conditioning frame always has its map"
    return output.memory
