"""Streams of the faces service for ordinary code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kinemask.client._loop import LoopThread
from kinemask.client._sync_streams import PendingEdit, Stream
from kinemask.faces import types
from kinemask.faces._operations import FaceLike
from kinemask.faces._streams import AsyncEnrolStream, AsyncRecogniseStream

if TYPE_CHECKING:
    from kinemask.types import ImageLike


class EnrolStream(Stream[types.EnrolAnswer]):
    """FacesService.EnrolStream: faces in, what became of each out, in order."""

    def __init__(self, loop: LoopThread, stream: AsyncEnrolStream) -> None:
        super().__init__(loop, stream)
        self._faces = stream

    def send(
        self,
        person_id: str,
        face: FaceLike,
        *,
        name: str = "",
        source: str = "",
        min_quality: float | None = None,
        allow_duplicate: bool = False,
    ) -> int:
        """Send a face; returns its frame id. See `AsyncEnrolStream.send`."""
        return self._loop.run(
            self._faces.send(
                person_id,
                face,
                name=name,
                source=source,
                min_quality=min_quality,
                allow_duplicate=allow_duplicate,
            )
        )


class RecogniseStream(Stream[types.RecognisedFrame]):
    """FacesService.RecogniseStream: a video's frames in, names voted over time out."""

    def __init__(self, loop: LoopThread, stream: AsyncRecogniseStream) -> None:
        super().__init__(loop, stream)
        self._faces = stream

    def send(
        self,
        image: ImageLike,
        regions: Sequence[types.FaceRegion] = (),
        *,
        frame_id: int | None = None,
        capture_time_us: int | None = None,
    ) -> int:
        """Send a frame; returns its id. See `AsyncRecogniseStream.send`."""
        sending = self._faces.send(
            image, regions, frame_id=frame_id, capture_time_us=capture_time_us
        )
        return self._loop.run(sending)

    def correct(
        self, track_id: int, person_id: str, *, is_person: bool = True, frame_id: int | None = None
    ) -> PendingEdit:
        """A track is a certain person, whose sample it becomes, or is not, which is remembered."""
        return self._edit(
            lambda: self._faces.correct(track_id, person_id, is_person=is_person, frame_id=frame_id)
        )

    def end_tracks(self, track_ids: Sequence[int], *, frame_id: int | None = None) -> PendingEdit:
        """End tracks; their votes are forgotten."""
        return self._edit(lambda: self._faces.end_tracks(track_ids, frame_id=frame_id))
