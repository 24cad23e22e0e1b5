"""Where objects were first seen, and which of them may have been there before."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from kinemask_gateway.following.hints import without_hints
from kinemask_gateway.tracks.reader import TracksReader
from kinemask_gateway.tracks.values import TrackedObject


@dataclass(frozen=True)
class Start:
    """An object that is to be carried back."""

    object_id: int
    label: str
    prompt: str
    frame_index: int
    """Where it was first seen."""
    until: int
    """The first frame that it may be on: of its scene, and of what may be gone back."""
    rle: bytes
    """Its mask where it was first seen."""


def find_starts(forward: TracksReader, cuts: Sequence[int], max_frames: int) -> list[Start]:
    """Objects to be carried back, the last one first. Blocking; reads all tracks."""
    seen: set[int] = set()
    found: list[Start] = []
    first = forward.manifest.first_frame_index
    for frame in forward.frames():
        for entry in without_hints(frame.objects):
            if entry.object_id in seen:
                continue
            seen.add(entry.object_id)
            until = max(scene_start(frame.frame_index, cuts, first), frame.frame_index - max_frames)
            if until < frame.frame_index:
                found.append(_start(entry, frame.frame_index, until))
    return sorted(found, key=lambda s: (-s.frame_index, s.object_id))


def scene_start(frame_index: int, cuts: Sequence[int], first: int) -> int:
    """The frame that begins the scene which a frame is in."""
    number = bisect_right(cuts, frame_index)
    return cuts[number - 1] if number else first


def _start(entry: TrackedObject, frame_index: int, until: int) -> Start:
    return Start(entry.object_id, entry.label, entry.prompt, frame_index, until, entry.rle)
