"""Detections for single frames, from whichever detector replica is next."""

from __future__ import annotations

import grpc
from kinemask.v1 import detector_pb2, detector_pb2_grpc, live_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.downstream import call_options

from kinemask_gateway.downstream import ReplicaPool
from kinemask_gateway.downstream.contract import ContractStream
from kinemask_gateway.downstream.unanswered import StreamLost
from kinemask_gateway.live.failures import StageDown
from kinemask_gateway.live.rhythm import DEFAULT_EVERY_N_FRAMES, Rhythm
from kinemask_gateway.live.scenes import DEFAULT_CUT_THRESHOLD


class Detecting:
    """What to look for on a stream, when, and the calls that do it."""

    def __init__(self, pool: ReplicaPool, config: live_pb2.DetectStage, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._config = config
        self.rhythm = Rhythm.of(config)
        self.service: media_pb2.ServiceInfo | None = None
        """Who answered last."""

    @property
    def config(self) -> live_pb2.DetectStage:
        """What is looked for; setting it begins a new rhythm."""
        return self._config

    @config.setter
    def config(self, wanted: live_pb2.DetectStage) -> None:
        self._config = wanted
        self.rhythm = Rhythm.of(wanted)

    @property
    def cut_threshold(self) -> float:
        """How different a frame must be to begin a new shot: 0..1."""
        adaptive = self._config.adaptive
        if adaptive.HasField("scene_cut_threshold"):
            return adaptive.scene_cut_threshold
        return DEFAULT_CUT_THRESHOLD

    @property
    def sync(self) -> bool:
        """True if a detected frame waits for its detections."""
        return self.config.timing == live_pb2.DETECTION_TIMING_SYNC

    async def check(self, wanted: live_pb2.DetectStage) -> media_pb2.ServiceInfo:
        """Have the detector look at the options without any frame; who would serve them.

        Raises:
            ServiceError: INVALID_ARGUMENT: the rhythm makes no sense.
            grpc.aio.AioRpcError: it refuses them, or is not there.
            LookupError: there is no detector.
            StreamLost: it ended the stream without a word.
        """
        check_rhythm(wanted.adaptive, "detect.adaptive")
        config = detector_pb2.DetectStreamConfig(options=wanted.options)

        def dial() -> grpc.aio.StreamStreamCall[
            detector_pb2.DetectStreamRequest, detector_pb2.DetectStreamResponse
        ]:
            stub = detector_pb2_grpc.DetectorServiceStub(self._pool.next_channel())
            return stub.DetectStream(**call_options(self._timeout_s).as_arguments())

        probe = ContractStream(dial, detector_pb2.DetectStreamRequest, config)
        try:
            started = await probe.open()
        finally:
            await probe.close()
        self.service = started.terms.service
        return self.service

    async def detect(self, image: media_pb2.Image) -> detector_pb2.ImageDetections:
        """What is in one frame. A replica that is gone is passed over once.

        Raises:
            StageDown: the detector refused, failed, or did not answer in time.
        """
        request = detector_pb2.DetectRequest(images=[image], options=self.config.options)
        for last_try in (False, True):
            try:
                stub = detector_pb2_grpc.DetectorServiceStub(self._pool.next_channel())
                options = call_options(self._timeout_s).as_arguments()
                reply = await stub.Detect(request, **options)
            except grpc.aio.AioRpcError as error:
                if last_try or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise StageDown(_explained(error)) from error
            except LookupError as error:
                raise StageDown(errors.unavailable(str(error), reason="NO_DETECTOR")) from error
            else:
                return self._only_result(reply)
        raise AssertionError("the second try either returned or raised")

    def _only_result(self, reply: detector_pb2.DetectResponse) -> detector_pb2.ImageDetections:
        self.service = reply.service
        result = reply.results[0]
        if result.HasField("error"):
            raise StageDown(errors.aborted(result.error.message, reason="FRAME_NOT_DETECTED"))
        return result


def check_rhythm(wanted: live_pb2.AdaptiveDetection, field: str) -> None:
    """Raises ServiceError INVALID_ARGUMENT for a most that is less than the least."""
    least, most = wanted.min_every_n_frames, wanted.max_every_n_frames
    if most and most < least:
        what = f"expected at least min_every_n_frames, {least}, got {most}"
        raise errors.invalid(f"{field}.max_every_n_frames", what)


def _explained(error: grpc.aio.AioRpcError) -> errors.ServiceError:
    return errors.ServiceError(
        error.code(), f"detector: {error.details()}", reason="DETECTOR_FAILED"
    )


__all__ = ["DEFAULT_EVERY_N_FRAMES", "Detecting", "StreamLost"]
