"""The objects and masks of a track job, to begin a session with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kinemask import effects
from kinemask_chassis import errors

from kinemask_gateway.annotations.masks import (
    FRAMES_PER_CHUNK,
    Entries,
    MaskStore,
    NewChunk,
    first_of,
)
from kinemask_gateway.annotations.records import ObjectRecord
from kinemask_gateway.tracks.reader import TracksDamagedError, TracksReader


@dataclass(frozen=True)
class Imported:
    """What a track job has found, stored as a session's."""

    objects: tuple[ObjectRecord, ...]
    chunks: tuple[NewChunk, ...]

    @property
    def next_object_id(self) -> int:
        return max((entry.object_id for entry in self.objects), default=0) + 1


async def import_tracks(masks: MaskStore, session_id: str, reader: TracksReader) -> Imported:
    """Copy tracks into the chunks of a session that has none yet.

    Raises:
        ServiceError: DATA_LOSS, or the store is full or away.
    """
    objects: dict[int, ObjectRecord] = {}
    made: list[NewChunk] = []
    first, last = reader.manifest.first_frame_index, reader.manifest.last_frame_index
    for start in range(first_of(first), last + 1, FRAMES_PER_CHUNK):
        begin, end = max(start, first), min(start + FRAMES_PER_CHUNK - 1, last)
        frames = await asyncio.to_thread(_read, reader, begin, end, objects)
        if frames:
            made += await masks.write(session_id, frames)
    ordered = tuple(objects[object_id] for object_id in sorted(objects))
    return Imported(ordered, tuple(made))


def _read(
    reader: TracksReader, first: int, last: int, objects: dict[int, ObjectRecord]
) -> dict[int, Entries]:
    try:
        return dict(_frames(reader, first, last, objects))
    except TracksDamagedError as error:
        raise errors.data_loss(str(error), reason="TRACKS_DAMAGED") from error


def _frames(
    reader: TracksReader, first: int, last: int, objects: dict[int, ObjectRecord]
) -> Iterator[tuple[int, Entries]]:
    for frame in reader.frames(first, last):
        # Masks alone: what has none on a frame is unknown there.
        here = [entry for entry in frame.objects if entry.present]
        for entry in here:
            if entry.object_id not in objects:
                red, green, blue = effects.palette_color(entry.object_id)
                color = red << 16 | green << 8 | blue
                objects[entry.object_id] = ObjectRecord(
                    entry.object_id, entry.label, entry.prompt, color, imported=True
                )
        plain = {e.object_id: replace(e, label="", prompt="", name=None) for e in here}
        if plain:
            yield frame.frame_index, plain
