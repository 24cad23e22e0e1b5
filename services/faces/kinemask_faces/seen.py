"""One face that was found, judged, embedded and cut out: all that anything here needs of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from kinemask import images
from kinemask_chassis.snapshots import SnapshotError, pack, unpack
from numpy.typing import NDArray

from kinemask_faces.crops import FaceCrop, read_crop
from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.quality import FaceProblem, FaceQuality
from kinemask_faces.runner import Vector

MAX_CROP_BYTES = 48 * 1024
_KIND = ("seen face", 1)


@dataclass(frozen=True)
class SeenFace:
    """A face, apart from the picture it came from."""

    face: DetectedFace
    """Where it was, in that picture's pixels."""
    quality: FaceQuality
    vector: Vector
    """Of the model that looked."""
    crop: FaceCrop

    def to_bytes(self) -> bytes:
        """At most 64 KiB. Blocking for about a millisecond; any thread."""
        quality = self.quality
        figures = [
            *(quality.score, quality.size_px, quality.sharpness),
            *(quality.yaw_deg, quality.pitch_deg, quality.roll_deg, quality.visible),
        ]
        arrays: dict[str, NDArray[np.generic]] = {
            "jpeg": np.frombuffer(_small_enough(self.crop.jpeg), np.uint8),
            "crop_marks": self.crop.landmarks_xy,
            "vector": self.vector,
            "box": np.array(self.face.box_xyxy, np.float64),
            "marks": self.face.landmarks_xy,
            "quality": np.array([*figures, self.face.score], np.float64),
        }
        problem = quality.problem.value if quality.problem else ""
        return pack(*_KIND, {"problem": problem}, arrays, level=0)

    @classmethod
    def from_bytes(cls, blob: bytes) -> SeenFace:
        """What `to_bytes` gave.

        Raises:
            SnapshotError: it is damaged, or something else.
        """
        snapshot = unpack(blob, *_KIND)
        arrays = snapshot.arrays
        try:
            x_min, y_min, x_max, y_max = arrays["box"].tolist()
            *figures, score = arrays["quality"].tolist()
            problem = FaceProblem(snapshot.facts["problem"]) if snapshot.facts["problem"] else None
            marks = arrays["marks"].astype(np.float32).reshape(5, 2)
            crop_marks = arrays["crop_marks"].astype(np.float32).reshape(5, 2)
            return cls(
                DetectedFace((x_min, y_min, x_max, y_max), score, marks),
                FaceQuality(*_all(figures), problem),
                arrays["vector"].astype(np.float32),
                FaceCrop(arrays["jpeg"].tobytes(), crop_marks),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"expected a seen face, found: {error}") from error


def _all(figures: list[float]) -> tuple[float, float, float, float, float, float, float]:
    score, size_px, sharpness, yaw, pitch, roll, visible = figures
    return score, size_px, sharpness, yaw, pitch, roll, visible


def _small_enough(jpeg: bytes) -> bytes:
    """A crop is far smaller, unless it shows nothing but noise."""
    for quality in (80, 60, 40, 20):
        if len(jpeg) <= MAX_CROP_BYTES:
            return jpeg
        jpeg = images.encode_jpeg(read_crop(jpeg), quality)
    return jpeg
