"""On whom an effect is drawn, and whose pixels come back."""

from __future__ import annotations

import numpy as np
import pytest
from kinemask.effects import NameRule, Outline, Who, is_nameable, is_person, restore

ALICE = Who("face", decided=True, person_id="p1", name="Alice")
BOB = Who("face", decided=True, person_id="p2", name="Bob")
NOBODY = Who("face", decided=True)
UNDECIDED = Who("face")
CAR = Who("car")


@pytest.mark.parametrize(
    ("rule", "drawn"),
    [
        pytest.param(NameRule(), [ALICE, BOB, NOBODY, UNDECIDED, CAR], id="no names: everything"),
        pytest.param(
            NameRule(except_names=("alice",)), [BOB, NOBODY, UNDECIDED, CAR], id="all but Alice"
        ),
        pytest.param(NameRule(except_names=("p2",)), [ALICE, NOBODY, UNDECIDED, CAR], id="by id"),
        pytest.param(
            NameRule(only_names=(" ALICE ",)), [ALICE, UNDECIDED], id="only Alice, and who may be"
        ),
    ],
)
def test_on_whom_it_is_drawn(rule: NameRule, drawn: list[Who]) -> None:
    everything = [ALICE, BOB, NOBODY, UNDECIDED, CAR]
    assert [who for who in everything if rule.draws_on(who)] == drawn


def test_names_of_both_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="found both"):
        NameRule(("Alice",), ("Bob",))


@pytest.mark.parametrize(
    ("label", "nameable", "person"),
    [
        ("face", True, False),
        ("a red-haired Woman", True, True),
        ("person face", True, False),
        ("dog", False, False),
        ("", False, False),
    ],
)
def test_what_may_have_a_name(label: str, nameable: bool, person: bool) -> None:
    assert (is_nameable(label), is_person(label)) == (nameable, person)


def _two_that_touch() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Drawn (0) and original (9), and the masks of one kept on the left and one covered."""
    original = np.full((60, 200, 3), 9, np.uint8)
    kept, hidden = np.zeros((60, 200), bool), np.zeros((60, 200), bool)
    kept[10:50, 10:90] = True
    hidden[10:50, 90:190] = True
    return np.zeros_like(original), original, kept, hidden


def test_all_of_the_kept_mask_comes_back_where_both_are_sure() -> None:
    drawn, original, kept, hidden = _two_that_touch()
    restore(drawn, original, [Outline(kept, 0.9)], [Outline(hidden, 0.9)])
    back = (drawn == 9).all(axis=2)
    assert back[kept].all()
    assert not back[hidden].any()


@pytest.mark.parametrize(
    ("of_kept", "of_covered"),
    [
        pytest.param(0.5, 0.9, id="the kept one's mask is unsure"),
        pytest.param(0.9, 0.5, id="the covered one's mask is unsure"),
    ],
)
def test_a_guard_stays_covered_where_either_is_unsure(of_kept: float, of_covered: float) -> None:
    drawn, original, kept, hidden = _two_that_touch()
    restore(drawn, original, [Outline(kept, of_kept)], [Outline(hidden, of_covered)])
    back = (drawn == 9).all(axis=2)
    assert back[10:50, 10:85].all()  # five pixels of guard: 5 % of 100
    assert not back[10:50, 85:].any()


def test_what_is_nobodys_goes_to_the_nearer_of_the_two() -> None:
    drawn, original, kept, _ = _two_that_touch()
    hidden = np.zeros_like(kept)
    hidden[10:50, 94:190] = True  # four columns between them are nobody's
    restore(drawn, original, [Outline(kept)], [Outline(hidden)])
    back = (drawn == 9).all(axis=2)
    assert back[20:40, :92][:, 8:].all()  # 3 % of 80 px beside the mask on either side
    assert not back[20:40, 92:].any()
    assert not back[20:40, :7].any()


def test_nothing_comes_back_without_anybody_kept() -> None:
    drawn, original, _, hidden = _two_that_touch()
    restore(drawn, original, [], [Outline(hidden)])
    assert not drawn.any()
