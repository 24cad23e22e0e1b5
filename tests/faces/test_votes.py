"""Votes over a track: when a name is given, taken back, and who is looked at next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask_faces.votes import TrackVotes, Verdict, Vote, VoteRules, by_need

ALICE, BOB = Vote(Verdict.KNOWN, "alice"), Vote(Verdict.KNOWN, "bob")
NOBODY, UNSURE = Vote(Verdict.UNKNOWN), Vote(Verdict.UNDECIDED)
RULES = VoteRules()


@pytest.mark.parametrize(
    ("votes", "verdict", "person_id"),
    [
        pytest.param([], Verdict.UNDECIDED, "", id="not looked at yet"),
        pytest.param([ALICE] * 2, Verdict.UNDECIDED, "alice", id="too few"),
        pytest.param([ALICE] * 3, Verdict.KNOWN, "alice", id="just enough"),
        pytest.param([ALICE] * 3 + [BOB] * 2, Verdict.KNOWN, "alice", id="60% is enough"),
        pytest.param([ALICE] * 4 + [BOB] * 3, Verdict.UNDECIDED, "alice", id="57% is not"),
        pytest.param([ALICE] * 3 + [UNSURE] * 3, Verdict.UNDECIDED, "alice", id="doubt counts"),
        pytest.param([NOBODY] * 3, Verdict.UNKNOWN, "", id="nobody we know"),
        pytest.param([NOBODY] * 4 + [BOB], Verdict.UNKNOWN, "bob", id="one slip"),
        pytest.param([UNSURE] * 9, Verdict.UNDECIDED, "", id="never sure"),
    ],
)
def test_a_name_needs_enough_votes_that_agree(
    votes: list[Vote], verdict: Verdict, person_id: str
) -> None:
    standing = TrackVotes(RULES, votes).standing()
    assert (standing.verdict, standing.person_id) == (verdict, person_id)
    assert standing.total_votes == len(votes)


def test_two_who_both_have_enough_are_undecided() -> None:
    rules = VoteRules(min_votes=2, min_share=0.3)
    assert TrackVotes(rules, [ALICE, BOB] * 3).standing().verdict is Verdict.UNDECIDED
    assert TrackVotes(rules, [ALICE, NOBODY] * 3).standing().verdict is Verdict.UNDECIDED


def test_old_votes_give_way_when_the_face_is_another() -> None:
    track = TrackVotes(VoteRules(max_votes=5), [ALICE] * 5)
    for frame_id in range(3):
        track.add(BOB, frame_id)
    assert track.standing().person_id == "bob" and len(track.kept) == 5


def test_who_it_is_not_has_no_votes_left() -> None:
    track = TrackVotes(RULES, [ALICE] * 5 + [BOB] * 3)
    track.forget("alice")
    assert track.standing().person_id == "bob"
    assert track.standing().verdict is Verdict.KNOWN


def test_the_decided_are_rechecked_and_the_undecided_always_due() -> None:
    track = TrackVotes(RULES, [ALICE] * 3, looked_at=10)
    assert not track.is_due(24) and track.is_due(25)
    track.skip(25)
    assert not track.is_due(26)
    assert TrackVotes(RULES, [ALICE], looked_at=10).is_due(11)


def test_the_longest_undecided_come_first_and_nobody_starves() -> None:
    tracks = {
        1: TrackVotes(RULES, [ALICE] * 3, looked_at=0),
        2: TrackVotes(RULES, [BOB], looked_at=5),
        3: TrackVotes(RULES),
        4: TrackVotes(RULES, [ALICE] * 3, looked_at=19),
    }
    assert by_need(tracks, 20) == [3, 2, 1]
    served = []
    for frame_id in range(20, 26):
        first = by_need(tracks, frame_id)[0]
        served.append(first)
        tracks[first].skip(frame_id)
    assert served == [3, 2, 3, 2, 3, 2]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: VoteRules(min_votes=0), id="no vote needed"),
        pytest.param(lambda: VoteRules(min_votes=4, max_votes=3), id="more needed than kept"),
        pytest.param(lambda: VoteRules(min_share=1.1), id="more than all"),
        pytest.param(lambda: VoteRules(recheck_every_n_frames=0), id="no frames between"),
        pytest.param(lambda: Vote(Verdict.KNOWN), id="known without a person"),
        pytest.param(lambda: Vote(Verdict.UNKNOWN, "alice"), id="unknown with a person"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="expected"):
        make()


@given(st.lists(st.sampled_from([ALICE, BOB, NOBODY, UNSURE]), max_size=40))
def test_a_name_always_has_the_majority_it_needs_and_is_restored(votes: list[Vote]) -> None:
    track = TrackVotes(RULES)
    for frame_id, vote in enumerate(votes):
        track.add(vote, frame_id)
    standing = track.standing()
    if standing.verdict is Verdict.KNOWN:
        assert standing.votes >= max(3, 0.6 * standing.total_votes)
        assert sum(vote.person_id == standing.person_id for vote in votes) >= standing.votes
    assert TrackVotes(RULES, track.kept, track.looked_at).standing() == standing
