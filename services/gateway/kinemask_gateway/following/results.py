"""What a track job says of its objects and of frames at risk, as messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kinemask.v1 import jobs_pb2 as pb

from kinemask_gateway.following.covers import Cover, OpenGap
from kinemask_gateway.following.final import Summary
from kinemask_gateway.following.state import TrackState
from kinemask_gateway.library.facts import DamagedSpan
from kinemask_gateway.tracks.messages import name_message


def object_summaries(summaries: Mapping[int, Summary]) -> list[pb.ObjectSummary]:
    """Ascending by id."""
    return [_summary(object_id, summaries[object_id]) for object_id in sorted(summaries)]


def _summary(object_id: int, known: Summary) -> pb.ObjectSummary:
    message = pb.ObjectSummary(
        object_id=object_id,
        label=known.label,
        prompt=known.prompt,
        first_frame_index=known.first,
        last_frame_index=known.last,
        frame_count=known.frames,
        mean_score=known.score_sum / max(known.frames, 1),
    )
    if known.name is not None:
        message.name.CopyFrom(name_message(known.name))
    return message


def frames_at_risk(
    state: TrackState,
    summaries: Mapping[int, Summary],
    covers: Sequence[Cover],
    gaps: Sequence[OpenGap],
    damage: Sequence[DamagedSpan],
) -> list[pb.FramesAtRisk]:
    """Everything somebody should look at, ascending."""
    found = [
        *_gaps(covers, gaps),
        *_low_scores(summaries),
        *(
            _risk(cut, cut, 0, pb.RISK_REASON_SCENE_CUT, "a scene begins; detected anew")
            for cut in state.cuts
        ),
        *(
            _risk(run.first, run.last, 0, pb.RISK_REASON_TOO_MANY_OBJECTS, run.message)
            for run in state.crowded
        ),
        *(
            _risk(run.first, run.last, 0, pb.RISK_REASON_STAGE_DEGRADED, run.message)
            for run in state.degraded
        ),
        *(
            _risk(
                span.first_frame_index,
                span.last_frame_index,
                0,
                pb.RISK_REASON_DAMAGED_FRAME,
                span.message,
            )
            for span in damage
        ),
    ]
    return sorted(found, key=lambda r: (r.first_frame_index, r.object_id, r.reason))


def _gaps(covers: Iterable[Cover], gaps: Iterable[OpenGap]) -> Iterable[pb.FramesAtRisk]:
    for cover in covers:
        count = cover.last - cover.first + 1
        sides = "both sides" if cover.before is not None and cover.after is not None else "a side"
        what = f"not seen, or not found, on {count} frames; covered from {sides}"
        yield _risk(cover.first, cover.last, cover.object_id, pb.RISK_REASON_GAP_COVERED, what)
    for gap in gaps:
        what = f"not seen on {gap.last - gap.first + 1} frames, and nothing covers them"
        yield _risk(gap.first, gap.last, gap.object_id, pb.RISK_REASON_GAP_OPEN, what)


def _low_scores(summaries: Mapping[int, Summary]) -> Iterable[pb.FramesAtRisk]:
    for object_id, known in summaries.items():
        for run in known.low_score:
            what = f"a low score on {run.last - run.first + 1} frames"
            yield _risk(run.first, run.last, object_id, pb.RISK_REASON_LOW_SCORE, what)


def _risk(
    first: int, last: int, object_id: int, reason: pb.RiskReason.ValueType, message: str
) -> pb.FramesAtRisk:
    return pb.FramesAtRisk(
        first_frame_index=first,
        last_frame_index=last,
        object_id=object_id,
        reason=reason,
        message=message,
    )
