"""Which frames a propagation walks over, and which masks are older than their prompts."""

from __future__ import annotations

import pytest
from kinemask_gateway.annotations.plan import (
    Direction,
    Plan,
    Step,
    Target,
    make_plan,
    masks_of,
)
from kinemask_gateway.annotations.spans import Spans, minus, touched_by, union, within

LAST = 99


@pytest.mark.parametrize(
    ("frame", "prompted", "imported", "expected"),
    [
        pytest.param(0, [0], False, ((1, 99),), id="first-frame"),
        pytest.param(50, [50], False, ((0, 49), (51, 99)), id="only-prompt-bears-both-ways"),
        pytest.param(50, [0, 50], False, ((51, 99),), id="later-prompt-bears-forwards"),
        pytest.param(20, [0, 20, 60], False, ((21, 59),), id="until-the-next-prompt"),
        pytest.param(20, [20, 60], False, ((0, 19), (21, 59)), id="a-new-first-one"),
        pytest.param(20, [0, 60], False, ((20, 59),), id="taken-back-between-two"),
        pytest.param(20, [60], False, ((0, 59),), id="the-first-one-taken-back"),
        pytest.param(20, [0], False, ((20, 99),), id="the-last-one-taken-back"),
        pytest.param(20, [], False, (), id="none-is-left"),
        pytest.param(50, [50], True, ((51, 99),), id="imported-masks-stay-before-it"),
        pytest.param(50, [60], True, (), id="imported-and-taken-back"),
        pytest.param(99, [0, 99], False, (), id="last-frame"),
    ],
)
def test_what_a_prompt_bears_on(
    frame: int, prompted: list[int], imported: bool, expected: Spans
) -> None:
    assert touched_by(frame, prompted, LAST, imported=imported) == expected


def test_spans_are_sets_of_frames() -> None:
    assert union([(5, 9), (0, 2)], [(3, 4)]) == ((0, 9),)
    assert minus([(0, 9)], [(3, 4), (9, 12)]) == ((0, 2), (5, 8))
    assert within([(0, 3), (8, 9)], 2, 8) == ((2, 3), (8, 8))
    assert minus([(0, 9)], [(0, 9)]) == ()


def planned(
    targets: list[Target],
    first: int = 0,
    last: int = 9,
    direction: Direction = Direction.BOTH,
    known: dict[tuple[int, int], bytes] | None = None,
    *,
    only_stale: bool = False,
) -> Plan:
    prompts = {(t.object_id, f): b"%d@%d" % (t.object_id, f) for t in targets for f in t.prompted}
    mask_at = masks_of({**prompts, **(known or {})})
    return make_plan(targets, (first, last), direction, mask_at, only_stale=only_stale)


def wanted(steps: tuple[Step, ...]) -> list[tuple[int, list[int]]]:
    return [(step.frame_index, sorted(step.wanted)) for step in steps if step.wanted]


def test_both_ways_from_one_prompt() -> None:
    plan = planned([Target(1, [3], ())], 0, 5)
    assert wanted(plan.forwards) == [(4, [1]), (5, [1])]
    assert wanted(plan.backwards) == [(2, [1]), (1, [1]), (0, [1])]
    assert plan.forwards[0].seeds == {1: b"1@3"}
    assert plan.backwards[0].seeds == {1: b"1@3"}
    assert plan.total_frames == 5


def test_a_later_prompt_corrects_on_the_way() -> None:
    plan = planned([Target(1, [0, 3], ())], 0, 5)
    assert [step.frame_index for step in plan.forwards] == [0, 1, 2, 3, 4, 5]
    assert plan.forwards[3].seeds == {1: b"1@3"}
    assert not any(step.gone for step in plan.forwards)
    assert not plan.backwards


def test_a_range_begins_behind_its_first_frame() -> None:
    plan = planned([Target(1, [0], ()), Target(2, [5], ())], 5, 7, known={(1, 4): b"1@4"})
    assert [step.frame_index for step in plan.forwards] == [4, 5, 6, 7]
    assert plan.forwards[0].seeds == {1: b"1@4"}
    assert plan.forwards[1].seeds == {2: b"2@5"}
    assert wanted(plan.forwards) == [(5, [1]), (6, [1, 2]), (7, [1, 2])]


def test_without_a_mask_before_the_range_its_first_frame_is_kept() -> None:
    plan = planned([Target(1, [0], ())], 5, 7, known={(1, 5): b"1@5"})
    assert wanted(plan.forwards) == [(6, [1]), (7, [1])]


def test_what_nothing_leads_to_is_said() -> None:
    plan = planned([Target(1, [0], ())], 5, 7)
    assert plan.unreachable
    assert plan.total_frames == 0


def test_only_stale_frames_are_walked_and_gaps_begin_anew() -> None:
    plan = planned([Target(1, [0, 6], ((2, 3), (7, 8)))], known={(1, 1): b"1@1"}, only_stale=True)
    assert [step.frame_index for step in plan.forwards] == [1, 2, 3, 6, 7, 8]
    assert plan.forwards[3].gone == {1}
    assert plan.forwards[3].seeds == {1: b"1@6"}


def test_an_object_that_is_said_to_be_gone_is_absent() -> None:
    plan = planned([Target(1, [0, 2], ())], 0, 4, known={(1, 2): b""})
    assert plan.forwards[2].gone == {1}
    assert [sorted(step.absent) for step in plan.forwards] == [[], [], [], [1], [1]]


def test_imported_masks_stay_unless_a_direction_is_named() -> None:
    imported = Target(1, [5], (), imported=True)
    assert wanted(planned([imported]).backwards) == []
    assert wanted(planned([imported]).forwards) == [(n, [1]) for n in (6, 7, 8, 9)]
    back = planned([imported], direction=Direction.BACKWARDS, known={(1, 9): b"1@9"})
    assert [frame for frame, _ in wanted(back.backwards)] == [8, 7, 6, 4, 3, 2, 1, 0]
    assert not planned([Target(2, [], (), imported=True)]).total_frames
