"""One Track stream: a tracker behind the stream contract."""

from __future__ import annotations

import asyncio

import numpy as np
from kinemask.v1 import tracker_pb2
from kinemask_chassis import errors
from kinemask_chassis.snapshots import Json, Snapshot, pack, unpack

from kinemask_tracker.engines import FrameTracks, Tracker
from kinemask_tracker.messages import FrameBoxes, boxes_from_message, result_to_message

_STATE = ("tracker stream", 1)
_DEPTH = 2
_FEW_BOXES = 64
"""Up to so many an update takes about a millisecond: not worth a thread."""


class TrackHandler:
    """A `StreamHandler`; see there for who calls what when.

    Invariant: `_prompts` has an entry only for tracks that live, `_ended` only ids that an edit
    ended and no result has told of.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._prompts: dict[int, str] = {}
        self._ended: list[int] = []

    @property
    def depth(self) -> int:
        return _DEPTH

    def restore(self, state: bytes) -> None:
        """Go on from what `snapshot` gave.

        Raises:
            ServiceError: DATA_LOSS: it is damaged, or of another algorithm.
        """
        try:
            snapshot = unpack(state, *_STATE)
            self._tracker.restore(snapshot.arrays["tracker"].tobytes())
            self._prompts, self._ended = _facts(snapshot)
        except (KeyError, TypeError, ValueError) as error:
            raise errors.data_loss(
                f"resume_token: {error}", reason="RESUME_TOKEN_DAMAGED"
            ) from error

    async def prepare(self, frame: tracker_pb2.TrackFrame) -> FrameBoxes:
        return boxes_from_message(frame)

    async def step(
        self, frame: tracker_pb2.TrackFrame, prepared: FrameBoxes
    ) -> tracker_pb2.TrackResult:
        """Update the tracker; the result is complete but for its timing."""
        tracks = await self._update(frame.frame_id, prepared)
        self._remember_prompts(tracks, prepared.prompts)
        ended, self._ended = sorted({*self._ended, *tracks.ended}), []
        return result_to_message(frame, tracks, self._prompts, ended)

    async def finish(
        self, frame: tracker_pb2.TrackFrame, raw: tracker_pb2.TrackResult
    ) -> tracker_pb2.TrackResult:
        return raw

    async def apply(
        self, edit: tracker_pb2.TrackEdit, frame_id: int, prepared: FrameBoxes | None
    ) -> int:
        """End tracks at once, whatever frame the edit names: the past stays as it was told.

        Raises:
            ServiceError: NOT_FOUND: none of them lives.
        """
        ended = self._tracker.end(edit.end_track_ids)
        if not ended:
            asked = ", ".join(str(track_id) for track_id in edit.end_track_ids[:10])
            raise errors.not_found(f"no living track among {asked}", reason="UNKNOWN_TRACK")
        self._ended.extend(ended)
        for track_id in ended:
            self._prompts.pop(track_id, None)
        return ended[0] if len(ended) == 1 else 0

    async def snapshot(self) -> bytes:
        prompts: dict[str, Json] = {str(key): text for key, text in self._prompts.items()}
        facts: dict[str, Json] = {"prompts": prompts, "ended": list(self._ended)}
        tracker = np.frombuffer(self._tracker.snapshot(), np.uint8)
        return pack(*_STATE, facts, {"tracker": tracker})

    async def close(self) -> None:
        self._prompts.clear()

    async def _update(self, frame_id: int, boxes: FrameBoxes) -> FrameTracks:
        update = self._tracker.update
        count = len(boxes.detections or ()) + len(boxes.observations)
        if count <= _FEW_BOXES:
            return update(frame_id, boxes.detections, boxes.observations)
        return await asyncio.to_thread(update, frame_id, boxes.detections, boxes.observations)

    def _remember_prompts(self, tracks: FrameTracks, prompts: tuple[str, ...]) -> None:
        """A track answers the prompt of the detection that it last matched."""
        for track_id, index in zip(
            tracks.ids.tolist(), tracks.detection_index.tolist(), strict=True
        ):
            if index >= 0 and prompts[index]:
                self._prompts[track_id] = prompts[index]
        for track_id in tracks.ended:
            self._prompts.pop(track_id, None)


def _facts(snapshot: Snapshot) -> tuple[dict[int, str], list[int]]:
    prompts, ended = snapshot.facts["prompts"], snapshot.facts["ended"]
    if not isinstance(prompts, dict) or not isinstance(ended, list):
        raise TypeError(f"expected prompts and ended tracks, found {sorted(snapshot.facts)}")
    known = {int(key): str(text) for key, text in prompts.items()}
    return known, [track_id for track_id in ended if isinstance(track_id, int)]
