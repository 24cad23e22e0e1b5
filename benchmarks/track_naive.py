"""The naive way to masks with identities: detect and segment every frame by itself, then join.

Every frame is detected on, every box is segmented in the still picture, and masks' boxes are joined
from frame to frame by the best total IoU (Hungarian assignment; Kuhn, "The Hungarian method for
the assignment problem", 1955), word by word. What is not found for a while gets a new identity.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kinemask import wire
from kinemask.v1 import (
    detector_pb2,
    detector_pb2_grpc,
    media_pb2,
    segmenter_pb2,
    segmenter_pb2_grpc,
)
from kinemask.video import VideoReader

from benchmarks.mot_metrics import best_pairs, iou_matrix
from benchmarks.track_scenes import BoolMask, tight_box
from benchmarks.track_scores import Masks

_MATCH_IOU = 0.3
_FORGET_FRAMES = 30
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Naive:
    """What came of it."""

    masks: list[Masks]
    took_s: float


@dataclass
class _Track:
    word: str
    box: tuple[float, float, float, float]
    frame: int


def run_naive(path: Path, words: Sequence[str], detector: str, segmenter: str) -> Naive:
    """Go through a video; `detector` and `segmenter` are addresses."""
    options = [("grpc.max_receive_message_length", _MAX_BYTES)]
    began_s = time.monotonic()
    found: list[Masks] = []
    joining = _Joining()
    with (
        grpc.insecure_channel(detector, options=options) as boxes,
        grpc.insecure_channel(segmenter, options=options) as masks,
    ):
        find: Any = detector_pb2_grpc.DetectorServiceStub(boxes)
        cut: Any = segmenter_pb2_grpc.SegmenterServiceStub(masks)
        for number, frame in enumerate(VideoReader(path)):
            image = wire.image_to_message(frame.image, None)
            seen = _segmented(cut, image, _detected(find, image, words))
            found.append(joining.joined(seen, number))
    return Naive(found, time.monotonic() - began_s)


def _detected(
    stub: Any, image: media_pb2.Image, words: Sequence[str]
) -> list[detector_pb2.Detection]:
    options = detector_pb2.DetectOptions(prompts=words)
    reply = stub.Detect(detector_pb2.DetectRequest(images=[image], options=options))
    return list(reply.results[0].detections)


def _segmented(
    stub: Any, image: media_pb2.Image, found: Sequence[detector_pb2.Detection]
) -> list[tuple[str, BoolMask]]:
    if not found:
        return []
    prompts = [
        segmenter_pb2.ObjectPrompt(object_id=number + 1, box=detection.box)
        for number, detection in enumerate(found)
    ]
    reply = stub.SegmentImage(segmenter_pb2.SegmentImageRequest(image=image, prompts=prompts))
    masks = [wire.mask_from_message(result.candidates[0].mask) for result in reply.results]
    pairs = zip(found, masks, strict=True)
    return [(detection.prompt, mask) for detection, mask in pairs if mask.any()]


class _Joining:
    """Identities, frame after frame."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}
        self._next = 1

    def joined(self, seen: list[tuple[str, BoolMask]], number: int) -> Masks:
        """Give every mask of a frame an identity."""
        old = [k for k, track in self._tracks.items() if number - track.frame > _FORGET_FRAMES]
        for key in old:
            del self._tracks[key]
        boxes = [tight_box(mask) for _, mask in seen]
        owners = self._owners([word for word, _ in seen], boxes)
        found: Masks = {}
        for row, (word, mask) in enumerate(seen):
            key = owners.get(row, self._next)
            self._next = max(self._next, key + 1)
            self._tracks[key] = _Track(word, boxes[row], number)
            found[key] = mask
        return found

    def _owners(
        self, words: Sequence[str], boxes: Sequence[tuple[float, float, float, float]]
    ) -> dict[int, int]:
        """From a mask's number to the identity that it goes on with."""
        known = list(self._tracks)
        before = [self._tracks[key].box for key in known]
        table = iou_matrix(
            np.array(boxes, np.float64).reshape(-1, 4), np.array(before, np.float64).reshape(-1, 4)
        )
        same = np.array([[self._tracks[k].word == word for k in known] for word in words], bool)
        table = np.where(same.reshape(table.shape), table, 0.0)
        rows, columns = best_pairs(table)
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return {row: known[column] for row, column in pairs if table[row, column] >= _MATCH_IOU}
