"""A detector on loopback with the engine for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.detector.detect_calls import DetectCalls, detecting
from tests.detector.spot_engine import SpotEngine


@pytest.fixture
def spot_engine() -> SpotEngine:
    return SpotEngine()


@pytest.fixture
async def detect_calls(spot_engine: SpotEngine) -> AsyncIterator[DetectCalls]:
    async with detecting(spot_engine) as calls:
        yield calls


@pytest.fixture(scope="session")
def tiny_detectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one tiny checkpoint of each architecture, named after it."""
    from tests.detector.tiny_detectors import BUILDERS

    data = tmp_path_factory.mktemp("tiny")
    for name, build in BUILDERS.items():
        build(data / "models" / name / ("r1" if name == "owlv2" else ""))
    return data
