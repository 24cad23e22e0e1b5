"""What some engines' streams can do with frames that they retain, beside following objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


class StreamWalk(Protocol):
    """Retained frames gone over once more; see `Walking`."""

    @property
    def frame_ids(self) -> Sequence[int]:
        """Frames in the order they are gone over."""
        ...

    async def step(self) -> Any:
        """The next frame's masks, as `SegmenterStream.finish` takes them.

        Never asked for more often than there are frames.
        """
        ...


@runtime_checkable
class Walking(Protocol):
    """A stream that can go over retained frames once more: edits `propagate` and `stop`."""

    def walk(self, frame_id: int, to_frame_id: int, object_ids: Sequence[int]) -> StreamWalk:
        """A walk from a retained frame to another, both included, over some objects or, by
        default, all.

        It holds the frames it goes over until it was there, and neither waits for steps nor changes
        what they give.

        Raises:
            FrameGoneError: one of the two is not retained.
        """
        ...


@runtime_checkable
class Forgetting(Protocol):
    """A stream that can take a frame's prompts back: edit `clear_frame`."""

    async def clear_frame(self, frame_id: int, object_id: int) -> bool:
        """Go on as if nothing had been prompted for the object on that frame.

        An object that nothing else was prompted for is forgotten. False if nothing was prompted.

        Raises:
            FrameGoneError: the frame is not retained.
        """
        ...
