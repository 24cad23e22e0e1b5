"""From a stream's config to its pipeline: which stages, and who serves each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

import grpc
from google.rpc import status_pb2
from kinemask.v1 import live_pb2, media_pb2, segmenter_pb2
from kinemask_chassis import errors
from kinemask_chassis.streams import Policy, StreamTerms

from kinemask_gateway.downstream import Downstream
from kinemask_gateway.downstream.unanswered import StreamLost
from kinemask_gateway.live.association import LIVE_RULES, Rules
from kinemask_gateway.live.captioning import DEFAULT_EVERY_N_FRAMES as CAPTION_EVERY_N_FRAMES
from kinemask_gateway.live.captioning import Captioning
from kinemask_gateway.live.detecting import DEFAULT_EVERY_N_FRAMES, Detecting, check_rhythm
from kinemask_gateway.live.handler import LiveHandler, sightings_of
from kinemask_gateway.live.naming import Naming, fill_in_faces
from kinemask_gateway.live.objects import ObjectBook, crowded
from kinemask_gateway.live.rendering import Rendering
from kinemask_gateway.live.rhythm import Note, fill_in_rhythm
from kinemask_gateway.live.segmenting import Segmenting
from kinemask_gateway.live.stages import Stages
from kinemask_gateway.live.state import LiveState
from kinemask_gateway.live.tracking import Tracking
from kinemask_gateway.settings import GatewaySettings

_DEFAULT_MAX_OBJECTS = 32
_SEGMENT_WINDOW = 16
# In work at once: one being decoded, one in the model, one being encoded, one on the wire. Live
# video gets one less, because every frame in work is a frame of delay.
_DEPTH = 4
_LIVE_DEPTH = 3

# What a client got wrong ends the stream; a service that is not there degrades its stage.
_CLIENT_ERRORS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DATA_LOSS,
)


@dataclass(frozen=True)
class Opened:
    """A pipeline that is ready for its first frame."""

    handler: LiveHandler
    config: live_pb2.StreamConfig
    """As it holds."""
    services: list[live_pb2.StageService]


async def open_pipeline(
    config: live_pb2.StreamConfig,
    terms: StreamTerms,
    downstream: Downstream,
    settings: GatewaySettings,
    rules: Rules = LIVE_RULES,
) -> Opened:
    """Build the stages, have each service look at its part, and open the streams behind.

    Raises:
        ServiceError: the config is wrong, or there is no segmenter to open the stream on.
    """
    effective = _effective(config)
    state = LiveState.from_bytes(terms.state) if terms.state else LiveState()
    stages = _build(effective, state.book, downstream, settings, rules)
    if stages.detecting is not None and state.rhythm is not None:
        stages.detecting.rhythm = state.rhythm
    if stages.captioning is not None:
        stages.captioning.newest = state.caption
    if stages.naming is not None:
        stages.naming.go_on_with(state.names)
    services: list[live_pb2.StageService] = []
    try:
        await asyncio.gather(*(downstream.pools[name].settle() for name in _services(effective)))
        services += await _open_all(stages, state)
    except BaseException:
        await _close(stages)
        raise
    depth = _LIVE_DEPTH if terms.policy is Policy.LATEST else _DEPTH
    handler = LiveHandler(stages, state.book, state, min(depth, terms.window), settings.max_pixels)
    return Opened(handler, effective, services)


def _effective(config: live_pb2.StreamConfig) -> live_pb2.StreamConfig:
    """The config with its defaults filled in; refuses what does not go together."""
    if not config.HasField("detect") and not config.HasField("segment"):
        raise errors.invalid("config", "expected a detect or a segment stage, found neither")
    effective = live_pb2.StreamConfig()
    effective.CopyFrom(config)
    effective.stream.resume_token = b""
    if effective.HasField("detect"):
        detect = effective.detect
        detect.every_n_frames = detect.every_n_frames or DEFAULT_EVERY_N_FRAMES
        detect.timing = detect.timing or live_pb2.DETECTION_TIMING_ASYNC
        if detect.HasField("adaptive"):
            check_rhythm(detect.adaptive, "config.detect.adaptive")
            fill_in_rhythm(detect.adaptive, detect.every_n_frames)
        effective.track.SetInParent()
    if effective.HasField("segment"):
        segment = effective.segment
        segment.max_objects = segment.max_objects or _DEFAULT_MAX_OBJECTS
        segment.mask_encoding = segment.mask_encoding or media_pb2.MASK_ENCODING_RLE
    if effective.HasField("faces"):
        fill_in_faces(effective.faces, _waits(effective))
    elif effective.effect.except_names or effective.effect.only_names:
        raise errors.invalid("config.effect", "expected a faces stage with names, found none")
    if effective.HasField("caption"):
        caption = effective.caption
        caption.every_n_frames = caption.every_n_frames or CAPTION_EVERY_N_FRAMES
    return effective


def _build(
    config: live_pb2.StreamConfig,
    book: ObjectBook,
    downstream: Downstream,
    settings: GatewaySettings,
    rules: Rules,
) -> Stages:
    pools, open_s = downstream.pools, settings.open_timeout_s
    detecting = tracking = segmenting = rendering = captioning = naming = None
    if config.HasField("effect"):
        masks = config.segment.mask_encoding not in (media_pb2.MASK_ENCODING_NONE, 0)
        rendering = Rendering(config.effect, masks)
    if config.HasField("detect"):
        detecting = Detecting(pools["detector"], config.detect, settings.detect_timeout_s)
        with_masks = config.HasField("segment")
        tracking = Tracking(pools["tracker"], config.track, with_masks, open_s)

    def observe(result: segmenter_pb2.SegmentVideoResult) -> None:
        sightings = sightings_of(result)
        lost = book.observe(result.frame_id, sightings)
        if detecting is not None and lost:
            detecting.rhythm.note(result.frame_id, Note.LOST)
        if detecting is not None and crowded(sightings):
            detecting.rhythm.note(result.frame_id, Note.CROWDED)

    if config.HasField("segment"):
        told = segment_config(config.segment, config.HasField("effect"))
        segmenting = Segmenting(pools["segmenter"], told, open_s, observe)
    if config.HasField("caption"):
        timeout_s = settings.caption_timeout_s
        captioning = Captioning(pools["captioner"], config.caption, timeout_s)
    if config.HasField("faces"):
        naming = Naming(pools["faces"], config.faces, _waits(config), open_s)
    cap = config.segment.max_objects
    return Stages(detecting, tracking, segmenting, rendering, cap, rules, captioning, naming)


def _waits(config: live_pb2.StreamConfig) -> bool:
    """True for stored video, whose frames wait for what is found on them."""
    return config.detect.timing == live_pb2.DETECTION_TIMING_SYNC


def _services(config: live_pb2.StreamConfig) -> list[str]:
    wanted = {
        "detector": config.HasField("detect"),
        "tracker": config.HasField("detect"),
        "segmenter": config.HasField("segment"),
        "faces": config.HasField("faces"),
    }
    return [name for name, asked in wanted.items() if asked]


def segment_config(
    segment: live_pb2.SegmentStage, with_masks: bool
) -> segmenter_pb2.SegmentVideoConfig:
    """What the segmenter is told; `with_masks`: they are needed whether the client wants them."""
    encoding = segment.mask_encoding
    if encoding == media_pb2.MASK_ENCODING_NONE and with_masks:
        encoding = media_pb2.MASK_ENCODING_RLE
    message = segmenter_pb2.SegmentVideoConfig(
        mask_encoding=encoding,
        model=segment.model,
        memory_policy=segment.memory_policy,
        tier=segment.tier,
        input_size_px=segment.input_size_px,
    )
    message.stream.window = _SEGMENT_WINDOW
    return message


async def _open_all(stages: Stages, state: LiveState) -> list[live_pb2.StageService]:
    services = []
    if stages.segmenting is not None:
        stages.segmenting.restore_masks(state.masks)
        service = await _opened(stages.segmenting.open(state.segment_token))
        if service.HasField("degraded"):
            raise errors.unavailable(
                f"no segmenter to open the stream on: {service.degraded.message}",
                reason="NO_SEGMENTER",
                retry_after_s=1.0,
            )
        services.append(_named(live_pb2.STAGE_SEGMENT, service))
    if stages.tracking is not None:
        service = await _opened(stages.tracking.open(state.track_token))
        services.append(_named(live_pb2.STAGE_TRACK, service))
    if stages.detecting is not None:
        service = await _opened(stages.detecting.check(stages.detecting.config))
        services.append(_named(live_pb2.STAGE_DETECT, service))
    if stages.captioning is not None:
        services.append(await stages.captioning.opened())
    if stages.naming is not None:
        service = await _opened(stages.naming.open(state.faces_token))
        services.append(_named(live_pb2.STAGE_FACES, service))
    return services


async def _opened(opening: Awaitable[media_pb2.ServiceInfo]) -> live_pb2.StageService:
    """Who serves, or why nobody does now.

    Raises:
        ServiceError: the service refused what the client asked for.
    """
    try:
        return live_pb2.StageService(service=await opening)
    except grpc.aio.AioRpcError as error:
        status = errors.status_from_exception(error)
        if error.code() in _CLIENT_ERRORS:
            raise errors.from_status(status) from error
        return live_pb2.StageService(degraded=status)
    except (StreamLost, LookupError, TimeoutError) as error:
        why = str(error) or "no answer in time"
        return live_pb2.StageService(degraded=_unavailable(why))


def _unavailable(why: str) -> status_pb2.Status:
    return errors.unavailable(why, reason="STAGE_DOWN").to_status()


def _named(
    stage: live_pb2.Stage.ValueType, service: live_pb2.StageService
) -> live_pb2.StageService:
    service.stage = stage
    return service


async def _close(stages: Stages) -> None:
    if stages.segmenting is not None:
        await stages.segmenting.close()
    if stages.tracking is not None:
        await stages.tracking.close()
    if stages.naming is not None:
        await stages.naming.close()
