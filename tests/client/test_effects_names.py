"""On whom an effect is drawn, and whose pixels come back."""

from __future__ import annotations

import numpy as np
import pytest
from kinemask.effects import NameRule, Who, is_nameable, is_person, restore

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


def test_pixels_come_back_but_not_those_near_somebody_covered() -> None:
    original = np.full((60, 200, 3), 9, np.uint8)
    drawn = np.zeros_like(original)
    kept, hidden = np.zeros((60, 200), bool), np.zeros((60, 200), bool)
    kept[10:50, 10:100] = True
    hidden[10:50, 90:190] = True
    restore(drawn, original, [kept], [hidden, None])
    back = (drawn == 9).all(axis=2)
    assert back[10:50, 10:85].all()  # five pixels of guard: 5 % of 100
    assert not back[:, 85:].any() and not back[:10].any()
