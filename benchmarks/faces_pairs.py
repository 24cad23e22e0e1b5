"""Scores of face verification: from similarities and truths to rates."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Two pictures, and whether they show one person."""

    first: Path
    second: Path
    same: bool


def read_pairs(path: Path) -> list[Pair]:
    """The rows of a csv file without a header: image, image, 0 or 1; images are beside the file.

    Raises:
        ValueError: a row is something else, or there is none; names the line.
    """
    pairs = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != 3 or cells[2] not in ("0", "1"):
                raise ValueError(f"{path}:{number}: expected image,image,0 or 1, found {row}")
            pairs.append(Pair(path.parent / cells[0], path.parent / cells[1], cells[2] == "1"))
    if not pairs:
        raise ValueError(f"{path}: expected at least one pair, found none")
    return pairs


def equal_error_rate(similarities: Floats, same: Truths) -> float:
    """Where as many of the same are refused as of others are accepted, 0..1; NaN without both.

    Between two thresholds the rates are taken as straight lines.
    """
    if same.all() or not same.any():
        return float("nan")
    accepted, refused = error_rates(similarities, same)
    # From the strictest threshold on, false accepts rise and false refusals fall.
    gap = accepted - refused
    after = int(np.argmax(gap >= 0))
    if after == 0:
        return float(accepted[0])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(accepted[after - 1] + share * (accepted[after] - accepted[after - 1]))


def error_rates(similarities: Floats, same: Truths) -> tuple[Floats, Floats]:
    """False accepts and false refusals at every threshold, from above all to the least seen."""
    thresholds = np.concatenate([[np.inf], np.unique(similarities)[::-1]])
    of_same, of_others = np.sort(similarities[same]), np.sort(similarities[~same])
    refused = np.searchsorted(of_same, thresholds, side="left") / len(of_same)
    accepted = 1 - np.searchsorted(of_others, thresholds, side="left") / len(of_others)
    return accepted, refused


def accept_rate_at_no_false_accept(similarities: Floats, same: Truths) -> float:
    """Share of the same that are more alike than any two others, 0..1; NaN without both."""
    if same.all() or not same.any():
        return float("nan")
    return float(np.mean(similarities[same] > similarities[~same].max()))


def accuracy(similarities: Floats, same: Truths, threshold: float) -> float:
    """Share of pairs on the right side of the threshold, 0..1."""
    return float(np.mean((similarities >= threshold) == same))


def best_accuracy(similarities: Floats, same: Truths) -> float:
    """The accuracy with the threshold that is best for these very pairs, 0..1."""
    if same.all() or not same.any():
        return 1.0
    accepted, refused = error_rates(similarities, same)
    wrong = accepted * np.sum(~same) + refused * np.sum(same)
    return float(1 - wrong.min() / len(same))
