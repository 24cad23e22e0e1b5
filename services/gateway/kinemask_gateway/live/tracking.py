"""Identities for detections, from the tracker's stream behind one live stream."""

from __future__ import annotations

import asyncio

import grpc
from kinemask.v1 import live_pb2, media_pb2, tracker_pb2, tracker_pb2_grpc
from kinemask_chassis import errors
from kinemask_chassis.downstream import call_options

from kinemask_gateway.downstream import ReplicaPool
from kinemask_gateway.downstream.contract import ContractStream
from kinemask_gateway.downstream.unanswered import FrameFailed, StreamLost
from kinemask_gateway.live.failures import StageDown

_WINDOW = 8


class Tracking:
    """Detections in, tracks out, one frame at a time.

    When the replica dies, its identities die with it: `lost_identities` then turns true once, and
    the caller matches by masks again.
    """

    def __init__(
        self, pool: ReplicaPool, config: live_pb2.TrackStage, masks: bool, open_timeout_s: float
    ) -> None:
        """`masks`: objects are carried by masks between detections, so one hit makes a track."""
        self._pool = pool
        self._open_timeout_s = open_timeout_s
        self._config = tracker_pb2.TrackConfig(
            algorithm=config.algorithm, parameters=config.parameters
        )
        if masks and not config.parameters.HasField("min_hits"):
            # A privacy mask must not wait for a second look; false alarms are let go later.
            self._config.parameters.min_hits = 1
        self._config.stream.window = _WINDOW
        self._stream: ContractStream | None = None
        self._last_frame_id = -1
        self._identities_lost = False
        self.losses = 0
        """How often the state was lost with a replica."""

    @property
    def service(self) -> media_pb2.ServiceInfo | None:
        return None if self._stream is None else self._stream.started.terms.service

    async def open(self, token: bytes = b"") -> media_pb2.ServiceInfo:
        """Open the stream, going on from a token if there is one.

        Raises:
            grpc.aio.AioRpcError: the tracker refused, or is not there.
            LookupError: there is no tracker.
            StreamLost: it ended the stream without a word.
        """

        def dial() -> grpc.aio.StreamStreamCall[
            tracker_pb2.TrackRequest, tracker_pb2.TrackResponse
        ]:
            stub = tracker_pb2_grpc.TrackerServiceStub(self._pool.next_channel())
            return stub.Track(**call_options().as_arguments())

        stream = ContractStream(dial, tracker_pb2.TrackRequest, self._config)
        async with asyncio.timeout(self._open_timeout_s):
            started = await stream.open(token)
        self._stream = stream
        service: media_pb2.ServiceInfo = started.terms.service
        return service

    def lost_identities(self) -> bool:
        """True once after the tracker's state was lost: its track ids begin anew."""
        lost, self._identities_lost = self._identities_lost, False
        return lost

    async def track(self, frame: tracker_pb2.TrackFrame) -> tracker_pb2.TrackResult:
        """The tracks after this frame; frames must come in order.

        Raises:
            StageDown: no tracker is there, or it failed on this frame.
        """
        if frame.frame_id <= self._last_frame_id:
            raise StageDown(errors.aborted("the frame came out of order", reason="LATE_DETECTION"))
        self._last_frame_id = frame.frame_id
        for last_try in (False, True):
            stream = await self._serving()
            try:
                result: tracker_pb2.TrackResult = await (await stream.send_frame(frame))
            except FrameFailed as failed:
                raise StageDown(errors.aborted(str(failed), reason="TRACKER_FAILED")) from failed
            except StreamLost as lost:
                self._stream = None
                self._identities_lost = True
                self.losses += 1
                if last_try:
                    raise StageDown(_down(lost)) from lost
            else:
                return result
        raise AssertionError("the second try either returned or raised")

    async def snapshot(self) -> bytes:
        """A token for the state now; empty if there is none."""
        if self._stream is None:
            return b""
        try:
            async with asyncio.timeout(self._open_timeout_s):
                return (await (await self._stream.snapshot())).resume_token
        except (StreamLost, TimeoutError):
            return b""

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close()

    async def _serving(self) -> ContractStream:
        if self._stream is None or self._stream.lost:
            try:
                await self.open()
            except (grpc.aio.AioRpcError, StreamLost, LookupError, TimeoutError) as error:
                raise StageDown(_down(error)) from error
        if self._stream is None:
            raise StageDown(_down(StreamLost(None)))
        return self._stream


def _down(error: BaseException) -> errors.ServiceError:
    why = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
    return errors.unavailable(f"no tracker replica serves now: {why}", reason="TRACKER_DOWN")
