"""What one live stream knows of its objects. Plain values, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

BoxXyxy = tuple[float, float, float, float]


@dataclass
class KnownObject:
    """One object, from its first prompt until it is dropped."""

    object_id: int
    label: str
    prompt: str
    """The words it answers; empty for an object prompted by hand."""
    track_id: int | None
    """Its track, for an object that was detected."""
    detections: int = 0
    """Detection rounds that found it."""
    missed_rounds: int = 0
    """Detection rounds in a row that did not, although it was in sight."""
    too_large_rounds: int = 0
    """Detection rounds in a row whose box its mask was much larger than."""
    absent_frames: int = 0
    """Frames in a row without a mask."""
    box_xyxy: BoxXyxy | None = None
    """Box of its last mask that was not empty."""
    score: float = 0.0

    @property
    def detected(self) -> bool:
        """True for an object that words found, False for one prompted by hand."""
        return bool(self.prompt)


@dataclass(frozen=True)
class Sighting:
    """One object's mask on one frame, as far as identities need it."""

    object_id: int
    box_xyxy: BoxXyxy | None
    score: float


@dataclass
class ObjectBook:
    """The objects of one stream.

    Invariants: an object id is never given twice; `history` holds the sightings of the last
    `_HISTORY` frames, so its size does not depend on the stream's length.
    """

    objects: dict[int, KnownObject] = field(default_factory=dict)
    next_object_id: int = 1
    history: deque[tuple[int, tuple[Sighting, ...]]] = field(
        default_factory=lambda: deque(maxlen=_HISTORY)
    )

    def add_prompted(self, object_id: int, label: str) -> KnownObject:
        """An object prompted by hand; id 0 asks for an unused one. A known id is refined."""
        known = self.objects.get(object_id)
        return known or self._add(object_id or self.next_object_id, label, "", None)

    def add_detected(self, track_id: int, label: str, prompt: str) -> KnownObject:
        known = self._add(self.next_object_id, label, prompt or label, track_id)
        known.detections = 1
        return known

    def _add(self, object_id: int, label: str, prompt: str, track_id: int | None) -> KnownObject:
        known = KnownObject(object_id, label, prompt, track_id)
        self.objects[object_id] = known
        self.next_object_id = max(self.next_object_id, object_id + 1)
        return known

    def drop(self, object_id: int) -> KnownObject | None:
        return self.objects.pop(object_id, None)

    def by_track(self, track_id: int) -> KnownObject | None:
        return next((o for o in self.objects.values() if o.track_id == track_id), None)

    def observe(self, frame_id: int, sightings: Iterable[Sighting]) -> bool:
        """Take in a frame's masks, in frame order; true if an object has lost its mask on it."""
        seen = tuple(sightings)
        self.history.append((frame_id, seen))
        lost = False
        for sighting in seen:
            known = self.objects.get(sighting.object_id)
            if known is None:
                continue
            known.score = sighting.score
            if sighting.box_xyxy is None:
                lost = lost or (known.absent_frames == 0 and known.box_xyxy is not None)
                known.absent_frames += 1
            else:
                known.absent_frames = 0
                known.box_xyxy = sighting.box_xyxy
        return lost

    def sightings_at(self, frame_id: int) -> tuple[Sighting, ...]:
        """The sightings on that frame, or on the newest known one before it."""
        for seen_id, sightings in reversed(self.history):
            if seen_id <= frame_id:
                return sightings
        return ()

    def to_facts(self) -> dict[str, Any]:
        """Everything as JSON values, for a resume token."""
        return {
            "objects": [asdict(known) for known in self.objects.values()],
            "next_object_id": self.next_object_id,
            # The newest alone: a round is judged by the masks of the frame before.
            "sighted": [[f, [asdict(s) for s in seen]] for f, seen in list(self.history)[-1:]],
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> ObjectBook:
        known = [_object_from_facts(entry) for entry in facts["objects"]]
        book = cls({o.object_id: o for o in known}, int(facts["next_object_id"]))
        for frame_id, seen in facts["sighted"]:
            book.history.append((int(frame_id), tuple(_sighting_from_facts(s) for s in seen)))
        return book


_HISTORY = 256


def _object_from_facts(entry: Mapping[str, Any]) -> KnownObject:
    box = entry["box_xyxy"]
    return KnownObject(**{**entry, "box_xyxy": tuple(box) if box else None})


def _sighting_from_facts(entry: Mapping[str, Any]) -> Sighting:
    box = entry["box_xyxy"]
    return Sighting(entry["object_id"], tuple(box) if box else None, entry["score"])


def iou(a: BoxXyxy, b: BoxXyxy) -> float:
    """Intersection over union of two boxes: 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / (area(a) + area(b) - overlap)


def area(box: BoxXyxy) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def contained(box: BoxXyxy, outer: BoxXyxy) -> float:
    """The share of `box` that lies inside `outer`: 0..1."""
    width = min(box[2], outer[2]) - max(box[0], outer[0])
    height = min(box[3], outer[3]) - max(box[1], outer[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / area(box)
