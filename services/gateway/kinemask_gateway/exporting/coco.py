"""COCO video JSON and YouTube-VIS JSON.

COCO: Lin et al., "Microsoft COCO: Common Objects in Context", 2014, with the fields for video that
trackers share (`videos`, `video_id`, `frame_id`, `track_id`). YouTube-VIS: Yang et al., "Video
Instance Segmentation", 2019. RLE counts are COCO's compressed strings; boxes are x, y, width,
height.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kinemask_gateway.exporting.json_stream import ObjectWriter
from kinemask_gateway.exporting.source import TrackSource
from kinemask_gateway.tracks.values import TrackedObject

_VIDEO = 1
_BY = "Kinemask"


def write_coco(path: Path, source: TrackSource) -> None:
    """One annotation for each object and frame."""
    with path.open("w", encoding="utf-8") as file, ObjectWriter(file) as out:
        out.member("info", {"description": source.name, "contributor": _BY})
        out.member("videos", [_video(source)])
        out.array("images", _images(source))
        out.array("annotations", _annotations(source))
        out.member("categories", _categories(source))


def write_youtube_vis(path: Path, source: TrackSource) -> None:
    """One annotation for each object, with a mask or null for each frame."""
    with path.open("w", encoding="utf-8") as file, ObjectWriter(file) as out:
        out.member("info", {"description": source.name, "contributor": _BY})
        names = [_file_name(number) for number in range(source.first, source.last + 1)]
        told = {"length": source.frame_count, "file_names": names}
        out.member("videos", [{**_video(source), **told}])
        for (number, object_id), annotation in out.objects(
            "annotations", enumerate(source.objects, 1)
        ):
            _write_instance(annotation, number, object_id, source)
        out.member("categories", _categories(source))


def _video(source: TrackSource) -> dict[str, object]:
    return {
        "id": _VIDEO,
        "name": source.name,
        "kinemask_video_id": source.video_id,
        "width": source.width,
        "height": source.height,
        "fps": source.fps,
    }


def _categories(source: TrackSource) -> list[object]:
    return [
        {"id": number, "name": label, "supercategory": ""}
        for label, number in source.categories().items()
    ]


def _images(source: TrackSource) -> Iterator[object]:
    for frame in source.frames():
        yield {
            "id": frame.frame_index + 1,
            "video_id": _VIDEO,
            "frame_id": frame.frame_index - source.first,
            "kinemask_frame_index": frame.frame_index,
            "time_us": frame.time_us,
            "file_name": _file_name(frame.frame_index),
            "width": source.width,
            "height": source.height,
        }


def _annotations(source: TrackSource) -> Iterator[object]:
    categories, number = source.categories(), 0
    for frame in source.frames():
        for entry in frame.objects:
            number += 1
            name = entry.name.name if entry.name and entry.name.decided else ""
            yield {
                "id": number,
                "image_id": frame.frame_index + 1,
                "video_id": _VIDEO,
                "category_id": categories[source.objects[entry.object_id].label],
                "track_id": entry.object_id,
                "instance_id": entry.object_id,
                "segmentation": _rle(source, entry),
                "bbox": _box(entry),
                "area": entry.area_px,
                "iscrowd": 0,
                "score": round(entry.score, 6),
                "prompt": entry.prompt,
                "name": name,
                "origin": entry.origin.name.lower(),
            }


def _write_instance(out: ObjectWriter, number: int, object_id: int, source: TrackSource) -> None:
    out.member("id", number)
    out.member("video_id", _VIDEO)
    out.member("category_id", source.categories()[source.objects[object_id].label])
    out.member("track_id", object_id)
    out.member("iscrowd", 0)
    out.member("length", source.frame_count)
    out.member("width", source.width)
    out.member("height", source.height)
    # Masks are written as they are read; boxes and areas are few enough to be held meanwhile.
    boxes: list[list[float] | None] = []
    areas: list[int | None] = []

    def masks() -> Iterator[object]:
        for entry in _row(object_id, source):
            boxes.append(_box(entry) if entry else None)
            areas.append(entry.area_px if entry else None)
            yield _rle(source, entry) if entry else None

    out.array("segmentations", masks())
    out.member("bboxes", boxes)
    out.member("areas", areas)


def _row(object_id: int, source: TrackSource) -> Iterator[TrackedObject | None]:
    """An object on every frame."""
    seen = source.objects[object_id]
    yield from (None for _ in range(source.first, seen.first))
    for frame in source.frames(seen.first, seen.last):
        yield next((entry for entry in frame.objects if entry.object_id == object_id), None)
    yield from (None for _ in range(seen.last, source.last))


def _rle(source: TrackSource, entry: TrackedObject) -> dict[str, object]:
    return {"size": [source.height, source.width], "counts": entry.rle.decode("ascii")}


def _box(entry: TrackedObject) -> list[float]:
    x_min, y_min, x_max, y_max = entry.box_xyxy or (0.0, 0.0, 0.0, 0.0)
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def _file_name(frame_index: int) -> str:
    return f"{frame_index:06d}.jpg"
