"""What a track job's checkpoint holds: with it another worker goes on as if nothing had been."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from kinemask.v1 import live_pb2
from kinemask_chassis import errors
from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack

from kinemask_gateway.following.sightings import Sightings
from kinemask_gateway.jobs.body import JobPhase
from kinemask_gateway.tracks.manifest import ChunkEntry, entries_from_json, entries_to_json

_KIND = "track-job"
_VERSION = 1


@dataclass
class Run:
    """Frames of which one thing is to be said."""

    first: int
    last: int
    message: str = ""


@dataclass
class Backward:
    """How far the backward fill is."""

    next_start: int = 0
    """Objects that have been begun, in the order of the fill."""
    next_frame: int | None = None
    """The frame to go on at; None between two walks."""
    active: dict[int, int] = field(default_factory=dict)
    """Object id to points against carrying it further."""
    token: bytes = b""
    """The segmenter's."""
    done_frames: int = 0


@dataclass
class TrackState:
    """Where a track job is.

    Invariant: everything that was found before `next_frame` is in `forward`, which is ascending;
    `filled` is descending.
    """

    phase: JobPhase = JobPhase.FOLLOW
    next_frame: int = 0
    pipeline: bytes = b""
    """The live pipeline's state; empty before the first checkpoint."""
    forward: tuple[ChunkEntry, ...] = ()
    filled: tuple[ChunkEntry, ...] = ()
    detected_frames: int = 0
    cuts: list[int] = field(default_factory=list)
    """Frames that begin a scene, ascending."""
    crowded: list[Run] = field(default_factory=list)
    """Where the cap on objects left some out."""
    degraded: list[Run] = field(default_factory=list)
    """Where a stage failed."""
    stages: list[live_pb2.StageService] = field(default_factory=list)
    sightings: Sightings = field(default_factory=Sightings)
    """Where detections did not find what was followed."""
    backward: Backward = field(default_factory=Backward)
    size: tuple[int, int] = (0, 0)
    """Height and width of the frames; zeros before the first."""

    def to_bytes(self) -> bytes:
        """As a checkpoint."""
        back = self.backward
        facts: dict[str, Any] = {
            "phase": int(self.phase),
            "next_frame": self.next_frame,
            "forward": entries_to_json(self.forward),
            "filled": entries_to_json(self.filled),
            "detected_frames": self.detected_frames,
            "cuts": self.cuts,
            "crowded": [asdict(run) for run in self.crowded],
            "degraded": [asdict(run) for run in self.degraded],
            "stages": [stage.SerializeToString().hex() for stage in self.stages],
            "size": list(self.size),
            "backward": [back.next_start, back.next_frame, back.done_frames],
            "sightings": self.sightings.to_json(),
            "active": [[key, value] for key, value in back.active.items()],
        }
        told: dict[str, Json] = facts
        blobs = {"pipeline": self.pipeline, "token": back.token}
        arrays = {name: np.frombuffer(blob, np.uint8) for name, blob in blobs.items()}
        return pack(_KIND, _VERSION, told, arrays)

    @classmethod
    def from_bytes(cls, blob: bytes) -> TrackState:
        """Raises ServiceError DATA_LOSS for what `to_bytes` did not write."""
        try:
            snapshot = unpack(blob, _KIND, _VERSION)
            facts: Any = snapshot.facts
            start, frame, done = facts["backward"]
            active = {int(key): int(value) for key, value in facts["active"]}
            token = snapshot.arrays["token"].tobytes()
            return cls(
                phase=JobPhase(facts["phase"]),
                next_frame=facts["next_frame"],
                pipeline=snapshot.arrays["pipeline"].tobytes(),
                forward=entries_from_json(facts["forward"]),
                filled=entries_from_json(facts["filled"]),
                detected_frames=facts["detected_frames"],
                cuts=list(facts["cuts"]),
                crowded=[Run(**run) for run in facts["crowded"]],
                degraded=[Run(**run) for run in facts["degraded"]],
                stages=[_stage(text) for text in facts["stages"]],
                sightings=Sightings.from_json(facts["sightings"]),
                backward=Backward(start, frame, active, token, done),
                size=(facts["size"][0], facts["size"][1]),
            )
        except (SnapshotError, KeyError, TypeError, ValueError) as error:
            raise errors.data_loss(
                f"the checkpoint: {error}", reason="CHECKPOINT_DAMAGED"
            ) from error


def _stage(text: str) -> live_pb2.StageService:
    return live_pb2.StageService.FromString(bytes.fromhex(text))


def extend(runs: list[Run], first: int, last: int, message: str) -> None:
    """Add frames to the last run if they follow it and say the same, else begin another."""
    if runs and runs[-1].last + 1 >= first and runs[-1].message == message:
        runs[-1].last = max(runs[-1].last, last)
    else:
        runs.append(Run(first, last, message))
