"""What `kinemask jobs` says of frames that somebody should look at."""

from __future__ import annotations

from kinemask.cli.stored.risks import risk_lines
from kinemask.stored import FramesAtRisk
from kinemask.stored._decode import job
from kinemask.v1 import jobs_pb2


def _lost(first: int, last: int, object_id: int = 1) -> FramesAtRisk:
    return FramesAtRisk(first, last, object_id, "gap open", "")


def test_frames_of_all_objects_are_told_together() -> None:
    cut = FramesAtRisk(82, 82, 0, "scene cut", "")
    lost, begins = risk_lines([_lost(4, 9), cut, _lost(2, 5, object_id=2), _lost(20, 20)])
    assert lost.startswith("look at frames 2-9, 20: something was lost there")
    assert begins.startswith("look at frames 82: a scene begins")
    assert risk_lines([]) == []


def test_many_spans_are_cut_short() -> None:
    (line,) = risk_lines([_lost(10 * n, 10 * n + 1) for n in range(30)])
    assert "70-71 and 22 more spans" in line


def test_a_reason_that_this_client_does_not_know_is_told_all_the_same() -> None:
    message = jobs_pb2.Job(kind=jobs_pb2.JOB_KIND_TRACK, state=jobs_pb2.JOB_STATE_SUCCEEDED)
    for reason in (jobs_pb2.RISK_REASON_LOW_SCORE, 99):
        message.track_result.at_risk.add(
            first_frame_index=3,
            last_frame_index=5,
            object_id=2,
            reason=reason,
            message="0.31",
        )
    known, unknown = job(message).at_risk
    assert known == FramesAtRisk(3, 5, 2, "low score", "0.31")
    assert unknown.reason == "unspecified"
    assert risk_lines([unknown]) == ["look at frames 3-5: unspecified"]
