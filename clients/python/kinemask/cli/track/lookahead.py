"""Frames held back until it is known who is on them, so that a name holds from its first frame on.

The faces service gives a name after some frames that agree. A file can wait for what a live picture
cannot: a face that turns out to be Alice's was hers on the frames before, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinemask.results import LiveFrame
    from kinemask.types import LiveObject, ObjectName
    from kinemask.video import VideoFrame

MAX_FRAMES = 30
MAX_BYTES = 256 * 1024 * 1024
_SPOKEN_AGAINST = -1.0
"""The gateway's word for a face that is plainly not who its track was, or will be, taken for."""


def frames_ahead(width: int, height: int) -> int:
    """How many frames of that size may be held back."""
    return max(1, min(MAX_FRAMES, MAX_BYTES // (width * height * 3)))


class Lookahead:
    """Holds `ahead` frames back and fills in names that were decided on later ones.

    Invariant: a frame that says plainly who somebody is, or who they are not, keeps its word; only
    what was undecided is filled in.
    """

    def __init__(self, ahead: int) -> None:
        """`ahead` 0: nothing is held back, and nothing filled in."""
        self._ahead = ahead
        self._held: deque[tuple[VideoFrame, LiveFrame]] = deque()

    def add(self, frame: VideoFrame, answer: LiveFrame) -> Iterator[tuple[VideoFrame, LiveFrame]]:
        """Take a frame in; those that need not be held any longer, in order."""
        self._held.append((frame, answer))
        while len(self._held) > self._ahead:
            yield self._next()

    def rest(self) -> Iterator[tuple[VideoFrame, LiveFrame]]:
        """All that is left: no frame comes any more."""
        while self._held:
            yield self._next()

    def _next(self) -> tuple[VideoFrame, LiveFrame]:
        frame, answer = self._held.popleft()
        if not self._ahead:
            return frame, answer
        named = tuple(self._filled_in(entry) for entry in answer.objects)
        return frame, replace(answer, objects=named)

    def _filled_in(self, entry: LiveObject) -> LiveObject:
        if entry.name is None or entry.name.decided:
            return entry
        later = self._decided_later(entry.object_id)
        against = entry.name.similarity <= _SPOKEN_AGAINST
        # A face that is like nobody's may turn out to be nobody's, but no longer somebody's.
        if later is None or (against and later.person_id):
            return entry
        return replace(entry, name=later)

    def _decided_later(self, object_id: int) -> ObjectName | None:
        for _, answer in self._held:
            for entry in answer.objects:
                if entry.object_id == object_id and entry.name is not None and entry.name.decided:
                    return entry.name
        return None
