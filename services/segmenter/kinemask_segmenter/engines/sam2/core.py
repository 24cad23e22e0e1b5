"""The stream core: what one video's frames and prompts do to what is remembered of its objects.

Algorithm: Ravi et al., "SAM 2: Segment Anything in Images and Videos" (2024), with the choices of
the official `SAM2VideoPredictor`. Nothing is computed here: methods that need the model are
generators (see `work`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch

from kinemask_segmenter.engines.sam2.forward import Ask, Forward, Points
from kinemask_segmenter.engines.sam2.frames import FrameStore
from kinemask_segmenter.engines.sam2.memory import POINTER_FRAMES, ObjectMemory, Output
from kinemask_segmenter.engines.sam2.objects import ObjectStore
from kinemask_segmenter.engines.sam2.tokens import Past
from kinemask_segmenter.engines.sam2.walking import CoreWalk, Walked, past_on, walked_past
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
    """Encoded frames kept for late prompts and walks, at least 1."""
    fill_hole_area_px: int = 8
    """In low-resolution pixels; 0 is the official predictor without its CUDA extension."""
    policy: MemoryPolicy = MemoryPolicy.EXACT
    near_frames: int | None = None
    """Of the retained frames, the newest that stay on the device, the others in host memory; None:
    all."""


class StreamCore:
    """State of one video. Objects share encoded frames and nothing else.

    Frames are counted from 0. Invariants: `frames` has the newest `retained_frames` frames; each
    object's memory reaches far enough back to track any of them again.
    """

    def __init__(self, forward: Forward, config: CoreConfig | None = None) -> None:
        """Raises ValueError: fewer than 2 conditioning frames or 1 retained frame."""
        self._forward = forward
        self._config = config or CoreConfig()
        ObjectMemory(self._config.max_conditioning)
        kept, near = self._config.retained_frames, self._config.near_frames
        self.frames = FrameStore(kept, kept if near is None else near, forward.device)
        self._objects = ObjectStore()
        self._next = 0

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ascending."""
        return self._objects.ids

    @property
    def state_bytes(self) -> int:
        """Bytes of all tensors kept between frames, the retained frames included."""
        return self.frames.state_bytes + self._objects.state_bytes

    @property
    def config(self) -> CoreConfig:
        """As it holds."""
        return self._config

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
        return tuple(self.frames)

    @property
    def memories(self) -> dict[int, ObjectMemory]:
        """What is remembered, by object id; for a snapshot."""
        return self._objects.memories

    def restore(self, next_index: int, memories: Mapping[int, ObjectMemory]) -> None:
        """Go on from a snapshot, before the first frame."""
        self._next = next_index
        self._objects.restore(memories)

    def clear(self) -> None:
        """Let go of frames and objects."""
        self.frames.clear()
        self._objects.restore({})

    def see(self, image: torch.Tensor) -> Work[int]:
        """Encode the next frame `(3, S, S)` float32, normalised; gives its index.

        Objects known already are not moved: see `carry`.
        """
        (encoded,) = yield Encode(self._forward, [image])
        index, self._next = self._next, self._next + 1
        gone = self.frames.add(index, encoded)
        if gone is not None:
            self._objects.frame_gone(gone)
        if self.frames.sends_away:
            self._objects.send_away(index - max(self.frames.near, POINTER_FRAMES + 1))
        return index

    def carry(self, index: int, object_ids: Sequence[int] | None = None) -> Work[dict[int, Output]]:
        """Track objects on a retained frame; what is there of each, by id.

        On a frame that an object was prompted on, it is what the prompt gave.

        Raises:
            FrameGoneError: the frame is not retained.
        """
        frame = self.frames[index]
        ids = self.object_ids if object_ids is None else object_ids
        memories = {key: self._objects[key] for key in ids}
        found = {
            key: each.conditioning[index]
            for key, each in memories.items()
            if index in each.conditioning
        }
        asks = {
            key: Ask(frame, self._near(each.past(index)))
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
        On a frame that was tracked already, clicks refine the mask there, a walk's if one went over
        it since; on the one that the object began on, they begin it again as if all had been said
        at once. Returns what is on frame `index`; other objects are not touched.

        Raises:
            FrameGoneError: the frame is not retained.
            ValueError: both or none of `points` and `mask`.
        """
        if (points is None) == (mask is None):
            raise ValueError("expected either points or a mask, got both or none")
        frame = self.frames[index]
        slack = self._config.retained_frames
        memory = self._objects.get(object_id) or ObjectMemory(self._config.max_conditioning, slack)
        walked = self._objects.walked(object_id, index)
        previous = walked.output if walked is not None else memory.at(index)
        begins = previous is None or self._begins_again(index, memory, previous)
        past = None if begins else self._past(index, object_id, walked)
        refined = None
        if previous is not None and points is not None:
            refined = previous.logits.to(self.device)
        outputs: list[Output] = yield self._look([Ask(frame, past, points, mask, refined)])
        output = replace(outputs[0], began=begins)
        if begins or self._config.policy is MemoryPolicy.EXACT:
            memory.condition(index, output)
            self._objects.put(object_id, memory)
            self._objects.prompted(object_id, index)
            yield from self._carry_on(index + 1, object_id)
        return output

    def unsay(self, index: int, object_id: int) -> Work[None]:
        """Go on as if nothing had been prompted for the object on a retained frame and after it.

        An object that nothing was prompted for before is forgotten. As in the official predictor,
        the policy `official` only takes from that one frame what makes it conditioning.

        Raises:
            FrameGoneError: the frame is not retained.
        """
        self.frames.stored(index)
        memory = self._objects[object_id]
        self._objects.prompted(object_id, 0)
        if self._config.policy is MemoryPolicy.OFFICIAL:
            if index in memory.conditioning:
                memory.recent[index] = memory.conditioning.pop(index)
        else:
            for store in (memory.conditioning, memory.recent):
                for key in [key for key in store if key >= index]:
                    del store[key]
        if not memory.conditioning:
            self.remove(object_id)
        elif self._config.policy is MemoryPolicy.EXACT:
            yield from self._carry_on(index, object_id)

    def walk(self, indices: Sequence[int], object_ids: Sequence[int] = ()) -> CoreWalk:
        """A walk over retained frames, neighbour by neighbour, with some objects or all.

        Raises:
            FrameGoneError: a frame is not retained.
        """
        ids = [key for key in self.object_ids if not object_ids or key in object_ids]
        return CoreWalk(
            self._forward,
            self._config.fill_hole_area_px,
            [(index, self.frames.stored(index)) for index in indices],
            {key: self._objects.traveller(key) for key in ids},
            reverse=len(indices) > 1 and indices[0] > indices[-1],
        )

    def remove(self, object_id: int) -> bool:
        """Forget an object; False if there is none of that id."""
        return self._objects.remove(object_id)

    # --- inside

    def _look(self, asks: Sequence[Ask]) -> Look:
        return Look(self._forward, asks, self._config.fill_hole_area_px)

    def _carry_on(self, start: int, object_id: int) -> Work[None]:
        for later in [key for key in self.frames if key >= start]:
            yield from self.carry(later, [object_id])

    def _past(self, index: int, object_id: int, walked: Walked | None) -> Past:
        """What a correction reads: the past that the frame was tracked by."""
        if walked is None:
            return self._near(self._objects[object_id].past(index))
        memory = self._objects.with_walked(object_id)
        return self._near(walked_past(memory, index, reverse=walked.reverse))

    def _near(self, past: Past) -> Past:
        return past_on(past, self.device)

    def _begins_again(self, index: int, memory: ObjectMemory, previous: Output) -> bool:
        """True if more is said on the frame that an object began on.

        The official predictor does so until the video was propagated over the frame.
        """
        if self._config.policy is MemoryPolicy.OFFICIAL:
            return previous.began and not any(key > index for key in memory.recent)
        return previous.began
