"""Detections begun before their frame's turn, where frames are known ahead: stored video.

When the next detection is due is known unless something happens first. So it may begin while the
frames before are still being followed, and be there when its frame's turn comes. What is found
is the same; where something did happen, a detection that is not asked for after all is given up.
"""

from __future__ import annotations

import asyncio

from kinemask.v1 import detector_pb2, media_pb2

from kinemask_gateway.live.detecting import Detecting

Detection = asyncio.Task[detector_pb2.ImageDetections]


class Foresight:
    """Frames to come, and the detection that was begun on one of them.

    Invariant: at most one detection is under way that no frame has asked for.
    """

    def __init__(self) -> None:
        self._coming: dict[int, media_pb2.Image] = {}
        self._frame_id = -1
        self._early: Detection | None = None

    def expect(self, frame: media_pb2.Frame) -> None:
        """A frame that is to come, after all that were told so far."""
        self._coming[frame.frame_id] = frame.image

    def arrived(self, frame_id: int) -> None:
        """The frame's turn has come."""
        self._coming.pop(frame_id, None)

    def begin(self, detecting: Detecting) -> None:
        """Begin what will be due next, if that frame is known."""
        ahead = detecting.rhythm.frames_to_next - 1
        frame_id = next((f for number, f in enumerate(self._coming) if number == ahead), None)
        if frame_id is None or (frame_id == self._frame_id and self._early is not None):
            return
        self.close()
        self._frame_id = frame_id
        self._early = asyncio.create_task(detecting.detect(self._coming[frame_id]))
        self._early.add_done_callback(heard)

    def take(self, frame_id: int) -> Detection | None:
        """The detection that was begun on a frame, which is the caller's now."""
        if frame_id != self._frame_id:
            return None
        early, self._early = self._early, None
        return early

    def close(self) -> None:
        """Give up what nobody has asked for."""
        if self._early is not None:
            self._early.cancel()
            self._early = None


def heard(task: Detection) -> None:
    """A detection whose frame failed, or that nobody asks for, is nobody's error."""
    if not task.cancelled():
        task.exception()
