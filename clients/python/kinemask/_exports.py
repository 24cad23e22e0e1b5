"""Results in the words of others: COCO annotations and `supervision.Detections`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, NotRequired, TypedDict

from kinemask.types import Box, EncodedMask

if TYPE_CHECKING:
    import supervision  # type: ignore[import-not-found]  # an optional extra


class CocoRle(TypedDict):
    """COCO's compressed run-length encoding."""

    size: list[int]
    """`[height, width]`."""
    counts: str


class CocoAnnotation(TypedDict):
    """One object in COCO's result format."""

    image_id: int
    category_id: int
    label: str
    bbox: list[float]
    """`[x_min, y_min, width, height]` in pixels."""
    area: float
    """Pixels inside the mask, or inside the box where there is no mask."""
    score: float
    segmentation: NotRequired[CocoRle]
    track_id: NotRequired[int]


@dataclass(frozen=True)
class ExportRow:
    """What any result can say of one object."""

    box: Box
    score: float
    label: str
    object_id: int | None = None
    mask: EncodedMask | None = None


def class_ids_of(
    rows: Sequence[ExportRow], given: Mapping[str, int] | None, first: int
) -> Mapping[str, int]:
    """Label to class id: `given`, or else the sorted labels of these rows, counted from `first`.

    Raises:
        ValueError: `given` lacks a label.
    """
    labels = sorted({row.label for row in rows})
    if given is None:
        return {label: number for number, label in enumerate(labels, first)}
    missing = [label for label in labels if label not in given]
    if missing:
        raise ValueError(f"class_ids: expected an id for {missing}, found {sorted(given)}")
    return given


def rows_to_coco(
    rows: Sequence[ExportRow], image_id: int, class_ids: Mapping[str, int] | None
) -> list[CocoAnnotation]:
    """One annotation a row; without `class_ids`, category ids count the sorted labels from 1."""
    ids = class_ids_of(rows, class_ids, first=1)
    return [_annotation(row, image_id, ids[row.label]) for row in rows]


def _annotation(row: ExportRow, image_id: int, category_id: int) -> CocoAnnotation:
    annotation = CocoAnnotation(
        image_id=image_id,
        category_id=category_id,
        label=row.label,
        bbox=list(row.box.xywh),
        area=float(row.box.area_px),
        score=row.score,
    )
    if row.mask is not None:
        size = [row.mask.height, row.mask.width]
        annotation["segmentation"] = CocoRle(size=size, counts=row.mask.rle.decode("ascii"))
        annotation["area"] = float(row.mask.area_px)
    if row.object_id is not None:
        annotation["track_id"] = row.object_id
    return annotation


def rows_to_supervision(
    rows: Sequence[ExportRow], class_ids: Mapping[str, int] | None
) -> supervision.Detections:
    """Boxes `(N, 4)` xyxy, masks `(N, H, W)` if every row has one, tracker ids likewise.

    Raises:
        ImportError: supervision is not installed; the message says how to get it.
    """
    import numpy as np

    detections = _supervision_module().Detections
    if not rows:
        return detections.empty()
    ids = class_ids_of(rows, class_ids, first=0)
    pixels = [row.mask.pixels for row in rows if row.mask is not None]
    object_ids = [row.object_id for row in rows if row.object_id is not None]
    return detections(
        xyxy=np.array([row.box for row in rows], np.float32),  # (N, 4)
        mask=np.stack(pixels) if len(pixels) == len(rows) else None,  # (N, H, W)
        confidence=np.array([row.score for row in rows], np.float32),
        class_id=np.array([ids[row.label] for row in rows], np.int64),
        tracker_id=np.array(object_ids, np.int64) if len(object_ids) == len(rows) else None,
        data={"class_name": np.array([row.label for row in rows])},
    )


def _supervision_module() -> ModuleType:
    try:
        return import_module("supervision")
    except ImportError as error:
        raise ImportError(
            "to_supervision() needs the package supervision: pip install 'kinemask[supervision]'"
        ) from error
