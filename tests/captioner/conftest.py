"""Fixtures of the captioner's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.captioner.caption_calls import CaptionCalls, captioning
from tests.captioner.grey_engine import GreyEngine


@pytest.fixture
def grey_engine() -> GreyEngine:
    return GreyEngine()


@pytest.fixture
async def caption_calls(grey_engine: GreyEngine) -> AsyncIterator[CaptionCalls]:
    async with captioning(grey_engine) as calls:
        yield calls


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one tiny checkpoint of each family, under the names of the real ones."""
    from tests.captioner.tiny_models import tiny_blip, tiny_florence2, tiny_smolvlm

    data = tmp_path_factory.mktemp("tiny")
    tiny_blip(data / "models" / "blip-image-captioning-base")
    tiny_florence2(data / "models" / "florence-2-base" / "r1")
    tiny_smolvlm(data / "models" / "smolvlm2-500m-video-instruct")
    return data
