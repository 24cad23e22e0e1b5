"""The calls of the faces service as ordinary methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message

from kinemask import config
from kinemask.client._calls import Operation, ResultT
from kinemask.client._loop import shared_loop
from kinemask.faces import _decode, _operations, types
from kinemask.faces._aio import AsyncFaces
from kinemask.faces._operations import FaceLike
from kinemask.faces._sync_streams import EnrolStream, RecogniseStream
from kinemask.v1 import faces_pb2 as pb
from kinemask.v1.faces_pb2_grpc import FacesServiceStub

if TYPE_CHECKING:
    from kinemask.stored._calls import Calls
    from kinemask.types import ImageLike

EntryT = TypeVar("EntryT")


class Faces:
    """Finds faces, remembers them in galleries and names them; `client.faces`.

    A face is given as a picture (`(H, W, 3)` uint8 RGB, encoded bytes or a path: its largest face),
    as a `FaceInPicture`, or as a face of an answer that has a token. Every method raises
    KinemaskError. What changes something may be tried again: each call carries an id.
    """

    def __init__(self, calls: Calls, streams: AsyncFaces) -> None:
        """`streams`: of a client whose channel is the process's loop thread's."""
        self._calls = calls
        self._streams = streams
        self._jpeg_quality = calls.settings.jpeg_quality

    # --- pictures alone

    def detect(
        self,
        images: Sequence[ImageLike],
        *,
        score_threshold: float | None = None,
        min_face_px: int = 0,
        max_faces: int = 0,
        include_embeddings: bool = False,
        model: str = "auto",
    ) -> list[types.FacesInImage]:
        """The faces of up to 64 pictures; one that cannot be read has its `error` set."""
        return self._run(
            _operations.detect(
                images,
                self._jpeg_quality,
                score_threshold,
                min_face_px,
                max_faces,
                include_embeddings,
                model,
            )
        )

    def verify(
        self,
        first: FaceLike,
        second: FaceLike,
        *,
        threshold: float | None = None,
        model: str = "auto",
    ) -> types.Verification:
        """Whether two faces are of one person."""
        return self._run(_operations.verify(first, second, self._jpeg_quality, threshold, model))

    # --- galleries

    def create_gallery(
        self,
        gallery_id: str = "",
        *,
        name: str = "",
        metadata: Mapping[str, object] | None = None,
        model: str = "auto",
    ) -> types.Gallery:
        """A new gallery; without an id one is made up."""
        return self._run(_operations.create_gallery(gallery_id, name, metadata, model))

    def gallery(self, gallery_id: str) -> types.Gallery:
        """One gallery."""
        return self._run(_operations.get_gallery(gallery_id))

    def galleries(self) -> Iterator[types.Gallery]:
        """All, by id, fetched a page at a time."""
        return self._list("ListGalleries", pb.ListGalleriesRequest(), "galleries", _decode.gallery)

    def update_gallery(
        self,
        gallery_id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, object] | None = None,
        default_model: str | None = None,
    ) -> types.Gallery:
        """Change what is not None."""
        return self._run(_operations.update_gallery(gallery_id, name, metadata, default_model))

    def delete_gallery(self, gallery_id: str, *, force: bool = False) -> types.Removed:
        """Remove a gallery for good; `force` also with people in it."""
        return self._run(_operations.delete_gallery(gallery_id, force))

    def clear_gallery(self, gallery_id: str, *, only_strangers: bool = False) -> types.Removed:
        """Remove everybody, or all strangers, for good."""
        return self._run(_operations.clear_gallery(gallery_id, only_strangers))

    def reembed(
        self,
        gallery_id: str,
        model: str,
        *,
        make_default: bool = False,
        drop_other_models: bool = False,
    ) -> Iterator[types.ReembedProgress]:
        """Embed a gallery for another model, telling how far it is; closing it stops the work."""
        request = _operations.reembed_request(gallery_id, model, make_default, drop_other_models)
        for answer in self._calls.stream(FacesServiceStub, "ReembedGallery", request):
            yield _decode.progress(answer)

    # --- people

    def create_person(
        self,
        gallery_id: str,
        name: str,
        *,
        person_id: str = "",
        metadata: Mapping[str, object] | None = None,
        action: types.PersonAction | None = None,
    ) -> types.Person:
        """A new person; without an id one is made up."""
        return self._run(_operations.create_person(gallery_id, name, person_id, metadata, action))

    def person(self, gallery_id: str, person_id: str) -> types.Person:
        """One person."""
        return self._run(_operations.get_person(gallery_id, person_id))

    def people(
        self, gallery_id: str, *, name_contains: str = "", stranger: bool | None = None
    ) -> Iterator[types.Person]:
        """People by name, then id, fetched a page at a time; `stranger` None: both kinds."""
        request = pb.ListPeopleRequest(
            gallery_id=gallery_id, name_contains=name_contains, stranger=stranger
        )
        return self._list("ListPeople", request, "people", _decode.person)

    def update_person(
        self,
        gallery_id: str,
        person_id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, object] | None = None,
        action: types.PersonAction | None = None,
    ) -> types.Person:
        """Change what is not None; a stranger who gets a name is a stranger no more."""
        return self._run(_operations.update_person(gallery_id, person_id, name, metadata, action))

    def delete_person(self, gallery_id: str, person_id: str) -> int:
        """Remove a person for good, with samples, vectors and crops; how many samples went."""
        return self._run(_operations.delete_person(gallery_id, person_id))

    def merge(
        self, gallery_id: str, person_id: str, merged_person_ids: Sequence[str]
    ) -> types.Merge:
        """Make one person of several; `person_id` stays."""
        return self._run(_operations.merge(gallery_id, person_id, merged_person_ids))

    def unmerge(self, gallery_id: str, merge_id: str) -> list[types.Person]:
        """Everybody as they were, who had stayed first."""
        return self._run(_operations.unmerge(gallery_id, merge_id))

    def merges(self, gallery_id: str, *, include_undone: bool = False) -> Iterator[types.Merge]:
        """Merges, newest first."""
        request = pb.ListMergesRequest(gallery_id=gallery_id, include_undone=include_undone)
        return self._list("ListMerges", request, "merges", _decode.merge)

    # --- samples

    def enrol(
        self,
        gallery_id: str,
        person_id: str,
        faces: Sequence[FaceLike],
        *,
        sources: Sequence[str] = (),
        min_quality: float | None = None,
        allow_duplicates: bool = False,
        timeout_s: float | None = None,
    ) -> list[types.Enrolled]:
        """Add samples to a person: what became of each, in order. What is accepted is stored.

        Args:
            gallery_id: the gallery.
            person_id: whose faces these are.
            faces: any number; they are sent in batches.
            sources: where each comes from, such as a file's name.
            min_quality: refuse faces of a lower quality, 0..1. Default: the service's own.
            allow_duplicates: keep a face that the person has already.
            timeout_s: of each batch. Default: the client's.

        Raises:
            ValueError: not one source for each face, or a face of an answer without a token.
        """
        quality = self._jpeg_quality
        inputs = _operations.samples(faces, sources, quality, min_quality, allow_duplicates)
        done: list[types.Enrolled] = []
        for batch in _operations.in_batches(inputs):
            outcomes = self._run(_operations.enrol(gallery_id, person_id, batch), timeout_s)
            done.extend(outcomes)
        return done

    def samples(
        self, gallery_id: str, person_id: str = "", *, include_crops: bool = False
    ) -> Iterator[types.FaceSample]:
        """Samples of a person, or of all, oldest first, fetched a page at a time."""
        request = pb.ListSamplesRequest(
            gallery_id=gallery_id, person_id=person_id, include_crops=include_crops
        )
        return self._list("ListSamples", request, "samples", _decode.sample)

    def delete_samples(self, gallery_id: str, sample_ids: Sequence[str]) -> int:
        """Remove samples for good, all or none; how many."""
        return self._run(_operations.delete_samples(gallery_id, sample_ids))

    # --- names

    def recognise(
        self,
        gallery_id: str,
        images: Sequence[ImageLike],
        *,
        threshold: float | None = None,
        min_margin: float | None = None,
        enrol_strangers: bool = False,
        include_metadata: bool = False,
        include_tokens: bool = False,
        model: str = "auto",
        timeout_s: float | None = None,
    ) -> list[types.Recognition]:
        """Name the faces of up to 64 pictures; every face is answered, unknown ones too.

        Args:
            gallery_id: the gallery to look in.
            images: a picture that cannot be read has its `error` set.
            threshold: least similarity of a match, -1..1. Default: the model's own.
            min_margin: least lead over the runner-up, 0..2; with less a face is undecided.
            enrol_strangers: enrol unknown faces under stable ids.
            include_metadata: of the people too.
            include_tokens: make faces usable in other calls for an hour.
            model: the model's name. Default: the gallery's default model.
            timeout_s: of the call. Default: the client's.
        """
        options = _operations.recognise_options(
            gallery_id,
            threshold,
            min_margin,
            enrol_strangers,
            include_metadata,
            include_tokens,
            model,
        )
        return self._run(_operations.recognise(images, self._jpeg_quality, options), timeout_s)

    def enrol_stream(
        self,
        gallery_id: str,
        *,
        create_people: bool = False,
        options: config.StreamOptions | None = None,
    ) -> EnrolStream:
        """A stream that enrols any number of faces, not opened yet: `send` them, iterate answers.

        What is answered as accepted is stored, also if the stream breaks off afterwards.

        Args:
            gallery_id: the gallery.
            create_people: make people who are not there yet. Default: an error for their faces.
            options: window and resumption; the policy is `block` or `reject`.
        """
        stream = self._streams.enrol_stream(
            gallery_id, create_people=create_people, options=options
        )
        return EnrolStream(shared_loop(), stream)

    def recognise_stream(
        self,
        gallery_id: str,
        *,
        votes: config.FaceVotes | None = None,
        threshold: float | None = None,
        min_margin: float | None = None,
        enrol_strangers: bool = False,
        own_tracks: bool = False,
        budget_ms: int = 0,
        model: str = "auto",
        options: config.StreamOptions | None = None,
    ) -> RecogniseStream:
        """A stream that names the faces of a video, not opened yet.

        Args:
            gallery_id: the gallery to look in.
            votes: when a track's name is decided.
            threshold: least similarity of a match, -1..1. Default: the model's own.
            min_margin: least lead over the runner-up, 0..2.
            enrol_strangers: enrol unknown faces under stable ids.
            own_tracks: each frame comes with the caller's tracks; else the service makes them.
            budget_ms: what a frame may spend on faces; 0: no limit.
            model: the model's name. Default: the gallery's default model.
            options: window, policy and resumption.
        """
        stream = self._streams.recognise_stream(
            gallery_id,
            votes=votes,
            threshold=threshold,
            min_margin=min_margin,
            enrol_strangers=enrol_strangers,
            own_tracks=own_tracks,
            budget_ms=budget_ms,
            model=model,
            options=options,
        )
        return RecogniseStream(shared_loop(), stream)

    def reject(
        self, gallery_id: str, person_id: str, face: FaceLike | types.FaceSample
    ) -> types.Rejection:
        """Remember that a face is not a certain person."""
        return self._run(_operations.reject(gallery_id, person_id, face, self._jpeg_quality))

    def rejections(self, gallery_id: str, person_id: str = "") -> Iterator[types.Rejection]:
        """What was rejected, newest first."""
        request = pb.ListRejectionsRequest(gallery_id=gallery_id, person_id=person_id)
        return self._list("ListRejections", request, "rejections", _decode.rejection)

    def forget_rejection(self, gallery_id: str, rejection_id: str) -> None:
        """Forget a rejection."""
        self._run(_operations.forget_rejection(gallery_id, rejection_id))

    def _run(self, operation: Operation[ResultT], timeout_s: float | None = None) -> ResultT:
        return self._calls.run(operation, timeout_s)

    def _list(
        self,
        method: str,
        request: Message,
        entries: str,
        decode: Callable[[Any], EntryT],
    ) -> Iterator[EntryT]:
        while True:
            page = self._run(_operations.list_page(method, request, entries))
            yield from map(decode, page.entries)
            if not page.next_token:
                return
            request.page_token = page.next_token  # type: ignore[attr-defined]  # of every list
