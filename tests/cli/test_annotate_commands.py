"""`kinemask annotate` and `client.annotate` against a real gateway, segmenter and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import kinemask
import numpy as np
import pytest
from kinemask import images
from kinemask.annotate import PropagationProgress
from kinemask.cli.app import app
from kinemask.errors import FailedPreconditionError, NotFoundError
from kinemask.types import Prompt
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from tests.gateway.jobs_kit import ROOT
from tests.gateway.session_kit import FRAMES, THINGS, Desk, center, desk, film, truth
from tests.gateway.test_session_propagation import HeldColors
from tests.postgres_kit import Postgres, postgres
from tests.threaded_kit import InThread, wait_until

__all__ = ["postgres"]

Run = Callable[..., Result]


@pytest.fixture
def engine() -> HeldColors:
    return HeldColors()


@pytest.fixture
def it(postgres: Postgres, tmp_path: Path, engine: HeldColors) -> Iterator[Desk]:
    # The services log to standard output, which is the command's here.
    running = desk(postgres.new_database(), tmp_path / "data", engine)
    with capture_logs(), InThread(running) as found:
        yield found


@pytest.fixture
def run(it: Desk, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("KINEMASK_SERVER", it.library.address)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def video_id(it: Desk, tmp_path: Path) -> str:
    path = tmp_path / "clip.mkv"
    path.write_bytes(film(tmp_path))
    with kinemask.Client(it.library.address) as client:
        return client.videos.upload(path).video_id


def told(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def test_a_session_through_every_command(run: Run, video_id: str, tmp_path: Path) -> None:
    session_id = told(run("annotate", "open", video_id, "--name", "Desk", "--json"))["session_id"]
    x, y = center(THINGS[0], 3)
    clicked = run("annotate", "click", session_id, 3, f"{x},{y}", "--label", "red")
    assert clicked.stdout.startswith("object 1: 144 pixels"), clicked.stderr
    box = THINGS[1].visible(3)
    assert box is not None
    around = ",".join(map(str, box))
    boxed = told(run("annotate", "box", session_id, 3, around, "--json"))
    assert boxed["prompt_ids"] == [2]
    less = run("annotate", "click", session_id, 3, "--not", f"{x},{y}", "--object", "1")
    assert less.stdout.startswith("object 1: 132 pixels"), less.stderr
    assert run("annotate", "remove", session_id, "--prompt", "3").exit_code == 0
    by_hand = tmp_path / "mask.png"
    cv2.imwrite(str(by_hand), truth(THINGS[0], 9).astype(np.uint8) * 255)
    masked = run("annotate", "mask", session_id, 9, by_hand, "--object", "1")
    assert masked.stdout.startswith("object 1: 144 pixels"), masked.stderr
    carried = run("annotate", "propagate", session_id, "--progress")
    assert carried.exit_code == 0, carried.stderr
    assert "100%" in carried.stderr
    shown = run("annotate", "show", session_id)
    assert "frames to propagate to: none" in shown.stdout
    assert "red" in shown.stdout
    target = tmp_path / "look.jpg"
    assert run("annotate", "overlay", session_id, 20, "-o", target, "--prompts").exit_code == 0
    assert images.decode(target.read_bytes()).shape == (64, 96, 3)
    cleared = run("annotate", "clear", session_id, "--frame", "9")
    assert "took 1 prompts back" in cleared.stderr
    assert run("annotate", "remove", session_id, "--object", "2").exit_code == 0
    facts = told(run("annotate", "show", session_id, "--json"))
    assert [entry["object_id"] for entry in facts["objects"]] == [1]  # type: ignore[attr-defined]  # a list of objects
    listed = told(run("annotate", "list", "--json"))["sessions"]
    assert [entry["name"] for entry in listed] == ["Desk"]  # type: ignore[attr-defined]  # as above
    assert run("annotate", "close", session_id).exit_code == 0
    gone = run("annotate", "show", session_id)
    assert gone.exit_code == 2
    assert "there is no session" in gone.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(("click", "S", 0), "where is it?", id="no-point"),
        pytest.param(("click", "S", 0, "3;4"), "expected X,Y", id="not-a-point"),
        pytest.param(("box", "S", 0, "1,2,3"), "expected X1,Y1,X2,Y2", id="not-a-box"),
        pytest.param(("remove", "S"), "what is to be removed?", id="nothing-named"),
        pytest.param(("overlay", "S", 0, "-o", "x.gif"), ".jpg", id="ending"),
        pytest.param(("propagate", "S", "--start", 5, "--end", 5), "--end 5", id="no-frames"),
        pytest.param(("propagate", "S"), "there is no session S", id="unknown"),
    ],
)
def test_what_is_asked_wrongly_is_said(run: Run, words: tuple[object, ...], complaint: str) -> None:
    refused = run("annotate", *words)
    assert refused.exit_code == 2
    assert complaint in refused.stderr


def test_ctrl_c_stops_a_propagation(it: Desk, engine: HeldColors, video_id: str) -> None:
    with kinemask.Client(it.library.address) as client:
        session_id = client.annotate.open(video_id).session_id
        client.annotate.prompt(session_id, 0, [Prompt(points=[center(THINGS[0], 0)])])
        engine.hold_at = 20
        process = subprocess.Popen(
            [sys.executable, "-m", "kinemask.cli", "annotate", "propagate", session_id],
            cwd=ROOT,
            env={**os.environ, "KINEMASK_SERVER": it.library.address},
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: engine.steps > 20)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "--only-stale goes on" in complaint
        wait_until(lambda: client.annotate.get(session_id).state == "active")
        engine.until.set()
        seen: list[PropagationProgress] = []
        client.annotate.propagate(session_id, only_stale=True, on_progress=seen.append)
        assert seen[-1].done
        assert [frame.index for frame in client.annotate.masks(session_id)] == list(range(FRAMES))


def test_the_client_says_what_was_wrong(it: Desk, video_id: str) -> None:
    with kinemask.Client(it.library.address) as client:
        session = client.annotate.open(video_id)
        assert session.service is not None
        with pytest.raises(FailedPreconditionError):
            client.annotate.propagate(session.session_id)
        with pytest.raises(FailedPreconditionError):
            client.annotate.cancel(session.session_id)
        with pytest.raises(NotFoundError):
            client.annotate.remove_prompts(session.session_id, [7])
        with pytest.raises(ValueError, match="expected both, forwards or backwards"):
            client.annotate.propagate(session.session_id, direction="up")  # type: ignore[arg-type]  # what is tested
        client.annotate.close(session.session_id)
        assert list(client.annotate.list()) == []


def test_the_asyncio_client_does_the_same(it: Desk, video_id: str) -> None:

    async def work() -> None:
        async with kinemask.AsyncClient(it.library.address) as client:
            annotate = client.annotate
            session_id = (await annotate.open(video_id)).session_id
            click = Prompt(points=[center(THINGS[0], 5)])
            made = await annotate.prompt(session_id, 5, [click], label="red")
            assert made.objects[0].area_px == 144
            await annotate.update_object(session_id, 1, color=(1, 2, 3))
            seen: list[PropagationProgress] = []
            last = await annotate.propagate(session_id, on_progress=seen.append)
            assert last.done
            assert last == seen[-1]
            steps = annotate.steps(session_id, first_frame=6, last_frame=8, include_masks=True)
            frames = [step.frame async for step in steps]
            assert [frame.index for frame in frames if frame is not None] == [6, 7, 8]
            masks = [frame async for frame in annotate.masks(session_id)]
            assert [frame.index for frame in masks] == list(range(FRAMES))
            mask = masks[7].objects[0].mask
            assert mask is not None
            assert (mask == truth(THINGS[0], 7)).all()
            prompts = [entry async for entry in annotate.prompts(session_id)]
            assert prompts[0].prompt.points == [center(THINGS[0], 5)]
            assert (await annotate.overlay(session_id, 5, max_side_px=48)).width == 48
            session = await annotate.get(session_id)
            assert session.objects[0].color == (1, 2, 3)
            assert await annotate.clear(session_id) == 1
            await annotate.remove_object(session_id, 1)
            assert [entry.session_id async for entry in annotate.list()] == [session_id]
            assert (await annotate.resume(session_id)).state == "active"
            await annotate.close(session_id)

    asyncio.run(work())
