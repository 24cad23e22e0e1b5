"""Between what a gallery holds and its messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from kinemask.v1 import faces_pb2

from kinemask_faces.gallery import records
from kinemask_faces.messages import face_to_message
from kinemask_faces.requests import metadata_message

_METHODS = {
    records.SearchMethod.EXACT: faces_pb2.SEARCH_METHOD_EXACT,
    records.SearchMethod.HNSW: faces_pb2.SEARCH_METHOD_HNSW,
}


def gallery_to_message(gallery: records.Gallery) -> faces_pb2.Gallery:
    """A gallery."""
    return faces_pb2.Gallery(
        gallery_id=gallery.gallery_id,
        display_name=gallery.display_name,
        metadata=metadata_message(gallery.metadata_json),
        default_model=gallery.default_model,
        models=map(_model_to_message, gallery.models),
        person_count=gallery.person_count,
        sample_count=gallery.sample_count,
        owner_id=gallery.owner_id,
        create_time=timestamp(gallery.create_time),
        update_time=timestamp(gallery.update_time),
    )


def person_to_message(person: records.Person) -> faces_pb2.Person:
    """Somebody."""
    return faces_pb2.Person(
        person_id=person.person_id,
        gallery_id=person.gallery_id,
        display_name=person.display_name,
        metadata=metadata_message(person.metadata_json),
        action=action_to_message(person.action),
        stranger=person.stranger,
        sample_count=person.sample_count,
        merged_person_ids=person.merged_person_ids,
        create_time=timestamp(person.create_time),
        update_time=timestamp(person.update_time),
    )


def action_from_message(message: faces_pb2.PersonAction) -> records.PersonAction:
    """What to do on sight."""
    return records.PersonAction(message.kind, message.target, message.label)


def action_to_message(action: records.PersonAction) -> faces_pb2.PersonAction | None:
    """The same as a message; None for nothing."""
    if action == records.NO_ACTION:
        return None
    return faces_pb2.PersonAction(kind=action.kind, target=action.target, label=action.label)


def sample_to_message(sample: records.Sample) -> faces_pb2.FaceSample:
    """One face of a person."""
    return faces_pb2.FaceSample(
        sample_id=sample.sample_id,
        person_id=sample.person_id,
        face=face_to_message(sample.face, sample.quality),
        source=sample.source,
        crop_jpeg=sample.crop_jpeg,
        create_time=timestamp(sample.create_time),
    )


def rejection_to_message(rejection: records.Rejection) -> faces_pb2.Rejection:
    """A face that is not a certain person."""
    return faces_pb2.Rejection(
        rejection_id=rejection.rejection_id,
        gallery_id=rejection.gallery_id,
        person_id=rejection.person_id,
        crop_jpeg=rejection.crop_jpeg,
        create_time=timestamp(rejection.create_time),
    )


def merge_to_message(merge: records.Merge) -> faces_pb2.PersonMerge:
    """People who became one."""
    return faces_pb2.PersonMerge(
        merge_id=merge.merge_id,
        gallery_id=merge.gallery_id,
        person_id=merge.person_id,
        merged_person_ids=merge.merged_person_ids,
        create_time=timestamp(merge.create_time),
        undo_time=None if merge.undo_time is None else timestamp(merge.undo_time),
    )


def match_to_message(match: records.Match, include_metadata: bool) -> faces_pb2.FaceMatch:
    """Somebody a face is like."""
    return faces_pb2.FaceMatch(
        person_id=match.person_id,
        display_name=match.display_name,
        similarity=match.similarity,
        sample_id=match.sample_id,
        action=action_to_message(match.action),
        metadata=metadata_message(match.metadata_json) if include_metadata else None,
        stranger=match.stranger,
    )


def timestamp(moment: datetime) -> Timestamp:
    """A moment with its time zone."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _model_to_message(model: records.GalleryModel) -> faces_pb2.GalleryModel:
    return faces_pb2.GalleryModel(
        model=model.key.name,
        revision=model.key.revision,
        dimensions=model.key.dimensions,
        sample_count=model.sample_count,
        search_method=_METHODS[model.method],
    )
