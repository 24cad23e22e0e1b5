"""Snapshots that do not fit are refused with what was expected and what was found."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from kinemask_segmenter.engines.base import Prompt
from kinemask_segmenter.engines.flow import FlowEngine
from kinemask_segmenter.engines.flow.config import FlowConfig

SIDE = 48


async def _blob(engine: FlowEngine) -> bytes:
    stream = engine.open_stream(SIDE, SIDE)
    image = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    await stream.step(4, stream.prepare(image), [Prompt(2, box_xyxy=(8, 8, 30, 30))])
    return await stream.snapshot()


def _engine() -> FlowEngine:
    return FlowEngine(FlowConfig(initial_steps=3), threads=1)


def _flip(blob: bytes) -> bytes:
    return blob[:-9] + bytes([blob[-9] ^ 1]) + blob[-8:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda b: b[:20], "at least .* bytes, found 20", id="cut short"),
        pytest.param(_flip, "SHA-256 .* found", id="one bit flipped"),
        pytest.param(lambda b: b[:-5], "SHA-256", id="end missing"),
        pytest.param(lambda b: b"SOMETHIN" + b[8:], "found b'SOMETHIN'", id="another engine"),
        pytest.param(
            lambda b: b[:8] + struct.pack("<H", 99) + b[10:], "version 99", id="another version"
        ),
    ],
)
async def test_refuses_damage(damage: object, message: str) -> None:
    assert callable(damage)
    engine = _engine()
    blob = await _blob(engine)
    with pytest.raises(ValueError, match=message):
        engine.open_stream(SIDE, SIDE, damage(blob))
    engine.close()


async def test_refuses_another_size() -> None:
    engine = _engine()
    with pytest.raises(ValueError, match="frames of 64x48, found one for 48x48"):
        engine.open_stream(48, 64, await _blob(engine))
    engine.close()


async def test_keeps_objects_and_the_last_frame_id() -> None:
    engine = _engine()
    stream = engine.open_stream(SIDE, SIDE, await _blob(engine))
    assert stream.object_ids() == (2,)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    with pytest.raises(ValueError, match="frame id above 4, got 4"):
        await stream.step(4, stream.prepare(image), [])
    engine.close()


async def test_empty_stream_restores() -> None:
    engine = _engine()
    blob = await engine.open_stream(SIDE, SIDE).snapshot()
    assert engine.open_stream(SIDE, SIDE, blob).object_ids() == ()
    engine.close()
