"""What a client changes while its RecogniseStream runs."""

from __future__ import annotations

import base64

from kinemask.v1 import faces_pb2
from kinemask_chassis import errors
from kinemask_chassis.snapshots import Json

from kinemask_faces.lookup import LookupTerms, terms_of
from kinemask_faces.recognising import Recogniser
from kinemask_faces.requests import check_text
from kinemask_faces.seen import SeenFace
from kinemask_faces.stream_tracks import FaceTrack, FaceTracks
from kinemask_faces.votes import VoteRules


class TrackEdits:
    """Applies edits to a stream's tracks; holds the terms that they may change."""

    def __init__(self, terms: LookupTerms, tracks: FaceTracks, recogniser: Recogniser) -> None:
        self.terms = terms
        """How faces are looked up now."""
        self._tracks, self._recogniser = tracks, recogniser
        self._options: faces_pb2.RecogniseOptions | None = None
        self._votes: faces_pb2.VoteOptions | None = None

    async def apply(self, edit: faces_pb2.RecogniseStreamEdit) -> int:
        """Apply one; the track it was about, or 0.

        Raises:
            ServiceError: NOT_FOUND: no such track or person; FAILED_PRECONDITION, reason
                NO_FACE_SEEN: nothing to remember; INVALID_ARGUMENT; UNAVAILABLE.
        """
        check_text(edit)
        action = edit.WhichOneof("action")
        if action == "not_person":
            return await self._not_person(edit.not_person, _request_id(edit))
        if action == "is_person":
            return await self._is_person(edit.is_person, _request_id(edit))
        if action == "end_tracks":
            return self._end(edit.end_tracks)
        if action == "options":
            self._look_by(edit.options)
        else:
            self._count_by(edit.votes)
        return 0

    def to_facts(self) -> list[Json]:
        """What edits have changed, for a resume token."""
        return [
            None if one is None else base64.b64encode(one.SerializeToString()).decode("ascii")
            for one in (self._options, self._votes)
        ]

    def restore(self, facts: Json) -> None:
        """Go on from `to_facts`.

        Raises:
            TypeError, ValueError: it is something else.
        """
        if not isinstance(facts, list) or len(facts) != 2:
            raise TypeError(f"expected two edits, found {facts!r}")
        options, votes = facts
        if options is not None:
            blob = base64.b64decode(str(options))
            self._look_by(faces_pb2.RecogniseOptions.FromString(blob))
        if votes is not None:
            self._count_by(faces_pb2.VoteOptions.FromString(base64.b64decode(str(votes))))

    async def _not_person(self, identity: faces_pb2.TrackIdentity, request_id: str) -> int:
        track, best = self._known(identity.track_id)
        await self._recogniser.reject(self.terms, best, identity.person_id, request_id)
        track.forget(identity.person_id)
        return identity.track_id

    async def _is_person(self, identity: faces_pb2.TrackIdentity, request_id: str) -> int:
        track, best = self._known(identity.track_id)
        match = await self._recogniser.enrol_as(self.terms, best, identity.person_id, request_id)
        track.named = match.person_id
        track.matches[match.person_id] = match
        return identity.track_id

    def _known(self, track_id: int) -> tuple[FaceTrack, SeenFace]:
        track = self._tracks.get(track_id)
        if track is None:
            raise errors.not_found(f"there is no track {track_id}", reason="UNKNOWN_TRACK")
        if track.best is None:
            raise errors.failed_precondition(
                f"no face of track {track_id} was looked at yet", reason="NO_FACE_SEEN"
            )
        return track, track.best

    def _end(self, ends: faces_pb2.TrackEnds) -> int:
        ended = [track_id for track_id in ends.track_ids if self._tracks.end(track_id)]
        if not ended:
            asked = ", ".join(str(track_id) for track_id in ends.track_ids[:10])
            raise errors.not_found(f"no track among {asked}", reason="UNKNOWN_TRACK")
        return ended[0] if len(ended) == 1 else 0

    def _look_by(self, options: faces_pb2.RecogniseOptions) -> None:
        terms = self.terms
        other_gallery = options.gallery_id != terms.gallery_id
        if other_gallery or options.model not in ("", "auto", terms.model.name):
            what = f"expected the stream's own, {terms.gallery_id} and {terms.model.name}"
            raise errors.invalid("options", f"{what}; gallery and model stay")
        self.terms = terms_of(options, terms.model)
        self._options = options

    def _count_by(self, votes: faces_pb2.VoteOptions) -> None:
        self._tracks.recount(vote_rules(votes))
        self._votes = votes


def vote_rules(message: faces_pb2.VoteOptions) -> VoteRules:
    """Validated options, with their defaults.

    Raises:
        ServiceError: INVALID_ARGUMENT: more votes are needed than are kept.
    """
    plain = VoteRules()
    try:
        return VoteRules(
            min_votes=message.min_votes or plain.min_votes,
            # A float of the wire is 0.6 and a little: three of five would be too few.
            min_share=round(message.min_share, 6)
            if message.HasField("min_share")
            else plain.min_share,
            max_votes=message.max_votes or max(plain.max_votes, message.min_votes),
            recheck_every_n_frames=message.recheck_every_n_frames or plain.recheck_every_n_frames,
        )
    except ValueError as error:
        raise errors.invalid("votes", str(error)) from error


def rules_to_message(rules: VoteRules) -> faces_pb2.VoteOptions:
    """As the first reply tells them."""
    return faces_pb2.VoteOptions(
        min_votes=rules.min_votes,
        min_share=rules.min_share,
        max_votes=rules.max_votes,
        recheck_every_n_frames=rules.recheck_every_n_frames,
    )


def _request_id(edit: faces_pb2.RecogniseStreamEdit) -> str:
    """An edit's number repeats it; 0 is of an edit that is always new."""
    return f"edit-{edit.edit_id}" if edit.edit_id else ""
