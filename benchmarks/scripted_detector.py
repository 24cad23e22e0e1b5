"""A detector that knows the truth and errs as it is told:
`python -m benchmarks.scripted_detector TRUTH.npz`.

What it is to find stands in the file that `Script.save` wrote; which frame it sees it reads from
the picture's corner (see track_scenes). It misses boxes, moves them, is blind for a thing for runs
of frames, and takes as long as it is told. The same frame always gives the same answer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kinemask_chassis.launch import run
from kinemask_chassis.logs import configure_logging
from kinemask_chassis.settings import load_settings
from kinemask_detector.engines.base import (
    Detection,
    DetectRequest,
    EngineInfo,
    UnknownPromptError,
)
from kinemask_detector.engines.registry import EngineSet
from kinemask_detector.service import DetectorService
from kinemask_detector.settings import DetectorSettings
from numpy.typing import NDArray

from benchmarks.track_scenes import HEIGHT, WIDTH, read_number

_BLIND_EVERY = 45


@dataclass(frozen=True)
class Script:
    """What is there, and how the detector errs."""

    boxes: NDArray[np.float64]
    """`(frames, things, 4)` xyxy; NaN where there is nothing to be seen."""
    words: tuple[str, ...]
    missed: float = 0.0
    """Share of boxes that are missed, each by itself: 0..1."""
    jitter: float = 0.0
    """Standard deviation of each edge, as a share of the box's side."""
    dropout_frames: int = 0
    """Every now and then a thing is not found for so many frames in a row, at most."""
    cost_ms: float = 0.0
    """What a picture takes."""
    seed: int = 7

    def save(self, path: Path) -> None:
        """Write it to a file."""
        numbers = [self.missed, self.jitter, self.dropout_frames, self.cost_ms, self.seed]
        np.savez(path, boxes=self.boxes, words=np.array(self.words), numbers=np.array(numbers))

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read it again."""
        with np.load(path) as file:
            missed, jitter, dropout, cost_ms, seed = file["numbers"].tolist()
            words = tuple(str(word) for word in file["words"])
            return cls(file["boxes"], words, missed, jitter, int(dropout), cost_ms, int(seed))

    def detections(self, frame: int) -> list[Detection]:
        """What is found on a frame."""
        found = []
        for thing, word in enumerate(self.words):
            box = self.boxes[frame, thing] if frame < len(self.boxes) else np.full(4, np.nan)
            rng = np.random.default_rng((self.seed, frame, thing))
            missed = rng.random() < self.missed
            if np.isnan(box[0]) or missed or self._blind(frame, thing):
                continue
            found.append(self._detection(box, word, rng))
        return sorted(found, key=lambda d: -d.score)

    def _detection(
        self, box: NDArray[np.float64], word: str, rng: np.random.Generator
    ) -> Detection:
        sides = np.tile(box[2:] - box[:2], 2)
        moved = box + rng.normal(0.0, self.jitter, 4) * sides
        limits = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
        x_min, y_min, x_max, y_max = np.clip(moved, 0, limits).tolist()
        return Detection((x_min, y_min, x_max, y_max), rng.uniform(0.6, 0.95), word, word)

    def _blind(self, frame: int, thing: int) -> bool:
        """Whether the thing is in one of its dropouts, of which there is one every while."""
        if not self.dropout_frames:
            return False
        period = frame // _BLIND_EVERY
        rng = np.random.default_rng((self.seed, 1, period, thing))
        begin = period * _BLIND_EVERY + int(rng.integers(0, _BLIND_EVERY - self.dropout_frames))
        return begin <= frame < begin + self.dropout_frames


class ScriptedEngine:
    """See the module."""

    def __init__(self, script: Script) -> None:
        self._script = script
        words = tuple(dict.fromkeys(script.words))
        self.info = EngineInfo("scripted", "scripted", "builtin", "cpu", "-", words, 0.3, 0.9, 1)

    def warm_up(self) -> None:
        return

    def check(self, prompts: Sequence[str], classes: Sequence[str]) -> None:
        unknown = [word for word in prompts if word not in self._script.words]
        if unknown:
            raise UnknownPromptError(unknown, self._script.words)

    def preprocess(self, request: DetectRequest) -> tuple[int, tuple[str, ...]]:
        return read_number(request.image), request.prompts

    def bucket(self, prepared: tuple[int, tuple[str, ...]]) -> Hashable:
        return None

    def infer(self, batch: Sequence[tuple[int, tuple[str, ...]]]) -> Sequence[list[Detection]]:
        time.sleep(self._script.cost_ms * len(batch) / 1e3)
        return [self._script.detections(frame) for frame, _ in batch]

    def postprocess(
        self, prepared: tuple[int, tuple[str, ...]], raw: list[Detection]
    ) -> list[Detection]:
        return [found for found in raw if found.prompt in prepared[1]]

    def close(self) -> None:
        return


def main() -> int:
    """The process's exit code."""
    settings = load_settings(DetectorSettings)
    configure_logging("detector", settings.log_level, settings.log_format)
    engine = ScriptedEngine(Script.load(Path(sys.argv[1])))
    return run(DetectorService(settings, EngineSet([engine])))


if __name__ == "__main__":
    sys.exit(main())
