"""The single calls of the faces service as operations, for either client to run.

What changes something carries an id by which the service knows a repeat again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from google.protobuf import json_format, struct_pb2
from google.protobuf.message import Message

from kinemask.client import _encode
from kinemask.client._calls import Operation
from kinemask.faces import _decode, types
from kinemask.v1 import faces_pb2 as pb
from kinemask.v1 import media_pb2
from kinemask.v1.faces_pb2_grpc import FacesServiceStub

if TYPE_CHECKING:
    from kinemask.types import BoxXyxy, ImageLike

ResultT = TypeVar("ResultT")
FaceLike: TypeAlias = "ImageLike | types.FaceInPicture | types.Face"
"""A picture (its largest face), one face of a picture, or a face of an answer with a token."""

MAX_BATCH = 64
MAX_BATCH_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Page:
    """Some of the entries of a list, as messages."""

    entries: Sequence[Any]
    next_token: str


def detect(
    images: Sequence[ImageLike],
    jpeg_quality: int | None,
    score_threshold: float | None,
    min_face_px: int,
    max_faces: int,
    include_embeddings: bool,
    model: str,
) -> Operation[list[types.FacesInImage]]:
    """DetectFaces."""
    options = pb.FaceDetectOptions(
        score_threshold=score_threshold, min_face_px=min_face_px, max_faces=max_faces
    )
    request = pb.DetectFacesRequest(
        images=[_encode.image(image, jpeg_quality) for image in images],
        options=options,
        include_embeddings=include_embeddings,
        model=model,
    )

    def decode(answer: pb.DetectFacesResponse, request_id: str) -> list[types.FacesInImage]:
        return [_decode.image_faces(found, request_id) for found in answer.results]

    return Operation(FacesServiceStub, "DetectFaces", request, decode)


def verify(
    first: FaceLike, second: FaceLike, jpeg_quality: int | None, threshold: float | None, model: str
) -> Operation[types.Verification]:
    """VerifyFaces."""
    request = pb.VerifyFacesRequest(
        first=source(first, jpeg_quality),
        second=source(second, jpeg_quality),
        threshold=threshold,
        model=model,
    )
    return _operation("VerifyFaces", request, _decode.verification)


def create_gallery(
    gallery_id: str, name: str, metadata: Mapping[str, object] | None, model: str
) -> Operation[types.Gallery]:
    """CreateGallery."""
    request = pb.CreateGalleryRequest(
        gallery_id=gallery_id,
        display_name=name,
        metadata=struct(metadata),
        model=model,
        request_id=new_id(),
    )
    return _operation("CreateGallery", request, _gallery)


def get_gallery(gallery_id: str) -> Operation[types.Gallery]:
    """GetGallery."""
    return _operation("GetGallery", pb.GetGalleryRequest(gallery_id=gallery_id), _gallery)


def update_gallery(
    gallery_id: str,
    name: str | None,
    metadata: Mapping[str, object] | None,
    default_model: str | None,
) -> Operation[types.Gallery]:
    """UpdateGallery."""
    request = pb.UpdateGalleryRequest(
        gallery_id=gallery_id,
        display_name=name,
        default_model=default_model,
        request_id=new_id(),
    )
    if metadata is not None:
        request.metadata.CopyFrom(struct(metadata))
    return _operation("UpdateGallery", request, _gallery)


def delete_gallery(gallery_id: str, force: bool) -> Operation[types.Removed]:
    """DeleteGallery."""
    request = pb.DeleteGalleryRequest(gallery_id=gallery_id, force=force, request_id=new_id())
    return _operation("DeleteGallery", request, _removed)


def clear_gallery(gallery_id: str, only_strangers: bool) -> Operation[types.Removed]:
    """ClearGallery."""
    request = pb.ClearGalleryRequest(
        gallery_id=gallery_id, only_strangers=only_strangers, request_id=new_id()
    )
    return _operation("ClearGallery", request, _removed)


def create_person(
    gallery_id: str,
    name: str,
    person_id: str,
    metadata: Mapping[str, object] | None,
    action: types.PersonAction | None,
) -> Operation[types.Person]:
    """CreatePerson."""
    request = pb.CreatePersonRequest(
        gallery_id=gallery_id,
        person_id=person_id,
        display_name=name,
        metadata=struct(metadata),
        action=_action(action),
        request_id=new_id(),
    )
    return _operation("CreatePerson", request, _person)


def get_person(gallery_id: str, person_id: str) -> Operation[types.Person]:
    """GetPerson."""
    request = pb.GetPersonRequest(gallery_id=gallery_id, person_id=person_id)
    return _operation("GetPerson", request, _person)


def update_person(
    gallery_id: str,
    person_id: str,
    name: str | None,
    metadata: Mapping[str, object] | None,
    action: types.PersonAction | None,
) -> Operation[types.Person]:
    """UpdatePerson."""
    request = pb.UpdatePersonRequest(
        gallery_id=gallery_id,
        person_id=person_id,
        display_name=name,
        action=_action(action),
        request_id=new_id(),
    )
    if metadata is not None:
        request.metadata.CopyFrom(struct(metadata))
    return _operation("UpdatePerson", request, _person)


def delete_person(gallery_id: str, person_id: str) -> Operation[int]:
    """DeletePerson."""
    request = pb.DeletePersonRequest(
        gallery_id=gallery_id, person_id=person_id, request_id=new_id()
    )
    return _operation("DeletePerson", request, lambda answer: int(answer.sample_count))


def samples(
    faces: Sequence[FaceLike],
    sources: Sequence[str],
    jpeg_quality: int | None,
    min_quality: float | None,
    allow_duplicates: bool,
) -> list[pb.SampleInput]:
    """What is to be enrolled.

    Raises:
        ValueError: not one source for each face.
    """
    return [
        pb.SampleInput(
            face=source(face, jpeg_quality),
            source=named,
            min_quality=min_quality,
            allow_duplicate=allow_duplicates,
        )
        for face, named in zip(faces, sources or [""] * len(faces), strict=True)
    ]


def in_batches(inputs: Sequence[pb.SampleInput]) -> Iterator[list[pb.SampleInput]]:
    """Parts that fit into one request each."""
    batch: list[pb.SampleInput] = []
    size = 0
    for one in inputs:
        if batch and (len(batch) == MAX_BATCH or size + one.ByteSize() > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.ByteSize()
    if batch:
        yield batch


def enrol(
    gallery_id: str, person_id: str, batch: Sequence[pb.SampleInput]
) -> Operation[list[types.Enrolled]]:
    """EnrolSamples."""
    request = pb.EnrolSamplesRequest(
        gallery_id=gallery_id, person_id=person_id, samples=batch, request_id=new_id()
    )

    def decode(answer: pb.EnrolSamplesResponse, request_id: str) -> list[types.Enrolled]:
        return [_decode.enrolled(outcome, request_id) for outcome in answer.outcomes]

    return Operation(FacesServiceStub, "EnrolSamples", request, decode)


def delete_samples(gallery_id: str, sample_ids: Sequence[str]) -> Operation[int]:
    """DeleteSamples."""
    request = pb.DeleteSamplesRequest(
        gallery_id=gallery_id, sample_ids=sample_ids, request_id=new_id()
    )
    return _operation("DeleteSamples", request, lambda answer: int(answer.sample_count))


def recognise(
    images: Sequence[ImageLike], jpeg_quality: int | None, options: pb.RecogniseOptions
) -> Operation[list[types.Recognition]]:
    """Recognise."""
    request = pb.RecogniseRequest(
        images=[_encode.image(image, jpeg_quality) for image in images],
        options=options,
        request_id=new_id() if options.HasField("enrol_strangers") else "",
    )

    def decode(answer: pb.RecogniseResponse, request_id: str) -> list[types.Recognition]:
        return [
            _decode.recognition(found, answer.threshold, request_id) for found in answer.results
        ]

    return Operation(FacesServiceStub, "Recognise", request, decode)


def recognise_options(
    gallery_id: str,
    threshold: float | None,
    min_margin: float | None,
    enrol_strangers: bool,
    include_metadata: bool,
    include_tokens: bool,
    model: str,
) -> pb.RecogniseOptions:
    """Where and how to look."""
    return pb.RecogniseOptions(
        gallery_id=gallery_id,
        model=model,
        threshold=threshold,
        min_margin=min_margin,
        enrol_strangers=pb.StrangerOptions() if enrol_strangers else None,
        include_metadata=include_metadata,
        include_face_tokens=include_tokens,
    )


def reject(
    gallery_id: str, person_id: str, face: FaceLike | types.FaceSample, jpeg_quality: int | None
) -> Operation[types.Rejection]:
    """RejectMatch."""
    request = pb.RejectMatchRequest(gallery_id=gallery_id, person_id=person_id, request_id=new_id())
    if isinstance(face, types.FaceSample):
        request.sample_id = face.sample_id
    else:
        request.face.CopyFrom(source(face, jpeg_quality))
    return _operation("RejectMatch", request, lambda answer: _decode.rejection(answer.rejection))


def forget_rejection(gallery_id: str, rejection_id: str) -> Operation[None]:
    """DeleteRejection."""
    request = pb.DeleteRejectionRequest(
        gallery_id=gallery_id, rejection_id=rejection_id, request_id=new_id()
    )
    return _operation("DeleteRejection", request, lambda answer: None)


def merge(
    gallery_id: str, person_id: str, merged_person_ids: Sequence[str]
) -> Operation[types.Merge]:
    """MergePeople."""
    request = pb.MergePeopleRequest(
        gallery_id=gallery_id,
        person_id=person_id,
        merged_person_ids=merged_person_ids,
        request_id=new_id(),
    )
    return _operation("MergePeople", request, lambda answer: _decode.merge(answer.merge))


def unmerge(gallery_id: str, merge_id: str) -> Operation[list[types.Person]]:
    """UnmergePeople."""
    request = pb.UnmergePeopleRequest(gallery_id=gallery_id, merge_id=merge_id, request_id=new_id())

    def decode(answer: pb.UnmergePeopleResponse) -> list[types.Person]:
        return [_decode.person(back) for back in answer.people]

    return _operation("UnmergePeople", request, decode)


def list_page(method: str, request: Message, entries: str) -> Operation[Page]:
    """One page of a list: `entries` is the reply's field."""

    def decode(answer: Any) -> Page:
        return Page(getattr(answer, entries), answer.next_page_token)

    return _operation(method, request, decode)


def reembed_request(
    gallery_id: str, model: str, make_default: bool, drop_other_models: bool
) -> pb.ReembedGalleryRequest:
    """ReembedGallery's."""
    return pb.ReembedGalleryRequest(
        gallery_id=gallery_id,
        model=model,
        make_default=make_default,
        drop_other_models=drop_other_models,
    )


def source(face: FaceLike, jpeg_quality: int | None) -> pb.FaceSource:
    """The face that is meant.

    Raises:
        ValueError: a face of an answer that has no token.
    """
    if isinstance(face, types.Face):
        if not face.token:
            raise ValueError("expected a face with a token: recognise(..., include_tokens=True)")
        return pb.FaceSource(face_token=face.token)
    if not isinstance(face, types.FaceInPicture):
        return pb.FaceSource(image=_encode.image(face, jpeg_quality))
    image = _encode.image(cast("ImageLike", face.image), jpeg_quality)
    choice = pb.FACE_CHOICE_ONLY if face.only else pb.FACE_CHOICE_LARGEST
    return pb.FaceSource(image=image, box=box(face.box), choice=choice)


def struct(metadata: Mapping[str, object] | None) -> struct_pb2.Struct:
    """JSON values as a message."""
    return json_format.Parse(json.dumps(dict(metadata or {})), struct_pb2.Struct())


def new_id() -> str:
    """Of one request, however often it is sent."""
    return uuid.uuid4().hex


def box(box: BoxXyxy | None) -> media_pb2.Box | None:
    if box is None:
        return None
    x_min, y_min, x_max, y_max = box
    return media_pb2.Box(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)


def _action(action: types.PersonAction | None) -> pb.PersonAction | None:
    if action is None:
        return None
    return pb.PersonAction(kind=action.kind, target=action.target, label=action.label)


def _gallery(answer: Any) -> types.Gallery:
    return _decode.gallery(answer.gallery)


def _person(answer: Any) -> types.Person:
    return _decode.person(answer.person)


def _removed(answer: Any) -> types.Removed:
    return types.Removed(answer.person_count, answer.sample_count)


def _operation(
    method: str, request: Message, decode: Callable[[Any], ResultT]
) -> Operation[ResultT]:
    return Operation(FacesServiceStub, method, request, lambda answer, _: decode(answer))
