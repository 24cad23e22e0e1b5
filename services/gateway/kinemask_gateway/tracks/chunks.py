"""A run of frames as one blob: columns of numbers, RLEs one after another, texts once each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack
from numpy.typing import NDArray

from kinemask_gateway.tracks.values import (
    BoxXyxy,
    MaskOrigin,
    ObjectState,
    TrackedFrame,
    TrackedName,
    TrackedObject,
)

_KIND = "tracks-chunk"
_VERSION = 1
_NO_NAME = -1
_Arrays = dict[str, NDArray[np.generic]]
_Said = tuple[str, str]
_NameKey = tuple[str, str, bool, tuple[str, str, str] | None]


def encode_chunk(frames: Sequence[TrackedFrame]) -> bytes:
    """Frames as a blob; the same frames give the same bytes. Blocking."""
    objects = [entry for frame in frames for entry in frame.objects]
    texts = list(dict.fromkeys((o.label, o.prompt) for o in objects))
    names = list(dict.fromkeys(_name_key(o.name) for o in objects if o.name is not None))
    facts: dict[str, Json] = {
        "texts": [list(text) for text in texts],
        "names": [[*key[:3], list(key[3]) if key[3] else None] for key in names],
    }
    columns = {**_frame_columns(frames), **_object_columns(objects, texts, names)}
    return pack(_KIND, _VERSION, facts, columns, level=3)


def decode_chunk(blob: bytes) -> tuple[TrackedFrame, ...]:
    """The frames of a blob. Blocking.

    Raises:
        SnapshotError: it is damaged, or something else.
    """
    snapshot = unpack(blob, _KIND, _VERSION)
    try:
        objects = _objects(snapshot.arrays, snapshot.facts)
        return _frames(snapshot.arrays, objects)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SnapshotError(f"expected a chunk of tracks, found: {error}") from error


def _name_key(name: TrackedName) -> _NameKey:
    return (name.person_id, name.name, name.decided, name.action)


def _frame_columns(frames: Sequence[TrackedFrame]) -> _Arrays:
    return {
        "frame_index": np.array([f.frame_index for f in frames], np.int64),
        "time_us": np.array([f.time_us for f in frames], np.int64),
        "flags": np.array([f.detected | f.scene_cut << 1 for f in frames], np.uint8),
        "object_count": np.array([len(f.objects) for f in frames], np.int32),
    }


def _object_columns(
    objects: Sequence[TrackedObject], texts: Sequence[_Said], names: Sequence[_NameKey]
) -> _Arrays:
    text_at = {text: number for number, text in enumerate(texts)}
    name_at = {name: number for number, name in enumerate(names)}
    named = [name_at[_name_key(o.name)] if o.name else _NO_NAME for o in objects]
    boxes = [o.box_xyxy if o.box_xyxy else (np.nan,) * 4 for o in objects]
    return {
        "object_id": np.array([o.object_id for o in objects], np.uint32),
        "text": np.array([text_at[o.label, o.prompt] for o in objects], np.int32),
        "score": np.array([o.score for o in objects], np.float32),
        "state": np.array([o.state for o in objects], np.uint8),
        "origin": np.array([o.origin for o in objects], np.uint8),
        "box_xyxy": np.array(boxes, np.float32).reshape(-1, 4),
        "area_px": np.array([o.area_px for o in objects], np.uint32),
        "name": np.array(named, np.int32),
        "similarity": np.array([o.name.similarity if o.name else 0 for o in objects], np.float32),
        "rle_bytes": np.array([len(o.rle) for o in objects], np.int32),
        "rle": np.frombuffer(b"".join(o.rle for o in objects), np.uint8),
    }


def _objects(arrays: _Arrays, facts: dict[str, Json]) -> list[TrackedObject]:
    texts = [(str(label), str(prompt)) for label, prompt in cast(Any, facts["texts"])]
    names = [_name_from(entry) for entry in cast(Any, facts["names"])]
    column: dict[str, list[Any]] = {
        key: array.tolist() for key, array in arrays.items() if key != "rle"
    }
    ends = np.cumsum(arrays["rle_bytes"], dtype=np.int64).tolist()
    rles = arrays["rle"].tobytes()
    found = []
    for row, end in enumerate(ends):
        label, prompt = texts[column["text"][row]]
        entry = TrackedObject(
            object_id=column["object_id"][row],
            label=label,
            prompt=prompt,
            score=column["score"][row],
            state=ObjectState(column["state"][row]),
            origin=MaskOrigin(column["origin"][row]),
            box_xyxy=_box(column["box_xyxy"][row]),
            rle=rles[end - column["rle_bytes"][row] : end],
            area_px=column["area_px"][row],
            name=_name(names, column["name"][row], column["similarity"][row]),
        )
        found.append(entry)
    return found


def _box(edges: list[float]) -> BoxXyxy | None:
    return None if np.isnan(edges[0]) else (edges[0], edges[1], edges[2], edges[3])


def _name_from(entry: list[Any]) -> _NameKey:
    person_id, name, decided, action = entry
    return (person_id, name, decided, (action[0], action[1], action[2]) if action else None)


def _name(names: list[_NameKey], number: int, similarity: float) -> TrackedName | None:
    if number == _NO_NAME:
        return None
    person_id, name, decided, action = names[number]
    return TrackedName(person_id, name, similarity, decided, action)


def _frames(arrays: _Arrays, objects: list[TrackedObject]) -> tuple[TrackedFrame, ...]:
    found, at = [], 0
    columns = ("frame_index", "time_us", "flags", "object_count")
    rows: Any = zip(*(arrays[name].tolist() for name in columns), strict=True)
    for frame_index, time_us, flags, count in rows:
        own = tuple(objects[at : at + count])
        found.append(TrackedFrame(frame_index, time_us, own, bool(flags & 1), bool(flags & 2)))
        at += count
    return tuple(found)
