"""Rates of face verification, against counts made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.faces_pairs import (
    accept_rate_at_no_false_accept,
    accuracy,
    best_accuracy,
    equal_error_rate,
    read_pairs,
)


@pytest.mark.parametrize(
    ("of_same", "of_others", "eer", "tar", "best"),
    [
        pytest.param([0.9, 0.8], [0.1, 0.2], 0.0, 1.0, 1.0, id="told apart without fault"),
        pytest.param([0.1, 0.2], [0.8, 0.9], 1.0, 0.0, 0.5, id="exactly the wrong way round"),
        pytest.param(
            [0.9, 0.8, 0.7, 0.3], [0.6, 0.2, 0.1, 0.0], 0.25, 0.75, 0.875, id="one of four each"
        ),
        pytest.param([0.5, 0.5], [0.5, 0.5], 0.5, 0.0, 0.5, id="all alike: a coin"),
    ],
)
def test_rates(
    of_same: list[float], of_others: list[float], eer: float, tar: float, best: float
) -> None:
    alike = np.array([*of_same, *of_others])
    same = np.array([True] * len(of_same) + [False] * len(of_others))
    order = np.random.default_rng(0).permutation(len(same))
    assert equal_error_rate(alike[order], same[order]) == pytest.approx(eer)
    assert accept_rate_at_no_false_accept(alike[order], same[order]) == pytest.approx(tar)
    assert best_accuracy(alike[order], same[order]) == pytest.approx(best)


def test_accuracy_counts_the_threshold_itself_as_the_same() -> None:
    same = np.array([True, True, False])
    assert accuracy(np.array([0.5, 0.4, 0.1]), same, 0.5) == pytest.approx(2 / 3)


def test_rates_without_both_kinds_have_no_meaning() -> None:
    assert math.isnan(equal_error_rate(np.array([0.5]), np.array([True])))
    assert math.isnan(accept_rate_at_no_false_accept(np.array([0.5]), np.array([False])))


def test_pairs_are_read_beside_their_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('a.jpg, b.jpg, 1\n\n"c, d.jpg",e.jpg,0\n')
    first, second = read_pairs(path)
    assert first.first == tmp_path / "a.jpg" and first.same
    assert second.first == tmp_path / "c, d.jpg" and not second.same


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a.jpg,b.jpg\n", id="no truth"),
        pytest.param("image,image,same\n", id="a header"),
        pytest.param("a.jpg,b.jpg,2\n", id="neither 0 nor 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected"):
        read_pairs(path)
