"""How looks at one face over many frames become a name.

One look may err: a blurred frame, a turned head. So every look is a vote, and a name is given only
when enough votes agree; until then the face is undecided, and whoever covers faces keeps it so.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What is known of whose face a track is."""

    UNDECIDED = "UNDECIDED"
    KNOWN = "KNOWN"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Vote:
    """What one look says; a face too poor to be looked up is no vote."""

    verdict: Verdict
    """UNDECIDED: the best match leads by too little."""
    person_id: str = ""
    """Of KNOWN alone."""

    def __post_init__(self) -> None:
        if (self.verdict is Verdict.KNOWN) != bool(self.person_id):
            raise ValueError(f"expected a person with KNOWN and with nothing else, got {self}")


@dataclass(frozen=True)
class VoteRules:
    """How votes are counted."""

    min_votes: int = 3
    """Votes a person, or nobody, needs: at least 1."""
    min_share: float = 0.6
    """Share of the kept votes needed, 0..1."""
    max_votes: int = 30
    """Latest votes kept: at least `min_votes`."""
    recheck_every_n_frames: int = 15
    """Frames after which a decided track is looked at again: at least 1."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_votes <= self.max_votes:
            raise ValueError(f"expected 1 <= min_votes <= max_votes, got {self}")
        if not 0 <= self.min_share <= 1 or self.recheck_every_n_frames < 1:
            raise ValueError(f"expected a share of 0..1 and a recheck of 1 or more, got {self}")


@dataclass(frozen=True)
class Standing:
    """What the votes say."""

    verdict: Verdict
    person_id: str
    """Who most votes are for, whatever the verdict; empty if nobody has one."""
    votes: int
    """Votes kept for that person."""
    total_votes: int


class TrackVotes:
    """The votes of one track.

    Invariant: the oldest vote goes first, and no more than `max_votes` are kept.
    """

    def __init__(self, rules: VoteRules, votes: Iterable[Vote] = (), looked_at: int = -1) -> None:
        """`votes`, oldest first, and `looked_at`, a frame or -1, restore what was kept before."""
        self._rules = rules
        self._votes: deque[Vote] = deque(votes, rules.max_votes)
        self.looked_at = looked_at

    @property
    def kept(self) -> tuple[Vote, ...]:
        """Oldest first."""
        return tuple(self._votes)

    def add(self, vote: Vote, frame_id: int) -> None:
        """Count what a look at this frame says."""
        self._votes.append(vote)
        self.looked_at = frame_id

    def skip(self, frame_id: int) -> None:
        """Note a look that said nothing: no face, or too poor a one."""
        self.looked_at = frame_id

    def forget(self, person_id: str) -> None:
        """Drop the votes for a person whom the track is said not to be."""
        kept = [vote for vote in self._votes if vote.person_id != person_id]
        self._votes = deque(kept, self._rules.max_votes)

    def doubt(self) -> None:
        """Drop all votes: the track has most likely gone over to another face."""
        self._votes.clear()

    def standing(self) -> Standing:
        """Who it is by the votes so far.

        Two that both have enough, which a share under one half allows, decide nothing.
        """
        total = len(self._votes)
        people = Counter(vote.person_id for vote in self._votes if vote.person_id)
        nobody = sum(vote.verdict is Verdict.UNKNOWN for vote in self._votes)
        # Of equals the first by id, so that a restored track says the same.
        best, votes = min(people.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
        rivals = [count for person, count in people.items() if person != best]
        verdict = Verdict.UNDECIDED
        if self._enough(votes, total) and votes > max([nobody, *rivals]):
            verdict = Verdict.KNOWN
        elif self._enough(nobody, total) and nobody > votes:
            verdict = Verdict.UNKNOWN
        return Standing(verdict, best, votes, total)

    def is_due(self, frame_id: int) -> bool:
        """True if it should be looked at: undecided, or decided too long ago."""
        if self.standing().verdict is Verdict.UNDECIDED:
            return True
        return frame_id - self.looked_at >= self._rules.recheck_every_n_frames

    def _enough(self, votes: int, total: int) -> bool:
        return votes >= self._rules.min_votes and votes >= self._rules.min_share * total


def by_need(tracks: Mapping[int, TrackVotes], frame_id: int) -> list[int]:
    """Ids of the tracks that are due, those longest undecided first, then those longest unseen.

    A budget is spent from the front; looked-at tracks go to the back of the undecided, so that
    none waits for ever.
    """
    due = [track_id for track_id, votes in tracks.items() if votes.is_due(frame_id)]

    def need(track_id: int) -> tuple[bool, int, int]:
        votes = tracks[track_id]
        decided = votes.standing().verdict is not Verdict.UNDECIDED
        return decided, votes.looked_at, track_id

    return sorted(due, key=need)
