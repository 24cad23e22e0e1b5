"""The README is true: its example runs, its tables and names are the code's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kinemask.cli.up import Stack
from kinemask.video import VideoWriter
from kinemask_chassis.settings import ChassisSettings, setting_rows
from kinemask_detector.settings import DetectorSettings
from kinemask_gateway.settings import GatewaySettings
from kinemask_segmenter.settings import SegmenterSettings
from kinemask_tracker.engines import algorithm_names
from kinemask_tracker.settings import TrackerServiceSettings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_example_runs(tmp_path: Path) -> None:
    from skimage import data

    photograph = data.astronaut()[::2, ::2]  # type: ignore[no-untyped-call]  # it types little
    with VideoWriter(tmp_path / "clip.mp4", width=256, height=256, fps=25) as writer:
        for shift in range(6):
            writer.write(np.ascontiguousarray(np.roll(photograph, shift, axis=1)))
    (example,) = blocks("python")
    with Stack(services=["detector", "tracker", "segmenter", "gateway"]) as stack:
        script = example.replace("127.0.0.1:50050", stack.gateway_address)
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=90
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if " face " in line][:6] == list("012345")


def test_the_example_has_about_ten_lines() -> None:
    (example,) = blocks("python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 10


def test_the_settings_table_is_the_codes() -> None:
    rows = {name: (default, meaning) for name, default, meaning in setting_rows(GatewaySettings)}
    told = re.findall(r"^\| `(KINEMASK_\w+)` \| (.*?) \| (.*?) \|$", README, re.M)
    assert told
    assert {name: (default.strip(), meaning) for name, default, meaning in told} == {
        name: rows[name] for name, _, _ in told
    }


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gateway", GatewaySettings),
        ("detector", DetectorSettings),
        ("segmenter", SegmenterSettings),
        ("tracker", TrackerServiceSettings),
    ],
)
def test_the_service_map_tells_the_ports(name: str, settings: type[ChassisSettings]) -> None:
    (row,) = re.findall(rf"^\| {name} \|.*\| (\d+) \|$", README, re.M)
    assert int(row) == settings.model_fields["port"].default


def test_the_service_map_tells_the_trackers_algorithms() -> None:
    (row,) = re.findall(r"^\| tracker \|.*$", README, re.M)
    assert set(re.findall(r"`(\w+)`", row)) == set(algorithm_names())


def test_every_make_target_named_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(
        re.findall(
            r"make ([a-z]+)\b", " ".join([*blocks("bash"), *re.findall(r"`([^`]*)`", README)])
        )
    )
    assert named >= {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in named)


def test_every_benchmark_named_is_there_and_every_link_leads_somewhere() -> None:
    for module in re.findall(r"python -m (benchmarks\.\w+)", README):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_of_the_command_line_is_there() -> None:
    from kinemask.cli.app import app

    known = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    } | {group.name for group in app.registered_groups}
    named = set(re.findall(r"^kinemask (\w+)", "\n".join(blocks("bash")), re.M))
    assert named
    assert named <= known
