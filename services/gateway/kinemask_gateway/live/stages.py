"""What one live stream is made of: the stages it asked for, and frames on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kinemask import wire
from kinemask.v1 import detector_pb2, segmenter_pb2, tracker_pb2

from kinemask_gateway.live.association import LIVE_RULES, Rules, Verdict
from kinemask_gateway.live.captioning import Captioning, FrameCaption
from kinemask_gateway.live.detecting import Detecting
from kinemask_gateway.live.naming import Naming
from kinemask_gateway.live.objects import KnownObject
from kinemask_gateway.live.rendering import Rendering
from kinemask_gateway.live.reporting import FrameReports
from kinemask_gateway.live.segmenting import Segmenting
from kinemask_gateway.live.tracking import Tracking


@dataclass
class Stages:
    """The stages this stream asked for; None for the others, which cost nothing."""

    detecting: Detecting | None
    tracking: Tracking | None
    segmenting: Segmenting | None
    rendering: Rendering | None
    max_objects: int
    rules: Rules = LIVE_RULES
    captioning: Captioning | None = None
    naming: Naming | None = None


@dataclass
class Prepared:
    """A frame before its turn."""

    height: int
    width: int
    reports: FrameReports
    detection: asyncio.Task[detector_pb2.ImageDetections] | None = None
    """The detection this frame waits for: under SYNC, and without masks."""
    cut: bool = False
    """True if a new shot begins here."""
    rgb: wire.RgbImage | None = None
    """Its pixels, if something is to be drawn."""
    caption: FrameCaption | None = None
    """The newest one when it was its turn."""
    verdict: Verdict | None = None
    """Of the round that the frame waited for."""


@dataclass
class InFlight:
    """A frame whose masks are on their way."""

    prepared: Prepared
    masks: asyncio.Future[segmenter_pb2.SegmentVideoResult] | None
    known: Mapping[int, KnownObject]
    """The objects as they were when it was sent: they change until its masks come back."""
    tracks: Sequence[tracker_pb2.Track] = field(default_factory=list)
