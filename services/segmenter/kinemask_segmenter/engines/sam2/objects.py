"""The objects of one stream: what is remembered of each, and what walks found of it since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from kinemask_segmenter.engines.sam2.frames import output_on
from kinemask_segmenter.engines.sam2.memory import ObjectMemory, Output
from kinemask_segmenter.engines.sam2.walking import Traveller, Walked

_HOST = torch.device("cpu")


class ObjectStore:
    """Invariants: each object has a memory and notes; notes are of retained frames that nothing was
    prompted on, at or before, since they were made."""

    def __init__(self) -> None:
        self._memories: dict[int, ObjectMemory] = {}
        self._notes: dict[int, dict[int, Walked]] = {}

    def __getitem__(self, object_id: int) -> ObjectMemory:
        return self._memories[object_id]

    def get(self, object_id: int) -> ObjectMemory | None:
        """An object's memory; None if there is none of that id."""
        return self._memories.get(object_id)

    @property
    def ids(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted(self._memories))

    @property
    def memories(self) -> dict[int, ObjectMemory]:
        """All of them, by id."""
        return dict(self._memories)

    def restore(self, memories: Mapping[int, ObjectMemory]) -> None:
        """Go on with other objects."""
        self._memories = dict(memories)
        self._notes = {key: {} for key in memories}

    def put(self, object_id: int, memory: ObjectMemory) -> None:
        """Add an object, or leave it as it is."""
        self._memories[object_id] = memory
        self._notes.setdefault(object_id, {})

    def remove(self, object_id: int) -> bool:
        """False if there is none of that id."""
        self._notes.pop(object_id, None)
        return self._memories.pop(object_id, None) is not None

    # --- walks

    def walked(self, object_id: int, index: int) -> Walked | None:
        """What a walk found of the object on a frame; None if nothing newer than its memory."""
        return self._notes.get(object_id, {}).get(index)

    def with_walked(self, object_id: int) -> ObjectMemory:
        """A copy of an object's memory, with what walks found since."""
        memory = self._memories[object_id]
        found = {key: each.output for key, each in self._notes[object_id].items()}
        conditioning = dict(memory.conditioning)
        return replace(memory, conditioning=conditioning, recent={**memory.recent, **found})

    def traveller(self, object_id: int) -> Traveller:
        """An object as it goes on a walk."""
        memory = self._memories[object_id]
        return Traveller(
            self.with_walked(object_id),
            self._notes[object_id],
            lambda: self._memories.get(object_id) is memory,
        )

    def prompted(self, object_id: int, index: int) -> None:
        """What was said is newer than what walks found there and later; walks under way find
        nothing more that is noted."""
        found = self._notes[object_id]
        self._notes[object_id] = {key: each for key, each in found.items() if key < index}

    # --- keeping it bounded

    def frame_gone(self, index: int) -> None:
        """The frame is not retained any more."""
        for found in self._notes.values():
            found.pop(index, None)

    def send_away(self, up_to: int) -> None:
        """Keep what was found on frames up to that one in host memory; prompted frames stay."""
        for memory in self._memories.values():
            for key, each in memory.recent.items():
                if key <= up_to:
                    memory.recent[key] = output_on(each, _HOST)

    @property
    def state_bytes(self) -> int:
        """Bytes of all tensors."""
        tensors = (each for output in self._noted() for each in _tensors(output))
        notes: int = sum(each.numel() * each.element_size() for each in tensors)
        return notes + sum(each.state_bytes for each in self._memories.values())

    def _noted(self) -> Iterator[Output]:
        return (each.output for found in self._notes.values() for each in found.values())


def _tensors(output: Output) -> list[torch.Tensor]:
    every = output.low_res_logits, output.pointer, output.object_score, output.memory
    return [each for each in every if each is not None]
