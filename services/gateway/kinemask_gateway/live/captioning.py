"""Captions of some frames of a live stream, made beside its masks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from kinemask.v1 import captioner_pb2, captioner_pb2_grpc, live_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.downstream import call_options

from kinemask_gateway.downstream import ReplicaPool
from kinemask_gateway.live.failures import StageDown
from kinemask_gateway.live.reporting import FrameReports
from kinemask_gateway.live.side import SideStage

DEFAULT_EVERY_N_FRAMES = 30
_AUTO = ("", "auto")
# Nobody waits longer for masks because a captioner does not answer.
_CHECK_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class FrameCaption:
    """The words for a frame."""

    frame_id: int
    text: str


class Captioning:
    """How often a stream's frames are described and by which model, and the calls that do it."""

    def __init__(self, pool: ReplicaPool, config: live_pb2.CaptionStage, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._model = config.model
        self.newest: FrameCaption | None = None
        """The newest caption; of a resumed stream, what the one before left."""
        self._side: SideStage[media_pb2.Image, str] = SideStage(
            live_pb2.STAGE_CAPTION, config.every_n_frames, self._caption, self._keep
        )

    def offer(self, frame: media_pb2.Frame, reports: FrameReports) -> FrameCaption | None:
        """Count a frame, in frame order; begins to describe it if it is due. Never waits.

        The newest caption, which is of an earlier frame; `reports` says so when it is new.
        """
        self._side.offer(frame.frame_id, frame.image, reports)
        return self.newest

    async def opened(self) -> live_pb2.StageService:
        """Who describes, or why nobody does now.

        Raises:
            ServiceError: NOT_FOUND or FAILED_PRECONDITION: the model that was named is not there.
        """
        try:
            service = await self._check(self._model)
        except StageDown as down:
            status = down.error.to_status()
            return live_pb2.StageService(stage=live_pb2.STAGE_CAPTION, degraded=status)
        return live_pb2.StageService(stage=live_pb2.STAGE_CAPTION, service=service)

    async def change(self, wanted: live_pb2.CaptionStage) -> None:
        """Describe with another rhythm or model from the next frame on.

        Raises:
            ServiceError: as for `opened`; nothing has changed.
        """
        if wanted.model != self._model:
            # A captioner that is not there may be back by the next frame that is due.
            with contextlib.suppress(StageDown):
                await self._check(wanted.model)
        self._model = wanted.model
        self._side.every_n_frames = wanted.every_n_frames or DEFAULT_EVERY_N_FRAMES

    def close(self) -> None:
        """Give up what is under way. Idempotent."""
        self._side.close()

    def _keep(self, frame_id: int, text: str) -> None:
        self.newest = FrameCaption(frame_id, text)

    async def _check(self, model: str) -> media_pb2.ServiceInfo:
        """Who would describe with that model.

        Raises:
            ServiceError: the model was named and is not there.
            StageDown: the captioner does not answer, or `auto` finds no model.
        """
        try:
            stub = captioner_pb2_grpc.CaptionerServiceStub(self._pool.next_channel())
            request = captioner_pb2.CaptionerServiceListModelsRequest()
            options = call_options(_CHECK_TIMEOUT_S).as_arguments()
            models = (await stub.ListModels(request, **options)).models
        except (grpc.aio.AioRpcError, LookupError) as error:
            raise StageDown(_explained(error)) from error
        if model not in _AUTO:
            return _service(_named(models, model))
        chosen = next((one for one in models if one.is_default and one.ready), None)
        if chosen is None:
            lacks = "; ".join(f"{one.name}: {one.reason}" for one in models[:1])
            missing = f"the captioner has no model that is ready: {lacks}"
            raise StageDown(errors.failed_precondition(missing, reason="MODEL_ABSENT"))
        return _service(chosen)

    async def _caption(self, image: media_pb2.Image, report: live_pb2.StageReport) -> str:
        """The words for one picture.

        Raises:
            StageDown: the captioner refused, failed, or did not answer in time.
        """
        options = captioner_pb2.CaptionOptions(model=self._model)
        reply = await self._ask(captioner_pb2.CaptionRequest(images=[image], options=options))
        result = reply.results[0]
        if result.HasField("error"):
            raise StageDown(errors.aborted(result.error.message, reason="FRAME_NOT_CAPTIONED"))
        report.timing.CopyFrom(result.timing)
        return str(result.caption)

    async def _ask(self, request: captioner_pb2.CaptionRequest) -> captioner_pb2.CaptionResponse:
        """The next replica's answer. One that is gone is passed over once."""
        for last_try in (False, True):
            try:
                stub = captioner_pb2_grpc.CaptionerServiceStub(self._pool.next_channel())
                return await stub.Caption(request, **call_options(self._timeout_s).as_arguments())
            except grpc.aio.AioRpcError as error:
                if last_try or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise StageDown(_explained(error)) from error
            except LookupError as error:
                raise StageDown(_explained(error)) from error
        raise AssertionError("the second try either returned or raised")


def _named(models: Sequence[media_pb2.ModelInfo], model: str) -> media_pb2.ModelInfo:
    found = next((one for one in models if one.name == model), None)
    if found is None:
        available = ", ".join(("auto", *(one.name for one in models)))
        raise errors.not_found(
            f"caption.model: expected a model among {available}, found {model!r}",
            reason="UNKNOWN_MODEL",
            available=available,
        )
    if not found.ready:
        why = f"caption.model: {found.name}: {found.reason}"
        raise errors.failed_precondition(why, reason="MODEL_ABSENT", model=found.name)
    return found


def _service(model: media_pb2.ModelInfo) -> media_pb2.ServiceInfo:
    return media_pb2.ServiceInfo(
        service="captioner", engine=model.engine, model=model.name, revision=model.revision
    )


def _explained(error: grpc.aio.AioRpcError | LookupError) -> errors.ServiceError:
    if isinstance(error, LookupError):
        return errors.unavailable(str(error), reason="NO_CAPTIONER")
    why = f"captioner: {error.details()}"
    return errors.ServiceError(error.code(), why, reason="CAPTIONER_FAILED")
