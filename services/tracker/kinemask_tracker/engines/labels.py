"""Labels as small numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinemask_tracker.engines.boxes import FloatArray
from kinemask_tracker.engines.table import IntArray

MAX_IDLE_LABELS = 1000
"""Beyond so many labels those that no track bears are forgotten, so that memory stays flat."""


class LabelBook:
    """Numbers the labels of one stream, and keeps one figure for each.

    Invariant: code `i` stands for `names[i]`, and `scales` has one entry per name.
    """

    def __init__(self, names: Sequence[str] = (), scales: FloatArray | None = None) -> None:
        self.names = list(names)
        self.scales = np.zeros(len(self.names)) if scales is None else scales
        """`(len(names),)` what an algorithm remembers of a label's scores, 0 for nothing yet."""
        self._codes = _numbered(self.names)

    def codes_of(self, labels: Sequence[str]) -> IntArray:
        """`(len(labels),)` codes; labels not met before are numbered now."""
        # In sorted order, so that the order of detections does not matter.
        for name in sorted(set(labels).difference(self._codes)):
            self._codes[name] = len(self.names)
            self.names.append(name)
        missing = len(self.names) - len(self.scales)
        if missing:
            self.scales = np.append(self.scales, np.zeros(missing))
        return np.array([self._codes[name] for name in labels], np.int64)

    def forget_idle(self, in_use: IntArray) -> IntArray:
        """Drop the labels not among the codes `in_use` if there are many; returns the new codes."""
        if len(self.names) <= MAX_IDLE_LABELS:
            return in_use
        kept, renumbered = np.unique(in_use, return_inverse=True)
        self.names = [self.names[code] for code in kept.tolist()]
        self.scales = self.scales[kept]
        self._codes = _numbered(self.names)
        return np.asarray(renumbered, np.int64)


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: code for code, name in enumerate(names)}
