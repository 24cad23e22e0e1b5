"""A session outlives every service, killed with -9, and keeps what lies outside of a range."""

from __future__ import annotations

from pathlib import Path

from benchmarks.annotation_restart import FIRST, LAST, nothing_lost, run


def test_a_session_outlives_every_service(tmp_path: Path) -> None:
    found = run(tmp_path, frames=LAST + 6)
    assert nothing_lost(found), found
    assert found["inside_changed_frames"] == LAST - FIRST + 1
