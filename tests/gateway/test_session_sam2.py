"""Annotation sessions over SAM 2, with random weights: everything but what is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sam2", reason="the sam2 engine is not installed")

from kinemask_segmenter.engines.sam2.engine import Sam2Engine

from tests.gateway.session_kit import THINGS, center, click, desk, drawn, film, truth
from tests.postgres_kit import Postgres
from tests.segmenter.test_sam2_engine import checkpoint, engine

__all__ = ["checkpoint", "engine"]

FRAMES = 9


async def test_a_session_over_sam2(postgres: Postgres, tmp_path: Path, engine: Sam2Engine) -> None:
    async with desk(postgres.new_database(), tmp_path / "data", engine) as it:
        video = await it.library.add(film(tmp_path, FRAMES), "made.mkv")
        session_id = await it.session(video.video_id)
        assert (await it.get(session_id)).options.model == "small"
        first = await it.say(session_id, 4, click(*center(THINGS[0], 4)))
        box = THINGS[0].visible(4)
        assert box is not None
        second = await it.say(session_id, 4, click(box[0], box[1], 1, negative=True))
        assert second.revision > first.revision
        assert len(engine._pictures._kept) == 1, "the second click has made the picture anew"
        by_hand = await it.say(session_id, 4, drawn(truth(THINGS[0], 4), 1))
        told = await it.propagate(session_id)
        assert told[-1].done
        assert told[-1].total_frames == FRAMES - 1
        once = await it.masks(session_id)
        assert list(once[4].objects) == list(by_hand.objects)
        await it.propagate(session_id)
        again = await it.masks(session_id)
        assert [f.SerializeToString() for f in once.values()] == [
            f.SerializeToString() for f in again.values()
        ]
