"""On what terms a stream runs: window, policy, resumption."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.message import Message
from kinemask.v1 import media_pb2, streams_pb2

from kinemask_chassis import errors
from kinemask_chassis.settings import ChassisSettings
from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack
from kinemask_chassis.streams.queue import Policy, SkipRun

_TOKEN_VERSION = 1

_POLICIES = {
    streams_pb2.OVERFLOW_POLICY_UNSPECIFIED: Policy.BLOCK,
    streams_pb2.OVERFLOW_POLICY_BLOCK: Policy.BLOCK,
    streams_pb2.OVERFLOW_POLICY_LATEST: Policy.LATEST,
    streams_pb2.OVERFLOW_POLICY_REJECT: Policy.REJECT,
}
_POLICY_NUMBERS = {
    Policy.BLOCK: streams_pb2.OVERFLOW_POLICY_BLOCK,
    Policy.LATEST: streams_pb2.OVERFLOW_POLICY_LATEST,
    Policy.REJECT: streams_pb2.OVERFLOW_POLICY_REJECT,
}


@dataclass(frozen=True)
class StreamLimits:
    """What a service allows its streams."""

    default_window: int = 4
    max_window: int = 64
    max_streams: int = 64
    stall_timeout_s: float = 60.0
    """A client that reads nothing for so long is let go."""

    @classmethod
    def of(cls, settings: ChassisSettings) -> StreamLimits:
        """What a service's settings allow."""
        return cls(
            default_window=settings.default_window,
            max_window=settings.max_window,
            max_streams=settings.max_streams,
            stall_timeout_s=settings.stall_timeout_s,
        )


@dataclass(frozen=True)
class StreamTerms:
    """The terms of one stream."""

    kind: str
    """What its tokens are tokens of: the rpc's name."""
    window: int
    policy: Policy
    stall_timeout_s: float
    snapshot_every_n_frames: int
    config_digest: str
    """Digest of the config less its stream options: a token fits only an equal one."""
    resumed_after: int | None = None
    """The last frame that the token has seen, for a stream that goes on from one."""
    state: bytes = field(default=b"", repr=False)
    """What the service put into that token."""

    @classmethod
    def agree(cls, kind: str, config: Message, limits: StreamLimits) -> StreamTerms:
        """Terms for a stream with this config.

        Raises:
            ServiceError: DATA_LOSS for a damaged token, INVALID_ARGUMENT for one of another
                rpc or config.
        """
        options: streams_pb2.StreamOptions = config.stream  # type: ignore[attr-defined]  # every config has one
        digest = _digest(config)
        resumed_after, state = None, b""
        if options.resume_token:
            resumed_after, state = _open_token(options.resume_token, kind, digest)
        return cls(
            kind=kind,
            window=min(options.window or limits.default_window, limits.max_window),
            policy=_POLICIES[options.policy],
            stall_timeout_s=limits.stall_timeout_s,
            snapshot_every_n_frames=options.snapshot_every_n_frames,
            config_digest=digest,
            resumed_after=resumed_after,
            state=state,
        )

    @property
    def blocks(self) -> bool:
        return self.policy is Policy.BLOCK

    def seal(self, state: bytes, frame_id: int) -> bytes:
        """A resume token around a handler's state."""
        facts: dict[str, Json] = {"frame_id": frame_id, "config": self.config_digest}
        content = np.frombuffer(state, np.uint8)
        return pack(self.kind, _TOKEN_VERSION, facts, {"state": content}, level=0)

    def skipped(self, run: SkipRun) -> streams_pb2.FramesSkipped:
        """How the client is told of frames that were not worked on."""
        if self.policy is Policy.REJECT:
            why = errors.exhausted(
                f"{self.window} frames are unanswered; expected no more than that",
                reason="WINDOW_EXCEEDED",
            )
        else:
            why = errors.aborted("newer frames came before its turn", reason="FRAME_DROPPED")
        return streams_pb2.FramesSkipped(
            first_frame_id=run.first_frame_id,
            last_frame_id=run.last_frame_id,
            count=run.count,
            status=why.to_status(),
        )

    def fill_in(self, options: streams_pb2.StreamOptions) -> None:
        """Turn a config's stream options into those that hold; the token is not sent back."""
        options.window = self.window
        options.policy = _POLICY_NUMBERS[self.policy]
        options.ClearField("resume_token")

    def to_message(self, service: media_pb2.ServiceInfo) -> streams_pb2.StreamTerms:
        """The terms as the first reply tells them."""
        return streams_pb2.StreamTerms(
            window=self.window,
            policy=_POLICY_NUMBERS[self.policy],
            service=service,
            resumed_after_frame_id=self.resumed_after,
        )


def _digest(config: Message) -> str:
    bare = type(config)()
    bare.CopyFrom(config)
    bare.ClearField("stream")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _open_token(token: bytes, kind: str, digest: str) -> tuple[int | None, bytes]:
    try:
        snapshot = unpack(token, kind, _TOKEN_VERSION)
        frame_id, made_under = snapshot.facts["frame_id"], snapshot.facts["config"]
        state = snapshot.arrays["state"].tobytes()
    except (SnapshotError, KeyError) as error:
        raise errors.data_loss(f"resume_token: {error}", reason="RESUME_TOKEN_DAMAGED") from error
    if made_under != digest or not isinstance(frame_id, int):
        raise errors.invalid(
            "config.stream.resume_token",
            "expected a token made under the same config, found one made under another",
            reason="RESUME_TOKEN_MISMATCH",
        )
    return (frame_id if frame_id >= 0 else None), state
