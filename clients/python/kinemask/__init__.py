"""Kinemask: frames in, masks with identities out.

    import kinemask

    with kinemask.Client("127.0.0.1:50050") as client:
        for frame in client.track(frames, prompts=["face"], effects=["blur"]):
            print(frame.frame_id, [(o.object_id, o.label, o.mask.sum()) for o in frame.objects])

Importing this brings nothing heavy: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinemask.client import (
        AsyncClient,
        AsyncLiveStream,
        AsyncPendingEdit,
        AsyncPropagation,
        AsyncTrackStream,
        AsyncVideoStream,
        Client,
        EditAck,
        LiveStream,
        PendingEdit,
        Propagation,
        TrackStream,
        VideoStream,
    )
    from kinemask.config import (
        CaptionOptions,
        CaptionStage,
        DetectStage,
        Effect,
        EffectStage,
        EverythingOptions,
        FacesStage,
        FaceVotes,
        LiveConfig,
        SegmentStage,
        StreamEvent,
        StreamInfo,
        StreamOptions,
        TlsConfig,
        TrackerParameters,
        TrackStage,
        VideoConfig,
    )
    from kinemask.errors import (
        AbortedError,
        AlreadyExistsError,
        DataLossError,
        DeadlineExceededError,
        FailedPreconditionError,
        FieldViolation,
        InternalError,
        InvalidArgumentError,
        KinemaskError,
        NotFoundError,
        PermissionDeniedError,
        RequestCancelledError,
        ResourceExhaustedError,
        StreamClosedError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
    )
    from kinemask.results import (
        Caption,
        Detections,
        LiveFrame,
        Segmentation,
        SegmentedFrame,
        StageReport,
        TrackedFrame,
    )
    from kinemask.types import (
        Box,
        Detection,
        EncodedMask,
        LiveObject,
        ModelInfo,
        ObjectMask,
        ObjectName,
        Observation,
        Prompt,
        ServiceInfo,
        Services,
        ServiceStatus,
        StreamFrame,
        Timing,
        TrackedBox,
        TrackState,
    )

_HOMES = {
    "kinemask.client": (
        "AsyncClient",
        "AsyncLiveStream",
        "AsyncPendingEdit",
        "AsyncPropagation",
        "AsyncTrackStream",
        "AsyncVideoStream",
        "Client",
        "EditAck",
        "LiveStream",
        "PendingEdit",
        "Propagation",
        "TrackStream",
        "VideoStream",
    ),
    "kinemask.config": (
        "CaptionOptions",
        "CaptionStage",
        "DetectStage",
        "Effect",
        "EffectStage",
        "EverythingOptions",
        "FaceVotes",
        "FacesStage",
        "LiveConfig",
        "SegmentStage",
        "StreamEvent",
        "StreamInfo",
        "StreamOptions",
        "TlsConfig",
        "TrackStage",
        "TrackerParameters",
        "VideoConfig",
    ),
    "kinemask.errors": (
        "AbortedError",
        "AlreadyExistsError",
        "DataLossError",
        "DeadlineExceededError",
        "FailedPreconditionError",
        "FieldViolation",
        "InternalError",
        "InvalidArgumentError",
        "KinemaskError",
        "NotFoundError",
        "PermissionDeniedError",
        "RequestCancelledError",
        "ResourceExhaustedError",
        "StreamClosedError",
        "UnauthenticatedError",
        "UnavailableError",
        "UnimplementedError",
    ),
    "kinemask.results": (
        "Caption",
        "Detections",
        "LiveFrame",
        "Segmentation",
        "SegmentedFrame",
        "StageReport",
        "TrackedFrame",
    ),
    "kinemask.types": (
        "Box",
        "Detection",
        "EncodedMask",
        "LiveObject",
        "ModelInfo",
        "ObjectMask",
        "ObjectName",
        "Observation",
        "Prompt",
        "ServiceInfo",
        "ServiceStatus",
        "Services",
        "StreamFrame",
        "Timing",
        "TrackState",
        "TrackedBox",
    ),
}
"""Module to the public names that live in it."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__version__ = "0.1.0"

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "AsyncClient",
    "AsyncLiveStream",
    "AsyncPendingEdit",
    "AsyncPropagation",
    "AsyncTrackStream",
    "AsyncVideoStream",
    "Box",
    "Caption",
    "CaptionOptions",
    "CaptionStage",
    "Client",
    "DataLossError",
    "DeadlineExceededError",
    "DetectStage",
    "Detection",
    "Detections",
    "EditAck",
    "Effect",
    "EffectStage",
    "EncodedMask",
    "EverythingOptions",
    "FaceVotes",
    "FacesStage",
    "FailedPreconditionError",
    "FieldViolation",
    "InternalError",
    "InvalidArgumentError",
    "KinemaskError",
    "LiveConfig",
    "LiveFrame",
    "LiveObject",
    "LiveStream",
    "ModelInfo",
    "NotFoundError",
    "ObjectMask",
    "ObjectName",
    "Observation",
    "PendingEdit",
    "PermissionDeniedError",
    "Prompt",
    "Propagation",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "SegmentStage",
    "Segmentation",
    "SegmentedFrame",
    "ServiceInfo",
    "ServiceStatus",
    "Services",
    "StageReport",
    "StreamClosedError",
    "StreamEvent",
    "StreamFrame",
    "StreamInfo",
    "StreamOptions",
    "Timing",
    "TlsConfig",
    "TrackStage",
    "TrackState",
    "TrackStream",
    "TrackedBox",
    "TrackedFrame",
    "TrackerParameters",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "VideoConfig",
    "VideoStream",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # found directly from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
