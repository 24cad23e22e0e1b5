"""What a RecogniseStream knows of its tracks: votes, who they are for, and the best face seen."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from kinemask.v1 import faces_pb2
from kinemask_chassis.snapshots import Json
from numpy.typing import NDArray

from kinemask_faces.seen import SeenFace
from kinemask_faces.votes import Standing, TrackVotes, Verdict, Vote, VoteRules

MAX_TRACKS = 1000
"""Tracks of the client's are its own to end; beyond so many the one unseen longest goes."""


@dataclass
class FaceTrack:
    """One track.

    Invariants: `matches` has an entry for each person with a vote, and for nobody else but a person
    that the client named; `strange` is ordered best first.
    """

    votes: TrackVotes
    matches: dict[str, faces_pb2.FaceMatch] = field(default_factory=dict)
    named: str = ""
    """The person that the client says it is."""
    best: SeenFace | None = None
    """The best face of it so far."""
    strange: list[SeenFace] = field(default_factory=list)
    """Faces of the last looks in a row that were like nobody."""
    seen_on: int = -1
    """The last frame it was on."""

    def take(self, vote: Vote, match: faces_pb2.FaceMatch | None, frame_id: int) -> None:
        """Count what a look says; `match` is the person of a vote for one."""
        self.votes.add(vote, frame_id)
        if match is not None and vote.person_id:
            self.matches[vote.person_id] = match
        voted = {kept.person_id for kept in self.votes.kept} | {self.named}
        self.matches = {key: known for key, known in self.matches.items() if key in voted}

    def note(self, face: SeenFace) -> None:
        """Keep the face if it is the best so far."""
        if self.best is None or face.quality.score > self.best.quality.score:
            self.best = face

    def forget(self, person_id: str) -> None:
        """It is not that person, or there is no such person any more."""
        self.votes.forget(person_id)
        self.matches.pop(person_id, None)
        if self.named == person_id:
            self.named = ""

    def standing(self) -> Standing:
        """By the client's word, or by the votes."""
        counted = self.votes.standing()
        if not self.named:
            return counted
        own = sum(vote.person_id == self.named for vote in self.votes.kept)
        return Standing(Verdict.KNOWN, self.named, own, counted.total_votes)

    def match(self) -> faces_pb2.FaceMatch | None:
        """The person most votes are for."""
        return self.matches.get(self.standing().person_id)

    def decision(self) -> faces_pb2.FaceDecision.ValueType:
        """What is known of whose face it is."""
        verdict = self.standing().verdict
        if verdict is Verdict.KNOWN:
            match = self.match()
            strange = match is not None and match.stranger
            return faces_pb2.FACE_DECISION_STRANGER if strange else faces_pb2.FACE_DECISION_KNOWN
        if verdict is Verdict.UNKNOWN:
            return faces_pb2.FACE_DECISION_UNKNOWN
        return faces_pb2.FACE_DECISION_UNDECIDED

    def recount(self, rules: VoteRules) -> None:
        """Count the votes kept by other rules from now on."""
        self.votes = TrackVotes(rules, self.votes.kept, self.votes.looked_at)


class FaceTracks:
    """The tracks of one stream, at most `MAX_TRACKS`."""

    def __init__(self, rules: VoteRules) -> None:
        self.rules = rules
        self._tracks: dict[int, FaceTrack] = {}

    def on_frame(self, track_ids: Iterable[int], frame_id: int) -> dict[int, FaceTrack]:
        """The tracks of these ids, made if they are new, ascending by id."""
        found = {}
        for track_id in sorted(track_ids):
            track = self._tracks.get(track_id)
            if track is None:
                track = self._tracks[track_id] = FaceTrack(TrackVotes(self.rules))
            track.seen_on = frame_id
            found[track_id] = track
        while len(self._tracks) > MAX_TRACKS:
            del self._tracks[min(self._tracks, key=lambda key: self._tracks[key].seen_on)]
        return found

    def get(self, track_id: int) -> FaceTrack | None:
        """One track, if it is known."""
        return self._tracks.get(track_id)

    def end(self, track_id: int) -> bool:
        """Forget a track; False if there is none of that id."""
        return self._tracks.pop(track_id, None) is not None

    def keep(self, track_ids: Iterable[int]) -> None:
        """Forget all others."""
        kept = set(track_ids)
        self._tracks = {key: track for key, track in self._tracks.items() if key in kept}

    def recount(self, rules: VoteRules) -> None:
        """Count by other rules from now on."""
        self.rules = rules
        for track in self._tracks.values():
            track.recount(rules)

    def to_facts(self) -> tuple[dict[str, Json], dict[str, NDArray[np.uint8]]]:
        """Everything, for a resume token: JSON values and arrays."""
        facts: dict[str, Json] = {}
        arrays: dict[str, NDArray[np.uint8]] = {}
        for track_id, track in self._tracks.items():
            facts[str(track_id)] = _facts(track)
            for name, face in _faces(track):
                arrays[f"{track_id}.{name}"] = np.frombuffer(face.to_bytes(), np.uint8)
        return facts, arrays

    def restore(self, facts: Mapping[str, Json], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `to_facts`.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        for key, entry in facts.items():
            track = _track(entry, self.rules)
            if f"{key}.best" in arrays:
                track.best = SeenFace.from_bytes(arrays[f"{key}.best"].tobytes())
            names = sorted(name for name in arrays if name.startswith(f"{key}.strange"))
            track.strange = [SeenFace.from_bytes(arrays[name].tobytes()) for name in names]
            self._tracks[int(key)] = track


def _faces(track: FaceTrack) -> list[tuple[str, SeenFace]]:
    best = [] if track.best is None else [("best", track.best)]
    return best + [(f"strange{rank:03}", face) for rank, face in enumerate(track.strange)]


def _facts(track: FaceTrack) -> dict[str, Json]:
    return {
        "votes": [[vote.verdict.value, vote.person_id] for vote in track.votes.kept],
        "looked_at": track.votes.looked_at,
        "seen_on": track.seen_on,
        "named": track.named,
        "matches": {
            key: base64.b64encode(match.SerializeToString()).decode("ascii")
            for key, match in track.matches.items()
        },
    }


def _track(entry: Json, rules: VoteRules) -> FaceTrack:
    if not isinstance(entry, dict):
        raise TypeError(f"expected a track, found {entry!r}")
    votes, matches = entry["votes"], entry["matches"]
    looked_at, seen_on = entry["looked_at"], entry["seen_on"]
    if not isinstance(votes, list) or not isinstance(matches, dict):
        raise TypeError("expected votes and matches, found something else")
    if not isinstance(looked_at, int) or not isinstance(seen_on, int):
        raise TypeError("expected frames, found something else")
    kept = [_vote(vote) for vote in votes]
    known = {
        key: faces_pb2.FaceMatch.FromString(base64.b64decode(str(text)))
        for key, text in matches.items()
    }
    track = FaceTrack(TrackVotes(rules, kept, looked_at), known, str(entry["named"]))
    track.seen_on = seen_on
    return track


def _vote(entry: Json) -> Vote:
    if not isinstance(entry, list) or len(entry) != 2:
        raise TypeError(f"expected a vote, found {entry!r}")
    return Vote(Verdict(entry[0]), str(entry[1]))
