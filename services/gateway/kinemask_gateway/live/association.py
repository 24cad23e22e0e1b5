"""From tracks to what the segmenter is to be told: which detections are new objects, which are
known ones that drifted, and which objects to let go.

The tracker says which detection belongs to which track; masks carry identity in between. The
rules here are few and stated, because a privacy mask hangs on them:

- A track with a detection and without an object becomes an object, best score first, up to the
  cap; unless it overlaps an object in sight (IoU 0.5; 0.7 if other words found that), or lies
  inside one of its kind (70%), which then takes the track over.
- A known object is prompted again with its detection's box when it drifted: its mask is gone, or
  less than 88% of the detection is inside its mask's box. Where it is all inside but the mask is
  much larger (IoU under 0.7), or mostly inside a mask's box that is twice as large, three rounds
  in a row have to say so: the word of one poor box must not uncover what was covered.
- An object that words found only once or twice, and that eight detection rounds in a row did not
  find although it was in sight, was a false alarm: it goes.
- Under `rejoin`, a detection that fits no object is the nearest one of its kind that no detection
  fits, if that may have come there at its own pace; it is prompted again.
- Under `rejoin`, where things of one kind cross, who is who is told by where each should be by its
  own pace.
- An object whose mask has been empty for 90 frames has left: it goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kinemask_gateway.live.objects import (
    BoxXyxy,
    FoundTrack,
    KnownObject,
    ObjectBook,
    Sighting,
    area,
    contained,
    iou,
)
from kinemask_gateway.live.rejoining import distance
from kinemask_gateway.live.untangling import untangled

TOO_LARGE_IOU = 0.7
SURE_DETECTIONS = 3
OTHER_KIND_IOU = 0.7
HELD_SHARE = 0.7
WHOLE_SHARE = 0.88
TOO_LARGE_ROUNDS = 3
FALSE_ALARM_ROUNDS = 8
_TOUCHING_IOU = 0.03
_PART_INSIDE = 0.5
_PART_AREA = 0.5


@dataclass(frozen=True)
class Rules:
    """What may be chosen of the rules above."""

    match_iou: float = 0.5
    """A detection that overlaps an object in sight by so much is that object."""
    left_after_frames: int = 90
    """Frames without a mask after which an object has left."""
    false_alarm_frames: int = 0
    """An object is no false alarm before it was missed for so many frames."""
    rejoin: bool = False
    """A detection that fits nothing is the nearest object of its kind that no detection fits, if
    that may have come there: for stored video, where whatever was hidden is to keep its name."""


LIVE_RULES = Rules()


@dataclass(frozen=True)
class Verdict:
    """What to tell the segmenter after a detection round."""

    prompts: tuple[tuple[int, BoxXyxy], ...]
    """Object ids, new or known, and the box to prompt each with."""
    new_ids: tuple[int, ...]
    drop_ids: tuple[int, ...]
    left_out: int
    """Detections that the cap on objects kept out."""
    eventful: bool = False
    """True if something is new, or out of sight no more, or in sight and not found."""
    found: Mapping[int, BoxXyxy] = field(default_factory=dict)
    """Objects that a detection belongs to, and its box."""
    missed_ids: frozenset[int] = frozenset()
    """The others."""


def judge_round(
    book: ObjectBook,
    found: Sequence[FoundTrack],
    ended_track_ids: Sequence[int],
    sightings: Sequence[Sighting],
    max_objects: int,
    rules: Rules = LIVE_RULES,
) -> Verdict:
    """Apply the rules above to one detection round; updates the book."""
    boxes = [
        (s.object_id, s.box_xyxy) for s in sightings if s.box_xyxy and s.object_id in book.objects
    ]
    prompts: list[tuple[int, BoxXyxy]] = []
    new_ids: list[int] = []
    seen: set[int] = set()
    found_boxes: dict[int, BoxXyxy] = {}
    strange: list[FoundTrack] = []
    owners = _owners(book, found, boxes, seen, rules)
    for track, known in owners:
        if known is None:
            strange.append(track)
            continue
        if known.object_id not in found_boxes:
            known.detections += 1
            known.find(track.box_xyxy, _crowded(known, track.box_xyxy, boxes))
            found_boxes[known.object_id] = track.box_xyxy
            if _drifted(known, track.box_xyxy, boxes):
                prompts.append((known.object_id, track.box_xyxy))
        seen.add(known.object_id)
    left_out = 0
    for track in strange:
        known = rejoined(book, track, seen) if rules.rejoin else None
        if known is None:
            if len(book.objects) >= max_objects:
                left_out += 1
                continue
            known = book.add_detected(track.track_id, track.label, track.prompt)
            new_ids.append(known.object_id)
        known.find(track.box_xyxy)
        found_boxes[known.object_id] = track.box_xyxy
        prompts.append((known.object_id, track.box_xyxy))
        seen.add(known.object_id)
    _forget_tracks(book, ended_track_ids)
    in_sight = {object_id for object_id, _ in boxes}
    came = any(object_id not in in_sight for object_id, _ in prompts)
    eventful = came or any(book.objects[key].detected and key not in seen for key in in_sight)
    drop_ids = _let_go(book, seen, in_sight, rules)
    missed = frozenset(o.object_id for o in book.objects.values() if o.object_id not in seen)
    return Verdict(
        tuple(prompts), tuple(new_ids), drop_ids, left_out, eventful, found_boxes, missed
    )


def _owners(
    book: ObjectBook,
    found: Sequence[FoundTrack],
    boxes: Sequence[tuple[int, BoxXyxy]],
    seen: set[int],
    rules: Rules,
) -> list[tuple[FoundTrack, KnownObject | None]]:
    """The known object of each track, best score first; fills in `seen`."""
    owners: list[tuple[FoundTrack, KnownObject | None]] = []
    for track in sorted(found, key=lambda t: -t.score):
        known = book.by_track(track.track_id)
        known = known or _taken_over(book, track, boxes, seen, rules.match_iou)
        owners.append((track, known))
        if known is not None:
            seen.add(known.object_id)
    if not rules.rejoin:
        return owners
    owners = untangled(book, owners)
    seen.clear()
    seen.update(known.object_id for _, known in owners if known is not None)
    return owners


def _taken_over(
    book: ObjectBook,
    track: FoundTrack,
    boxes: Sequence[tuple[int, BoxXyxy]],
    seen: set[int],
    match_iou: float,
) -> KnownObject | None:
    """The object in sight that this track turns out to be."""
    claims = [
        (_claim(track, book.objects[object_id], box, match_iou), object_id)
        for object_id, box in boxes
        if object_id not in seen
    ]
    claim, object_id = max(claims, default=(0.0, 0))
    if claim <= 0:
        return None
    known = book.objects[object_id]
    known.track_id = track.track_id
    return known


def rejoined(book: ObjectBook, track: FoundTrack, seen: set[int]) -> KnownObject | None:
    """The object that was not found, and that this detection may be; the track is its own now."""
    away = [
        (far, known.object_id)
        for known in book.objects.values()
        if known.detected and known.label == track.label and known.object_id not in seen
        if (far := distance(known, track.box_xyxy)) is not None
    ]
    if not away:
        return None
    known = book.objects[min(away)[1]]
    known.track_id = track.track_id
    known.detections += 1
    return known


def _claim(track: FoundTrack, known: KnownObject, box: BoxXyxy, match_iou: float) -> float:
    """How well a detection fits an object's mask; 0 if it is another thing.

    A mask that ran over onto something else still holds its own detection.
    """
    overlap = iou(track.box_xyxy, box)
    same_kind = known.detected and known.label == track.label
    other_kind = known.detected and not same_kind
    if overlap >= (max(match_iou, OTHER_KIND_IOU) if other_kind else match_iou):
        return 1.0 + overlap
    held = contained(track.box_xyxy, box)
    return held if same_kind and held >= HELD_SHARE else 0.0


def _crowded(known: KnownObject, box: BoxXyxy, boxes: Sequence[tuple[int, BoxXyxy]]) -> bool:
    """Whether something else lies over a detection, or under it."""
    return any(iou(box, other) > _TOUCHING_IOU for key, other in boxes if key != known.object_id)


def _drifted(known: KnownObject, box: BoxXyxy, boxes: Sequence[tuple[int, BoxXyxy]]) -> bool:
    """Whether to prompt it again; counts the rounds in a row that found its mask too large."""
    now = dict(boxes).get(known.object_id)
    if now is None or (contained(box, now) < WHOLE_SHARE and not _mostly_less(box, now)):
        known.too_large_rounds = 0
        return True
    if iou(now, box) >= TOO_LARGE_IOU:
        known.too_large_rounds = 0
        return False
    known.too_large_rounds += 1
    if known.too_large_rounds < TOO_LARGE_ROUNDS:
        return False
    known.too_large_rounds = 0
    return True


def _mostly_less(box: BoxXyxy, mask_box: BoxXyxy) -> bool:
    """Whether a detection may well be of a part of what the mask shows."""
    half_inside = contained(box, mask_box) >= _PART_INSIDE
    return half_inside and area(box) < _PART_AREA * area(mask_box)


def _forget_tracks(book: ObjectBook, ended_track_ids: Sequence[int]) -> None:
    for track_id in ended_track_ids:
        known = book.by_track(track_id)
        if known is not None:
            known.track_id = None


def _let_go(book: ObjectBook, seen: set[int], in_sight: set[int], rules: Rules) -> tuple[int, ...]:
    gone = []
    for known in book.objects.values():
        if not known.detected or known.object_id in seen:
            continue
        known.missed_rounds += known.object_id in in_sight
        unsure = known.detections < SURE_DETECTIONS
        missed = known.missed_rounds >= FALSE_ALARM_ROUNDS
        false_alarm = unsure and missed and known.unseen_frames >= rules.false_alarm_frames
        if false_alarm or known.absent_frames >= rules.left_after_frames:
            gone.append(known.object_id)
    for object_id in gone:
        book.drop(object_id)
    return tuple(gone)
