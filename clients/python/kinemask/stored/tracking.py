"""What to find in a video and how, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kinemask.client._decode import live_object
from kinemask.types import LiveObject
from kinemask.v1 import detector_pb2, live_pb2, videos_pb2
from kinemask.v1 import jobs_pb2 as pb


@dataclass(frozen=True)
class LeakGuard:
    """Keeps things covered where they are lost, or not found, for a while. 0: the default."""

    max_gap_frames: int = 0
    """Longer gaps are reported, not closed. 0: 30."""
    margin_frames: int | None = None
    """Covered before something is first seen and after it is last seen. None: 5."""
    grow_px_per_frame: float | None = None
    """Growth of a held mask for every frame away from a seen one. None: 1."""
    grow_share: float | None = None
    """Growth of every mask, as a share of the square root of its area; then its convex hull is
    covered. 0: masks stay as they are where the object is seen. None: 0.15."""


@dataclass(frozen=True)
class TrackOptions:
    """How a video is searched. 0, empty and None: the service's own choice."""

    detector: str = ""
    segmenter: str = ""
    tracker: str = ""
    score_threshold: float | None = None
    """Of detections: 0..1."""
    every_n_frames: int = 0
    """Detect on every n-th frame, sooner and later as it goes. 0: 5."""
    adaptive: bool = True
    """Detect sooner when something happens and later when nothing does."""
    max_objects: int = 0
    """Followed at once. 0: 32."""
    backward_fill: bool = True
    """Carry things back from where they were first found to where they entered."""
    leak_guard: LeakGuard | None = None
    """For privacy masks. None: gaps stay gaps."""
    first_frame: int | None = None
    """From 0. None: the video's first."""
    last_frame: int | None = None
    """Included. None: the video's last."""


@dataclass(frozen=True)
class TrackedFrame:
    """One frame of what a track job found."""

    index: int
    time_s: float
    """When it is shown, from the video's first frame on."""
    objects: tuple[LiveObject, ...]
    """Ascending by id."""
    detected: bool
    """True if a detector looked at it."""


def track_request(
    video_id: str, text: Sequence[str], options: TrackOptions, name: str
) -> pb.CreateTrackJobRequest:
    spec = pb.TrackJobSpec(
        video_id=video_id,
        range=videos_pb2.FrameRange(
            first_frame_index=options.first_frame, last_frame_index=options.last_frame
        ),
        detect=live_pb2.DetectStage(
            options=detector_pb2.DetectOptions(
                prompts=text, model=options.detector, score_threshold=options.score_threshold
            ),
            every_n_frames=options.every_n_frames,
        ),
        track=live_pb2.TrackStage(algorithm=options.tracker),
        segment=live_pb2.SegmentStage(model=options.segmenter, max_objects=options.max_objects),
        adaptive=live_pb2.AdaptiveDetection(disabled=not options.adaptive),
        backward_fill=pb.BackwardFill(disabled=not options.backward_fill),
    )
    if options.leak_guard is not None:
        spec.leak_guard.CopyFrom(_guard(options.leak_guard))
    return pb.CreateTrackJobRequest(spec=spec, display_name=name)


def tracked_frame(message: pb.GetTracksResponse) -> TrackedFrame:
    return TrackedFrame(
        index=message.frame_index,
        time_s=message.time_us / 1e6,
        objects=tuple(live_object(entry.object) for entry in message.objects),
        detected=message.detected,
    )


def _guard(guard: LeakGuard) -> pb.LeakGuard:
    return pb.LeakGuard(
        max_gap_frames=guard.max_gap_frames,
        margin_frames=guard.margin_frames,
        grow_px_per_frame=guard.grow_px_per_frame,
        grow_share=guard.grow_share,
    )
