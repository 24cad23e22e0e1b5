"""A detector on loopback with the engine for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

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
