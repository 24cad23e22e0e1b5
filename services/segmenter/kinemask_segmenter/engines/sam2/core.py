"""The stream core: what one video's frames and prompts do to what is remembered of its objects.

Algorithm: Ravi et al., "SAM 2: Segment Anything in Images and Videos" (2024), with the choices of
the official `SAM2VideoPredictor`. Nothing is computed here: methods that need the model are
generators (see `work`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch

from kinemask_segmenter.engines.base import FrameGoneError
from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.forward import Ask, Forward, Points
from kinemask_segmenter.engines.sam2.memory import ObjectMemory, Output
from kinemask_segmenter.engines.sam2.work import Encode, Look, Work


class MemoryPolicy(Enum):
    """What a correction of a tracked frame does."""

    EXACT = "exact"
    """It becomes conditioning and lasts."""
    OFFICIAL = "official"
    """It shows on its frame and is forgotten, as in the official predictor's default."""


@dataclass(frozen=True)
class CoreConfig:
    """Settings of a stream."""

    max_conditioning: int = 8
    """Conditioning frames per object, at least 2; the first is never dropped."""
    retained_frames: int = 4
    """Encoded frames kept for late prompts and walks back, at least 1."""
    fill_hole_area_px: int = 8
    """In low-resolution pixels; 0 is the official predictor without its CUDA extension."""
    policy: MemoryPolicy = MemoryPolicy.EXACT


class StreamCore:
    """State of one video. Objects share encoded frames and nothing else.

    Frames are counted from 0. Invariant: `_frames` has the newest `retained_frames` frames, oldest
    first, and each object's memory reaches far enough back to track any of them again.
    """

    def __init__(self, forward: Forward, config: CoreConfig | None = None) -> None:
        """Raises ValueError: fewer than 2 conditioning frames or 1 retained frame."""
        self._forward = forward
        self._config = config or CoreConfig()
        if self._config.retained_frames < 1:
            raise ValueError(f"expected 1 retained frame or more, got {self._config}")
        ObjectMemory(self._config.max_conditioning)
        self._frames: OrderedDict[int, Encoded] = OrderedDict()
        self._objects: dict[int, ObjectMemory] = {}
        self._next = 0

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted(self._objects))

    @property
    def state_bytes(self) -> int:
        """Bytes of all tensors kept between frames, the retained frames included."""
        frames = sum(frame.state_bytes for frame in self._frames.values())
        return frames + sum(each.state_bytes for each in self._objects.values())

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._forward.device

    @property
    def next_index(self) -> int:
        """The index that the next frame will get."""
        return self._next

    @property
    def retained(self) -> tuple[int, ...]:
        """Indices of the frames that can be prompted, ascending."""
        return tuple(self._frames)

    @property
    def memories(self) -> dict[int, ObjectMemory]:
        """What is remembered, by object id; for a snapshot."""
        return dict(self._objects)

    def restore(self, next_index: int, memories: Mapping[int, ObjectMemory]) -> None:
        """Go on from a snapshot, before the first frame."""
        self._next = next_index
        self._objects = dict(memories)

    def clear(self) -> None:
        """Let go of frames and objects."""
        self._frames.clear()
        self._objects.clear()

    def see(self, image: torch.Tensor) -> Work[int]:
        """Encode the next frame `(3, S, S)` float32, normalised; gives its index.

        Objects known already are not moved: see `carry`.
        """
        (encoded,) = yield Encode(self._forward, [image])
        index, self._next = self._next, self._next + 1
        self._frames[index] = encoded
        if len(self._frames) > self._config.retained_frames:
            self._frames.popitem(last=False)
        return index

    def carry(
        self, index: int, object_ids: Sequence[int] | None = None, *, reverse: bool = False
    ) -> Work[dict[int, Output]]:
        """Track objects on a retained frame; what is there of each, by id.

        Going in reverse, what was found on the frames after it is their past. On a frame that an
        object was prompted on, it is what the prompt gave.

        Raises:
            FrameGoneError: the frame is not retained.
        """
        frame = self._frame(index)
        ids = self.object_ids if object_ids is None else object_ids
        memories = {key: self._objects[key] for key in ids}
        found = {
            key: each.conditioning[index]
            for key, each in memories.items()
            if index in each.conditioning
        }
        asks = {
            key: Ask(frame, each.past(index, reverse=reverse))
            for key, each in memories.items()
            if key not in found
        }
        outputs = yield self._look(list(asks.values()))
        for key, output in zip(asks, outputs, strict=True):
            memories[key].follow(index, output)
            found[key] = output
        return found

    def say(
        self, index: int, object_id: int, points: Points | None, mask: torch.Tensor | None = None
    ) -> Work[Output]:
        """Start or correct an object on a retained frame and carry it forward to the newest.

        `mask` is `(1, 1, S, S)` float32 of 0 and 1. Exactly one of `points` and `mask` is given.
        On a frame that was tracked already, clicks refine the mask there; on the one that the
        object began on, they begin it again as if all had been said at once. Returns what is on
        frame `index`; other objects are not touched.

        Raises:
            FrameGoneError: the frame is not retained.
            ValueError: both or none of `points` and `mask`.
        """
        if (points is None) == (mask is None):
            raise ValueError("expected either points or a mask, got both or none")
        frame = self._frame(index)
        slack = self._config.retained_frames
        memory = self._objects.get(object_id) or ObjectMemory(self._config.max_conditioning, slack)
        previous = memory.at(index)
        begins = previous is None or self._begins_again(index, memory, previous)
        past = None if begins else memory.past(index)
        refined = previous.logits if previous is not None and points is not None else None
        outputs: list[Output] = yield self._look([Ask(frame, past, points, mask, refined)])
        output = replace(outputs[0], began=begins)
        if begins or self._config.policy is MemoryPolicy.EXACT:
            memory.condition(index, output)
            self._objects[object_id] = memory
            for later in [key for key in self._frames if key > index]:
                yield from self.carry(later, [object_id])
        return output

    def remove(self, object_id: int) -> bool:
        """Forget an object; False if there is none of that id."""
        return self._objects.pop(object_id, None) is not None

    # --- inside

    def _look(self, asks: Sequence[Ask]) -> Look:
        return Look(self._forward, asks, self._config.fill_hole_area_px)

    def _frame(self, index: int) -> Encoded:
        if index not in self._frames:
            raise FrameGoneError(index, list(self._frames))
        return self._frames[index]

    def _begins_again(self, index: int, memory: ObjectMemory, previous: Output) -> bool:
        """True if more is said on the frame that an object began on.

        The official predictor does so until the video was propagated over the frame.
        """
        if self._config.policy is MemoryPolicy.OFFICIAL:
            return previous.began and not any(key > index for key in memory.recent)
        return previous.began
