"""Between the messages of single faces and plain values."""

from __future__ import annotations

from dataclasses import dataclass

from kinemask import wire
from kinemask.v1 import faces_pb2, media_pb2
from kinemask_chassis.provenance import service_info

from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.engines.registry import Chosen, FaceModels
from kinemask_faces.quality import FaceProblem, FaceQuality
from kinemask_faces.runner import Vector

DEFAULT_MAX_FACES = 100
_LICENCES = {
    "dlib": "CC0-1.0",
    "yunet-sface": "Apache-2.0",
    "scrfd-arcface": "non-commercial use only",
}
PROBLEMS = {
    FaceProblem.TOO_SMALL: faces_pb2.FACE_PROBLEM_TOO_SMALL,
    FaceProblem.TOO_BLURRED: faces_pb2.FACE_PROBLEM_TOO_BLURRED,
    FaceProblem.TURNED_AWAY: faces_pb2.FACE_PROBLEM_TURNED_AWAY,
    FaceProblem.CUT_OFF: faces_pb2.FACE_PROBLEM_CUT_OFF,
}


@dataclass(frozen=True)
class FaceQuery:
    """What counts as a face."""

    score_threshold: float | None
    """None: the model's own."""
    min_face_px: int
    max_faces: int

    def keep(self, faces: list[DetectedFace]) -> list[DetectedFace]:
        """Those that are large enough, no more than wanted, in the order given."""
        return [face for face in faces if _shorter_side(face) >= self.min_face_px][: self.max_faces]


def query_from_message(options: faces_pb2.FaceDetectOptions) -> FaceQuery:
    """What validated options ask for."""
    given = options.HasField("score_threshold")
    return FaceQuery(
        score_threshold=options.score_threshold if given else None,
        min_face_px=options.min_face_px,
        max_faces=options.max_faces or DEFAULT_MAX_FACES,
    )


def face_to_message(
    face: DetectedFace, quality: FaceQuality, vector: Vector | None = None
) -> faces_pb2.Face:
    """One face; its vector only if there is one."""
    return faces_pb2.Face(
        box=wire.box_to_message(face.box_xyxy),
        score=face.score,
        landmarks=[media_pb2.Point(x=x, y=y) for x, y in face.landmarks_xy.tolist()],
        quality=_quality_to_message(quality),
        embedding=() if vector is None else vector.tolist(),
    )


def models_to_messages(models: FaceModels) -> list[media_pb2.ModelInfo]:
    """Every model, the default first, then those that cannot run."""
    ready = [
        media_pb2.ModelInfo(
            name=model.info.name,
            engine=model.info.engine,
            revision=model.info.revision,
            ready=True,
            license=_LICENCES.get(model.info.name, ""),
            is_default=model is models.default,
        )
        for model in models.models.values()
    ]
    missing = [
        media_pb2.ModelInfo(
            name=one.name,
            engine="onnxruntime",
            reason=one.how,
            license=_LICENCES.get(one.name, ""),
        )
        for one in models.missing
    ]
    return ready + missing


def who(choice: Chosen) -> media_pb2.ServiceInfo:
    """What a reply names."""
    info = choice.model.info
    return service_info(
        "faces",
        engine=info.engine,
        model=info.name,
        revision=info.revision,
        device=info.device,
        notice=choice.notice,
    )


def _quality_to_message(quality: FaceQuality) -> faces_pb2.FaceQuality:
    problem = faces_pb2.FACE_PROBLEM_UNSPECIFIED
    if quality.problem is not None:
        problem = PROBLEMS[quality.problem]
    return faces_pb2.FaceQuality(
        score=quality.score,
        size_px=quality.size_px,
        sharpness=quality.sharpness,
        yaw_deg=quality.yaw_deg,
        pitch_deg=quality.pitch_deg,
        roll_deg=quality.roll_deg,
        problem=problem,
    )


def _shorter_side(face: DetectedFace) -> float:
    x_min, y_min, x_max, y_max = face.box_xyxy
    return min(x_max - x_min, y_max - y_min)
