"""What one live stream knows of its objects. Plain values, no I/O."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
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
    unseen_frames: int = 0
    """Frames since a detection round found it last."""
    found_xyxy: BoxXyxy | None = None
    """Where that was; None for an object prompted by hand."""
    velocity_xy: tuple[float, float] = (0.0, 0.0)
    """Pixels a frame that it moved between the rounds that found it."""
    absent_frames: int = 0
    """Frames in a row without a mask."""
    box_xyxy: BoxXyxy | None = None
    """Box of its last mask that was not empty."""
    score: float = 0.0

    def find(self, box_xyxy: BoxXyxy, crowded: bool = False) -> None:
        """A detection round found it there; `crowded`: where only a part of it may be in sight."""
        whole = self.expected() if crowded else None
        if whole is not None and _is_part(box_xyxy, whole):
            self.found_xyxy = whole
        else:
            self._pace_to(box_xyxy)
            self.found_xyxy = box_xyxy
        self.missed_rounds = self.unseen_frames = 0

    def expected(self) -> BoxXyxy | None:
        """Where it should be now, at its own pace; None for an object prompted by hand."""
        if self.found_xyxy is None:
            return None
        frames = min(self.unseen_frames, PACE_FRAMES)
        x, y = self.velocity_xy[0] * frames, self.velocity_xy[1] * frames
        x_min, y_min, x_max, y_max = self.found_xyxy
        return (x_min + x, y_min + y, x_max + x, y_max + y)

    def _pace_to(self, box_xyxy: BoxXyxy) -> None:
        if self.found_xyxy is not None and self.unseen_frames > 0:
            (x, y), (to_x, to_y) = center(self.found_xyxy), center(box_xyxy)
            moved = ((to_x - x) / self.unseen_frames, (to_y - y) / self.unseen_frames)
            # At most half of what is new: boxes jitter, and most of all over a few frames.
            share = min(0.5, _NEW_A_FRAME * self.unseen_frames)
            x, y = self.velocity_xy
            self.velocity_xy = (x + share * (moved[0] - x), y + share * (moved[1] - y))

    @property
    def detected(self) -> bool:
        """True for an object that words found, False for one prompted by hand."""
        return bool(self.prompt)


@dataclass(frozen=True)
class FoundTrack:
    """A track that a detection of a round belongs to."""

    track_id: int
    box_xyxy: BoxXyxy
    score: float
    label: str
    prompt: str


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
        """Take in a frame's masks, in frame order.

        True if on this frame an object has lost its mask, or has another size all at once.
        """
        seen = tuple(sightings)
        self.history.append((frame_id, seen))
        lost = False
        for sighting in seen:
            known = self.objects.get(sighting.object_id)
            if known is None:
                continue
            known.score = sighting.score
            known.unseen_frames += 1
            if sighting.box_xyxy is None:
                lost = lost or (known.absent_frames == 0 and known.box_xyxy is not None)
                known.absent_frames += 1
            else:
                lost = lost or _jumped(known.box_xyxy, sighting.box_xyxy)
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
CROWDED_IOU = 0.1
PACE_FRAMES = 30
_NEW_A_FRAME = 0.1
_PART = 0.85
_JUMP = 1.5


def _object_from_facts(entry: Mapping[str, Any]) -> KnownObject:
    boxes = {key: tuple(entry[key]) if entry[key] else None for key in ("box_xyxy", "found_xyxy")}
    return KnownObject(**{**entry, **boxes, "velocity_xy": tuple(entry["velocity_xy"])})


def center(box: BoxXyxy) -> tuple[float, float]:
    """The middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _is_part(box: BoxXyxy, whole: BoxXyxy) -> bool:
    """True if a box is what is in sight of another one, of which something hides the rest."""
    return area(box) < _PART * area(whole) and contained(box, whole) >= _PART


def _jumped(before: BoxXyxy | None, after: BoxXyxy) -> bool:
    """True if a box is much larger or smaller than it was."""
    if before is None:
        return False
    small, large = sorted((area(before), area(after)))
    return large > _JUMP * small


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


def crowded(sightings: Sequence[Sighting]) -> bool:
    """True if two objects lie over each other, so that one may be taken for the other."""
    boxes = [sighting.box_xyxy for sighting in sightings if sighting.box_xyxy is not None]
    return any(iou(a, b) > CROWDED_IOU for a, b in itertools.combinations(boxes, 2))


def area(box: BoxXyxy) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def contained(box: BoxXyxy, outer: BoxXyxy) -> float:
    """The share of `box` that lies inside `outer`: 0..1."""
    width = min(box[2], outer[2]) - max(box[0], outer[0])
    height = min(box[3], outer[3]) - max(box[1], outer[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / area(box)
