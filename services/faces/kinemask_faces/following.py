"""Which faces of one frame are those of the frames before: by how much their boxes overlap.

Greedy matching by intersection over union of each face with where its track is expected: its last
box, moved on by its last step (Bochinski et al. 2017, "High-speed tracking-by-detection without
using image information", with a constant velocity added).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from kinemask_chassis.snapshots import Json

from kinemask_faces.engines.geometry import overlaps

BoxXyxy = tuple[float, float, float, float]

MIN_IOU = 0.2
MAX_MISSED_FRAMES = 15


@dataclass
class FollowedFace:
    """One track."""

    track_id: int
    box_xyxy: BoxXyxy
    step_xy: tuple[float, float] = (0.0, 0.0)
    """How far its middle moved between its last two frames, in pixels a frame."""
    missed_frames: int = 0

    @property
    def expected_xyxy(self) -> BoxXyxy:
        """Where it should be on the next frame."""
        ahead = self.missed_frames + 1
        dx, dy = self.step_xy[0] * ahead, self.step_xy[1] * ahead
        x_min, y_min, x_max, y_max = self.box_xyxy
        return x_min + dx, y_min + dy, x_max + dx, y_max + dy


class FaceFollower:
    """The tracks of one stream.

    Invariants: ids count up from 1 and are never given twice; a track that was not seen for
    `MAX_MISSED_FRAMES` frames is over.
    """

    def __init__(self, tracks: Iterable[FollowedFace] = (), next_track_id: int = 1) -> None:
        """`tracks` and `next_track_id` restore what was kept before."""
        self._tracks = {track.track_id: track for track in tracks}
        self.next_track_id = next_track_id

    @property
    def tracks(self) -> list[FollowedFace]:
        """Ascending by id, those out of sight too."""
        return [self._tracks[key] for key in sorted(self._tracks)]

    def update(self, boxes_xyxy: Sequence[BoxXyxy]) -> list[int]:
        """Take in a frame's faces; the track id of each, in order."""
        known = self.tracks
        pairs = _matched([track.expected_xyxy for track in known], boxes_xyxy)
        ids = [0] * len(boxes_xyxy)
        for index, face in pairs:
            _move(known[index], boxes_xyxy[face])
            ids[face] = known[index].track_id
        seen = {index for index, _ in pairs}
        for index, track in enumerate(known):
            if index not in seen:
                self._miss(track)
        return [found or self._begin(box) for found, box in zip(ids, boxes_xyxy, strict=True)]

    def end(self, track_id: int) -> bool:
        """Forget a track; False if there is none of that id."""
        return self._tracks.pop(track_id, None) is not None

    def to_facts(self) -> list[Json]:
        """Everything, for a resume token: the next id, then each track."""
        tracks: list[Json] = [
            [t.track_id, *t.box_xyxy, *t.step_xy, t.missed_frames] for t in self.tracks
        ]
        return [self.next_track_id, tracks]

    @classmethod
    def from_facts(cls, facts: Json) -> FaceFollower:
        """What `to_facts` gave.

        Raises:
            TypeError, ValueError: it is something else.
        """
        if not isinstance(facts, list) or len(facts) != 2 or not isinstance(facts[1], list):
            raise TypeError(f"expected followed faces, found {facts!r}")
        return cls([_followed(entry) for entry in facts[1]], int(str(facts[0])))

    def _begin(self, box: BoxXyxy) -> int:
        track = FollowedFace(self.next_track_id, box)
        self._tracks[track.track_id] = track
        self.next_track_id += 1
        return track.track_id

    def _miss(self, track: FollowedFace) -> None:
        track.missed_frames += 1
        if track.missed_frames > MAX_MISSED_FRAMES:
            del self._tracks[track.track_id]


def _followed(entry: Json) -> FollowedFace:
    if not isinstance(entry, list) or len(entry) != 8:
        raise TypeError(f"expected a followed face, found {entry!r}")
    key, x_min, y_min, x_max, y_max, dx, dy, missed = (float(str(part)) for part in entry)
    return FollowedFace(int(key), (x_min, y_min, x_max, y_max), (dx, dy), int(missed))


def _move(track: FollowedFace, box: BoxXyxy) -> None:
    frames = track.missed_frames + 1
    before, now = _middle(track.box_xyxy), _middle(box)
    track.step_xy = ((now[0] - before[0]) / frames, (now[1] - before[1]) / frames)
    track.box_xyxy = box
    track.missed_frames = 0


def _middle(box: BoxXyxy) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _matched(expected: Sequence[BoxXyxy], found: Sequence[BoxXyxy]) -> list[tuple[int, int]]:
    """Pairs of indices, the largest overlap first, each index once."""
    if not expected or not found:
        return []
    rows = np.array(found, np.float64)
    shared = np.array([overlaps(np.array(box, np.float64), rows)[0] for box in expected])
    pairs: list[tuple[int, int]] = []
    while shared.max(initial=0.0) >= MIN_IOU:
        index, face = np.unravel_index(int(shared.argmax()), shared.shape)
        pairs.append((int(index), int(face)))
        shared[index, :] = 0.0
        shared[:, face] = 0.0
    return pairs
