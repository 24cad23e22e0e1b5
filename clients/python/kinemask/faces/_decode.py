"""From the messages of faces.proto to plain values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, cast

from google.protobuf import json_format, timestamp_pb2

from kinemask.client import _decode
from kinemask.faces import types
from kinemask.v1 import faces_pb2


def face(message: faces_pb2.Face) -> types.Face:
    return types.Face(
        box=_decode.box(message.box),
        score=message.score,
        landmarks=tuple((point.x, point.y) for point in message.landmarks),
        quality=_quality(message.quality),
        embedding=tuple(message.embedding),
        token=message.face_token,
    )


def image_faces(message: faces_pb2.ImageFaces, request_id: str) -> types.FacesInImage:
    return types.FacesInImage(
        faces=tuple(map(face, message.faces)),
        width=message.width,
        height=message.height,
        error=_decode.failure(message.error, request_id),
    )


def verification(message: faces_pb2.VerifyFacesResponse) -> types.Verification:
    return types.Verification(
        same=message.same,
        similarity=message.similarity,
        threshold=message.threshold,
        first=face(message.first),
        second=face(message.second),
        service=_decode.service_info(message.service),
    )


def gallery(message: faces_pb2.Gallery) -> types.Gallery:
    return types.Gallery(
        gallery_id=message.gallery_id,
        name=message.display_name,
        metadata=json_format.MessageToDict(message.metadata),
        default_model=message.default_model,
        models=tuple(map(_gallery_model, message.models)),
        person_count=message.person_count,
        sample_count=message.sample_count,
        create_time=_time(message.create_time),
        update_time=_time(message.update_time),
    )


def person(message: faces_pb2.Person) -> types.Person:
    return types.Person(
        person_id=message.person_id,
        gallery_id=message.gallery_id,
        name=message.display_name,
        metadata=json_format.MessageToDict(message.metadata),
        action=action(message.action) if message.HasField("action") else None,
        stranger=message.stranger,
        sample_count=message.sample_count,
        merged_person_ids=tuple(message.merged_person_ids),
        create_time=_time(message.create_time),
        update_time=_time(message.update_time),
    )


def action(message: faces_pb2.PersonAction) -> types.PersonAction:
    return types.PersonAction(message.kind, message.target, message.label)


def sample(message: faces_pb2.FaceSample) -> types.FaceSample:
    return types.FaceSample(
        sample_id=message.sample_id,
        person_id=message.person_id,
        face=face(message.face),
        source=message.source,
        crop_jpeg=message.crop_jpeg,
        create_time=_time(message.create_time),
    )


def enrolled(message: faces_pb2.SampleOutcome, request_id: str) -> types.Enrolled:
    kind = message.WhichOneof("outcome")
    if kind == "accepted":
        return types.Enrolled(sample(message.accepted))
    if kind == "refused":
        refusal = message.refused
        return types.Enrolled(
            None,
            problem=_problem(refusal.problem),
            message=refusal.message,
            duplicate_sample_id=refusal.duplicate_sample_id,
        )
    return types.Enrolled(None, error=_decode.failure(message.error, request_id))


def recognition(
    message: faces_pb2.ImageRecognition, threshold: float, request_id: str
) -> types.Recognition:
    return types.Recognition(
        faces=tuple(map(recognised, message.faces)),
        width=message.width,
        height=message.height,
        threshold=threshold,
        error=_decode.failure(message.error, request_id),
    )


def enrol_answer(message: faces_pb2.EnrolStreamResult, request_id: str) -> types.EnrolAnswer:
    return types.EnrolAnswer(
        frame_id=message.frame_id,
        timing=_decode.timing(message.timing),
        enrolled=enrolled(message.outcome, request_id),
    )


def recognised_frame(
    message: faces_pb2.RecogniseStreamResult, request_id: str
) -> types.RecognisedFrame:
    degraded = message.degraded if message.HasField("degraded") else None
    return types.RecognisedFrame(
        frame_id=message.frame_id,
        capture_time_us=message.capture_time_us,
        timing=_decode.timing(message.timing),
        tracks=tuple(map(_track, message.tracks)),
        width=message.width,
        height=message.height,
        degraded=None if degraded is None else _decode.failure(degraded, request_id),
    )


def _track(message: faces_pb2.RecognisedTrack) -> types.RecognisedTrack:
    return types.RecognisedTrack(
        track_id=message.track_id,
        box=_decode.box(message.box),
        decision=_decision(message.decision),
        best=_match(message.best) if message.HasField("best") else None,
        votes=message.votes,
        total_votes=message.total_votes,
        observation=recognised(message.observation) if message.HasField("observation") else None,
        deferred=message.deferred,
    )


def rejection(message: faces_pb2.Rejection) -> types.Rejection:
    return types.Rejection(
        rejection_id=message.rejection_id,
        gallery_id=message.gallery_id,
        person_id=message.person_id,
        create_time=_time(message.create_time),
    )


def merge(message: faces_pb2.PersonMerge) -> types.Merge:
    return types.Merge(
        merge_id=message.merge_id,
        gallery_id=message.gallery_id,
        person_id=message.person_id,
        merged_person_ids=tuple(message.merged_person_ids),
        create_time=_time(message.create_time),
        undo_time=_time(message.undo_time) if message.HasField("undo_time") else None,
    )


def progress(message: faces_pb2.ReembedGalleryResponse) -> types.ReembedProgress:
    return types.ReembedProgress(
        message.done_count, message.total_count, message.failed_count, message.done
    )


def recognised(message: faces_pb2.RecognisedFace) -> types.RecognisedFace:
    return types.RecognisedFace(
        face=face(message.face),
        decision=_decision(message.decision),
        best=_match(message.best) if message.HasField("best") else None,
        runner_up=_match(message.runner_up) if message.HasField("runner_up") else None,
        margin=message.margin if message.HasField("margin") else None,
        new_stranger=message.new_stranger,
    )


def _match(message: faces_pb2.FaceMatch) -> types.FaceMatch:
    return types.FaceMatch(
        person_id=message.person_id,
        name=message.display_name,
        similarity=message.similarity,
        sample_id=message.sample_id,
        action=action(message.action) if message.HasField("action") else None,
        metadata=json_format.MessageToDict(message.metadata),
        stranger=message.stranger,
    )


def _gallery_model(message: faces_pb2.GalleryModel) -> types.GalleryModel:
    method = _word(faces_pb2.SearchMethod.Name(message.search_method), "SEARCH_METHOD_")
    return types.GalleryModel(
        model=message.model,
        revision=message.revision,
        dimensions=message.dimensions,
        sample_count=message.sample_count,
        search_method=cast(Literal["exact", "hnsw"], method),
    )


def _quality(message: faces_pb2.FaceQuality) -> types.FaceQuality:
    return types.FaceQuality(
        score=message.score,
        size_px=message.size_px,
        sharpness=message.sharpness,
        yaw_deg=message.yaw_deg,
        pitch_deg=message.pitch_deg,
        roll_deg=message.roll_deg,
        problem=_problem(message.problem),
    )


def _problem(value: faces_pb2.FaceProblem.ValueType) -> types.ProblemName:
    if value == faces_pb2.FACE_PROBLEM_UNSPECIFIED:
        return ""
    return cast(types.ProblemName, _word(faces_pb2.FaceProblem.Name(value), "FACE_PROBLEM_"))


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")


def _time(message: timestamp_pb2.Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def _decision(value: faces_pb2.FaceDecision.ValueType) -> types.DecisionName:
    return cast(types.DecisionName, _word(faces_pb2.FaceDecision.Name(value), "FACE_DECISION_"))
