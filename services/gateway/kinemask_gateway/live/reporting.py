"""How each stage did on one frame."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from google.rpc import status_pb2
from kinemask.v1 import live_pb2, media_pb2


class FrameReports:
    """Stage reports of one frame, one for each stage that had something to do on it."""

    def __init__(self, source_frame_id: int | None = None) -> None:
        """`source_frame_id` marks reports of work on a frame that was answered already."""
        self._source_frame_id = source_frame_id
        self._reports: dict[live_pb2.Stage.ValueType, live_pb2.StageReport] = {}
        self._landed: list[live_pb2.StageReport] = []

    @contextmanager
    def timed(self, stage: live_pb2.Stage.ValueType) -> Iterator[live_pb2.StageReport]:
        """Measure a stage; the report may be filled in further."""
        report = self._report(stage)
        begun_s = time.monotonic()
        try:
            yield report
        finally:
            report.total_ms += (time.monotonic() - begun_s) * 1e3

    def degrade(self, stage: live_pb2.Stage.ValueType, status: status_pb2.Status) -> None:
        """Say what is missing from this frame, and why."""
        self._report(stage).degraded.CopyFrom(status)

    def take(self, landed: Iterable[live_pb2.StageReport]) -> None:
        """Reports of work on earlier frames that took effect on this one."""
        self._landed.extend(landed)

    def messages(self) -> list[live_pb2.StageReport]:
        return [*self._landed, *self._reports.values()]

    def summed(self) -> media_pb2.Timing:
        """What the services spent on this frame, over its stages."""
        spent = [report.timing for report in self._reports.values()]
        return media_pb2.Timing(
            queue_ms=sum(timing.queue_ms for timing in spent),
            decode_ms=sum(timing.decode_ms for timing in spent),
            infer_ms=sum(timing.infer_ms for timing in spent),
            encode_ms=sum(timing.encode_ms for timing in spent),
        )

    def _report(self, stage: live_pb2.Stage.ValueType) -> live_pb2.StageReport:
        if stage not in self._reports:
            report = live_pb2.StageReport(stage=stage, source_frame_id=self._source_frame_id)
            self._reports[stage] = report
        return self._reports[stage]
