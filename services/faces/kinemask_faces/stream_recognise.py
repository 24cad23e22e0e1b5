"""One RecogniseStream: faces followed over frames, looked up within a budget, named by votes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.rpc import status_pb2
from kinemask import wire
from kinemask.v1 import faces_pb2
from kinemask_chassis import errors
from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack

from kinemask_faces.engines.base import DetectedFace, Image
from kinemask_faces.following import FaceFollower
from kinemask_faces.looking import FaceLooker
from kinemask_faces.lookup import Finding, LookupTerms, contradicts
from kinemask_faces.recognising import Recogniser
from kinemask_faces.regions import faces_of_regions, regions_of
from kinemask_faces.runner import ModelRunner
from kinemask_faces.seen import SeenFace
from kinemask_faces.stream_edits import TrackEdits, vote_rules
from kinemask_faces.stream_tracks import FaceTrack, FaceTracks
from kinemask_faces.votes import Verdict, Vote, by_need

_STATE = ("recognise stream", 1)
_DEPTH = 2
_SMOOTHING = 0.3


@dataclass(frozen=True)
class PreparedPicture:
    """A frame before its turn."""

    image: Image
    faces: list[DetectedFace] | None
    """Found already, with tracking SERVICE."""
    find_s: float


@dataclass
class NamedFrame:
    """A frame after its turn."""

    size: tuple[int, int]
    """Height, width."""
    boxes: Mapping[int, wire.BoxXyxy]
    tracks: Mapping[int, FaceTrack]
    findings: Mapping[int, Finding]
    deferred: set[int]
    degraded: status_pb2.Status | None = None
    answers: list[faces_pb2.RecognisedTrack] = field(default_factory=list)
    """Put together in the frame's turn: tracks go on changing."""


class RecogniseHandler:
    """A `StreamHandler`; see there for who calls what when.

    A good look that says plainly that a track is not who the votes say starts its count anew.
    Within its budget a frame looks at the tracks that are longest undecided first, and always at
    one, so that every track is decided in the end.
    """

    def __init__(
        self,
        config: faces_pb2.RecogniseStreamConfig,
        terms: LookupTerms,
        runner: ModelRunner,
        looker: FaceLooker,
        recogniser: Recogniser,
    ) -> None:
        """`config` as it holds, defaults filled in."""
        self._by_client = config.tracking == faces_pb2.FACE_TRACKING_CLIENT
        self._budget_s = config.budget_ms / 1e3
        self._runner, self._looker, self._recogniser = runner, looker, recogniser
        self._follower = FaceFollower()
        self._tracks = FaceTracks(vote_rules(config.votes))
        self._edits = TrackEdits(terms, self._tracks, recogniser)
        self._face_s = 0.0

    @property
    def depth(self) -> int:
        return _DEPTH

    def restore(self, state: bytes) -> None:
        """Go on from what `snapshot` gave.

        Raises:
            ServiceError: DATA_LOSS: it is damaged.
        """
        try:
            snapshot = unpack(state, *_STATE)
            facts = snapshot.facts
            tracks = facts["tracks"]
            if not isinstance(tracks, dict):
                raise TypeError(f"expected tracks, found {sorted(facts)}")
            self._edits.restore(facts["edits"])
            self._tracks.restore(tracks, snapshot.arrays)
            self._follower = FaceFollower.from_facts(facts["follower"])
        except (SnapshotError, KeyError, TypeError, ValueError) as error:
            why = f"resume_token: {error}"
            raise errors.data_loss(why, reason="RESUME_TOKEN_DAMAGED") from error

    async def prepare(self, frame: faces_pb2.RecogniseFrame) -> PreparedPicture:
        """Decode; find the faces, where they are to be followed."""
        image = await self._looker.decode(frame.image, "frame.image")
        if self._by_client:
            return PreparedPicture(image, None, 0.0)
        if frame.regions:
            what = "expected none with tracking SERVICE, got some"
            raise errors.invalid("frame.regions", what)
        begun_s = time.monotonic()
        faces = await self._find(image)
        return PreparedPicture(image, faces, time.monotonic() - begun_s)

    async def step(self, frame: faces_pb2.RecogniseFrame, prepared: PreparedPicture) -> NamedFrame:
        """Look at the tracks that need it, as far as the budget goes, and count their votes."""
        begun_s = time.monotonic() - prepared.find_s
        size = (prepared.image.shape[0], prepared.image.shape[1])
        boxes, faces = await self._located(frame, prepared)
        tracks = self._tracks.on_frame(boxes, frame.frame_id)
        due = by_need({key: track.votes for key, track in tracks.items()}, frame.frame_id)
        if self._by_client and due:
            regions = [region for region in regions_of(frame, size) if region.track_id in due]
            faces = faces_of_regions(await self._find(prepared.image), regions)
        chosen = self._affordable([key for key in due if key in faces], begun_s)
        for key in due:
            if key not in faces:
                tracks[key].votes.skip(frame.frame_id)
        named = NamedFrame(size, boxes, tracks, {}, {k for k in due if k in faces} - set(chosen))
        if chosen:
            named = await self._name(frame.frame_id, prepared.image, faces, chosen, named)
        named.answers = [await self._answer(key, named) for key in tracks]
        return named

    async def finish(
        self, frame: faces_pb2.RecogniseFrame, raw: NamedFrame
    ) -> faces_pb2.RecogniseStreamResult:
        return faces_pb2.RecogniseStreamResult(
            frame_id=frame.frame_id,
            capture_time_us=frame.capture_time_us,
            tracks=raw.answers,
            height=raw.size[0],
            width=raw.size[1],
            degraded=raw.degraded,
        )

    async def apply(
        self,
        edit: faces_pb2.RecogniseStreamEdit,
        frame_id: int,
        prepared: PreparedPicture | None,
    ) -> int:
        """Apply an edit now, whatever frame it names: the past stays as it was told.

        Raises:
            ServiceError: NOT_FOUND: no such track or person; INVALID_ARGUMENT; UNAVAILABLE.
        """
        if edit.WhichOneof("action") == "end_tracks":
            for track_id in edit.end_tracks.track_ids:
                self._follower.end(track_id)
        return await self._edits.apply(edit)

    async def snapshot(self) -> bytes:
        tracks, arrays = self._tracks.to_facts()
        facts: dict[str, Json] = {
            "tracks": tracks,
            "follower": self._follower.to_facts(),
            "edits": self._edits.to_facts(),
        }
        return pack(*_STATE, facts, arrays)

    async def close(self) -> None:
        """Nothing is held."""

    async def _find(self, image: Image) -> list[DetectedFace]:
        query = self._edits.terms.query
        looked = await self._runner.find(image, query.score_threshold)
        return query.keep(looked.faces)

    async def _located(
        self, frame: faces_pb2.RecogniseFrame, prepared: PreparedPicture
    ) -> tuple[dict[int, wire.BoxXyxy], dict[int, DetectedFace]]:
        """The tracks on the frame, and with tracking SERVICE the face of each."""
        if prepared.faces is None:
            size = (prepared.image.shape[0], prepared.image.shape[1])
            return {r.track_id: r.box_xyxy for r in regions_of(frame, size)}, {}
        ids = self._follower.update([face.box_xyxy for face in prepared.faces])
        self._tracks.keep(track.track_id for track in self._follower.tracks)
        faces = dict(zip(ids, prepared.faces, strict=True))
        return {key: face.box_xyxy for key, face in faces.items()}, faces

    def _affordable(self, due: Sequence[int], begun_s: float) -> list[int]:
        """As many as the budget is likely to allow: at least one."""
        if not self._budget_s or not self._face_s:
            return list(due if not self._budget_s else due[:1])
        left_s = self._budget_s - (time.monotonic() - begun_s)
        return list(due[: max(1, int(left_s / self._face_s))])

    async def _name(
        self,
        frame_id: int,
        image: Image,
        faces: Mapping[int, DetectedFace],
        chosen: Sequence[int],
        named: NamedFrame,
    ) -> NamedFrame:
        begun_s = time.monotonic()
        seen, _ = await self._looker.look_at(self._runner, image, [faces[k] for k in chosen])
        try:
            findings = await self._recogniser.find(self._edits.terms, seen)
        except errors.ServiceError as error:
            if error.code is not grpc.StatusCode.UNAVAILABLE:
                raise
            named.degraded = error.to_status()
            return named
        named.findings = dict(zip(chosen, findings, strict=True))
        for key, finding in named.findings.items():
            await self._count(named.tracks[key], finding, frame_id)
        self._measure((time.monotonic() - begun_s) / len(chosen))
        return named

    async def _count(self, track: FaceTrack, finding: Finding, frame_id: int) -> None:
        track.note(finding.seen)
        vote = _vote_of(finding)
        if vote is None:
            track.votes.skip(frame_id)
            return
        standing = track.votes.standing()
        known = standing.verdict is Verdict.KNOWN
        if known and contradicts(self._edits.terms, finding, standing.person_id):
            # When two people cross, a track may go over from one to the other, and thirty votes
            # for the one would keep their name on the other for long.
            track.votes.doubt()
        track.take(vote, finding.best, frame_id)
        await self._forget_deleted(track, finding)
        await self._enrol_if_strange(track, finding, frame_id)

    async def _forget_deleted(self, track: FaceTrack, finding: Finding) -> None:
        """Votes for somebody whom the search no longer finds may be for somebody who is gone."""
        standing = track.standing().person_id
        if not standing or (finding.best is not None and finding.best.person_id == standing):
            return
        if not await self._recogniser.exists(self._edits.terms, standing):
            track.forget(standing)

    async def _enrol_if_strange(self, track: FaceTrack, finding: Finding, frame_id: int) -> None:
        rules = self._edits.terms.strangers
        if rules is None or not self._recogniser.is_strange(self._edits.terms, finding):
            track.strange.clear()
            return
        track.strange.append(finding.seen)
        track.strange.sort(key=_worse)
        agreed = len(track.strange) >= rules.min_frames
        if not agreed:
            return
        samples = track.strange[: rules.max_samples]
        made = await self._recogniser.enrol_stranger(self._edits.terms, samples)
        track.strange.clear()
        if made is not None:
            finding.take_stranger(made)
            track.votes.doubt()  # those looks found nobody because there was nobody yet
            for _ in range(rules.min_frames):
                track.take(Vote(Verdict.KNOWN, made.match.person_id), made.match, frame_id)

    async def _answer(self, key: int, named: NamedFrame) -> faces_pb2.RecognisedTrack:
        track = named.tracks[key]
        standing, match = track.standing(), track.match()
        finding = named.findings.get(key)
        answer = faces_pb2.RecognisedTrack(
            track_id=key,
            box=wire.box_to_message(named.boxes[key]),
            decision=track.decision(),
            best=match,
            votes=standing.votes,
            total_votes=standing.total_votes,
            deferred=key in named.deferred,
        )
        if finding is not None:
            message = await self._recogniser.to_message(self._edits.terms, finding)
            answer.observation.CopyFrom(message)
        return answer

    def _measure(self, face_s: float) -> None:
        if not self._face_s:
            self._face_s = face_s
        self._face_s += _SMOOTHING * (face_s - self._face_s)


def _vote_of(finding: Finding) -> Vote | None:
    if finding.decision == faces_pb2.FACE_DECISION_TOO_POOR:
        return None
    known = (faces_pb2.FACE_DECISION_KNOWN, faces_pb2.FACE_DECISION_STRANGER)
    if finding.decision in known and finding.best is not None:
        return Vote(Verdict.KNOWN, finding.best.person_id)
    if finding.decision == faces_pb2.FACE_DECISION_UNKNOWN:
        return Vote(Verdict.UNKNOWN)
    return Vote(Verdict.UNDECIDED)


def _worse(face: SeenFace) -> float:
    return -face.quality.score
