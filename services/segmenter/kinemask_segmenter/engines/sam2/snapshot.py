"""A SAM 2 stream's state as a blob, without what later frames do not read.

Encoded frames stay behind, so late prompts reach back to the restore at most, and with them the
masks of past frames. Memory maps travel as bfloat16, as they are kept, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack
from numpy.typing import NDArray

from kinemask_segmenter.engines.sam2.memory import (
    POINTER_FRAMES,
    SPATIAL_FRAMES,
    ObjectMemory,
    Output,
)

_KIND = ("sam2 stream", 1)
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class StreamFacts:
    """What a state belongs to; a restore needs the same."""

    model: str
    """The model's name and its weights' revision."""
    input_size_px: int
    height: int
    width: int
    official_memory: bool
    max_conditioning: int


@dataclass(frozen=True)
class SavedStream:
    """A stream's state between two frames."""

    next_index: int
    last_frame_id: int | None
    objects: dict[int, ObjectMemory]


def encode(facts: StreamFacts, state: SavedStream) -> bytes:
    """Pack what the frame `state.next_index` and those after it will read."""
    arrays: Arrays = {}
    objects: list[Json] = []
    for object_id, memory in state.objects.items():
        recent = {
            key: each
            for key, each in memory.recent.items()
            if key >= state.next_index - POINTER_FRAMES
        }
        objects.append(
            {"id": object_id, "conditioning": list(memory.conditioning), "recent": list(recent)}
        )
        for key, each in memory.conditioning.items():
            _put(arrays, f"{object_id}/c{key}", each, keep_map=True)
        for key, each in recent.items():
            keep_map = key >= state.next_index - SPATIAL_FRAMES
            _put(arrays, f"{object_id}/r{key}", each, keep_map)
    plain: dict[str, Json] = {
        "facts": dict(vars(facts)),
        "next_index": state.next_index,
        "last_frame_id": state.last_frame_id,
        "objects": objects,
    }
    return pack(*_KIND, plain, arrays)


def decode(blob: bytes, facts: StreamFacts, slack: int, device: torch.device) -> SavedStream:
    """The state in a blob, on a device.

    Args:
        slack: frames that the new stream retains for late prompts.

    Raises:
        SnapshotError: damaged, or of another engine, model, frame size or memory policy.
    """
    found = unpack(blob, *_KIND)
    mine: dict[str, Json] = dict(vars(facts))
    if found.facts.get("facts") != mine:
        raise SnapshotError(f"expected the state of {mine}, found {found.facts.get('facts')}")
    try:
        objects = {
            int(str(entry["id"])): _memory(entry, found.arrays, facts, slack, device)
            for entry in _entries(found.facts["objects"])
        }
        last = found.facts["last_frame_id"]
        return SavedStream(
            int(str(found.facts["next_index"])), None if last is None else int(str(last)), objects
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SnapshotError(f"expected a SAM 2 stream's state, found: {error!r}") from error


def _entries(objects: Json) -> list[Mapping[str, object]]:
    if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
        raise SnapshotError("expected a list of objects in the snapshot")
    return [each for each in objects if isinstance(each, dict)]


def _put(arrays: Arrays, name: str, output: Output, keep_map: bool) -> None:
    arrays[f"{name}/pointer"] = _bits(output.pointer)
    arrays[f"{name}/score"] = output.object_score.float().cpu().numpy()
    if keep_map and output.memory is not None:
        arrays[f"{name}/memory"] = _bits(output.memory)


def _memory(
    entry: Mapping[str, object],
    arrays: Arrays,
    facts: StreamFacts,
    slack: int,
    device: torch.device,
) -> ObjectMemory:
    memory = ObjectMemory(facts.max_conditioning, slack)
    for store, letter, keys in (
        (memory.conditioning, "c", entry["conditioning"]),
        (memory.recent, "r", entry["recent"]),
    ):
        if not isinstance(keys, list):
            raise SnapshotError("expected lists of frames in the snapshot")
        for key in keys:
            store[int(key)] = _get(arrays, f"{entry['id']}/{letter}{key}", device)
    return memory


def _get(arrays: Arrays, name: str, device: torch.device) -> Output:
    stored = arrays.get(f"{name}/memory")
    return Output(
        low_res_logits=None,
        pointer=_tensor(arrays[f"{name}/pointer"]).to(device),
        object_score=_tensor(arrays[f"{name}/score"]).to(device),
        memory=None if stored is None else _tensor(stored).to(device),
    )


def _bits(tensor: torch.Tensor) -> NDArray[np.generic]:
    """NumPy has no bfloat16: its bits travel as uint16."""
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.view(torch.uint16).cpu().numpy())
    return np.asarray(tensor.cpu().numpy())


def _tensor(array: NDArray[np.generic]) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
