"""Which frames somebody should look at, in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kinemask.stored import FramesAtRisk

_WHY: Final[Mapping[str, str]] = {
    "gap covered": "something was lost there; the leak guard covers where it may be",
    "gap open": "something was lost there and nothing covers it",
    "low score": "masks are unsure there",
    "scene cut": "a scene begins there; all was looked for anew",
    "too many objects": "there was more than may be followed",
    "stage degraded": "a service was down or failed there",
    "damaged frame": "the video is damaged there",
    "name undecided": "who somebody is was not decided there",
}
_MOST_SPANS: Final = 8


def risk_lines(at_risk: Iterable[FramesAtRisk]) -> list[str]:
    """One line a reason, the frames of all objects together; many spans are cut short."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for frames in at_risk:
        spans.setdefault(frames.reason, []).append((frames.first_frame, frames.last_frame))
    return [
        f"look at frames {_listed(_joined(found))}: {_WHY.get(reason, reason)}"
        for reason, found in spans.items()
    ]


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _listed(spans: list[tuple[int, int]]) -> str:
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in spans[:_MOST_SPANS]]
    more = len(spans) - len(shown)
    return ", ".join(shown) + (f" and {more} more spans (--json lists them)" if more else "")
