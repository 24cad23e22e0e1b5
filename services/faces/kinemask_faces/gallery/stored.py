"""Faces and crops as columns, and back."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from kinemask_faces.crops import FaceCrop
from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.quality import FaceProblem, FaceQuality


def face_to_json(face: DetectedFace, quality: FaceQuality) -> str:
    """As it is stored."""
    judged = dataclasses.asdict(quality)
    judged["problem"] = quality.problem.value if quality.problem else None
    return json.dumps(
        {
            "box_xyxy": [float(edge) for edge in face.box_xyxy],
            "score": float(face.score),
            "landmarks_xy": face.landmarks_xy.tolist(),
            "quality": judged,
        }
    )


def face_from_json(text: str) -> tuple[DetectedFace, FaceQuality]:
    """What `face_to_json` was given."""
    stored = json.loads(text)
    judged = stored["quality"]
    judged["problem"] = FaceProblem(judged["problem"]) if judged["problem"] else None
    x_min, y_min, x_max, y_max = stored["box_xyxy"]
    landmarks = np.array(stored["landmarks_xy"], np.float32)
    face = DetectedFace((x_min, y_min, x_max, y_max), stored["score"], landmarks)
    return face, FaceQuality(**judged)


def landmarks_to_column(crop: FaceCrop) -> list[float]:
    """Ten numbers: x and y of each."""
    return [float(value) for value in crop.landmarks_xy.reshape(-1)]


def crop_from_columns(jpeg: bytes, landmarks: list[float]) -> FaceCrop:
    """What was stored."""
    return FaceCrop(bytes(jpeg), np.array(landmarks, np.float32).reshape(5, 2))


def signed(fingerprint: int) -> int:
    """64 bits as Postgres's bigint has them."""
    return fingerprint - 2**64 if fingerprint >= 2**63 else fingerprint
