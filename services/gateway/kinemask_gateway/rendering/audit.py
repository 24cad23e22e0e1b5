"""What a render was made from and how, for whoever must account for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version

from google.protobuf import json_format
from kinemask.v1 import jobs_pb2 as pb

from kinemask_gateway.rendering.coverage import Coverage
from kinemask_gateway.rendering.plan import Span


def objects_covered(coverage: Coverage) -> Iterator[pb.ObjectCoverage]:
    """Every object that had a mask, ascending by id."""
    for object_id, covered in sorted(coverage.objects.items()):
        yield pb.ObjectCoverage(
            object_id=object_id,
            label=covered.label,
            name=covered.name,
            frame_count=covered.frames,
            covered_frame_count=covered.covered_frames,
            guarded_frame_count=covered.guarded_frames,
            mean_coverage=covered.share_sum / covered.frames if covered.frames else 0.0,
            min_coverage=covered.least_share if covered.frames else 0.0,
            effects=covered.effects,
        )


def at_risk(
    found: Iterable[pb.FramesAtRisk], coverage: Coverage, span: Span
) -> list[pb.FramesAtRisk]:
    """What the track job warned of, as far as it was rendered, and what the render adds."""
    risks = [one for risk in found if (one := _within(risk, span)) is not None]
    for first, last in coverage.damaged:
        what = "the source is damaged here: what could not be decoded shows the frame before"
        risks.append(_risk(first, last, 0, pb.RISK_REASON_DAMAGED_FRAME, what))
    for object_id, covered in coverage.objects.items():
        for first, last in covered.undecided:
            what = "nobody knew who it is, so it was treated as somebody to be covered"
            risks.append(_risk(first, last, object_id, pb.RISK_REASON_NAME_UNDECIDED, what))
    return sorted(risks, key=lambda risk: (risk.first_frame_index, risk.object_id, risk.reason))


def new_record(job_id: str, owner_id: str) -> pb.AuditRecord:
    """A record with what any render has."""
    record = pb.AuditRecord(job_id=job_id, owner_id=owner_id, version=version("kinemask-gateway"))
    record.create_time.GetCurrentTime()
    return record


def to_json(record: pb.AuditRecord) -> bytes:
    """The record as a file: names as in jobs.proto, every field there."""
    return json_format.MessageToJson(
        record, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    ).encode()


def _within(risk: pb.FramesAtRisk, span: Span) -> pb.FramesAtRisk | None:
    first = max(risk.first_frame_index, span.first)
    last = min(risk.last_frame_index, span.last)
    if first > last:
        return None
    return _risk(first, last, risk.object_id, risk.reason, risk.message)


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
