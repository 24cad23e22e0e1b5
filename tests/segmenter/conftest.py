"""A real segmenter on loopback with an injected engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.segmenter.box_engine import BoxEngine
from tests.segmenter.segment_calls import SegmentCalls, segmenting


@pytest.fixture
def box_engine() -> BoxEngine:
    return BoxEngine()


@pytest.fixture
async def segment_calls(box_engine: BoxEngine) -> AsyncIterator[SegmentCalls]:
    async with segmenting(box_engine, max_pixels=100_000, max_message_bytes=1 << 20) as calls:
        yield calls
