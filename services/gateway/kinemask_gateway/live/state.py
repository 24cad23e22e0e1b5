"""What a live stream's resume token holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from kinemask.v1 import live_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.snapshots import SnapshotError, pack, unpack

from kinemask_gateway.live.captioning import FrameCaption
from kinemask_gateway.live.objects import ObjectBook
from kinemask_gateway.live.rhythm import Rhythm
from kinemask_gateway.live.scenes import THUMBNAIL_SHAPE, Thumbnail

_VERSION = 4


@dataclass(frozen=True)
class LiveState:
    """Everything with which another gateway can go on."""

    book: ObjectBook = field(default_factory=ObjectBook)
    segment_token: bytes = b""
    track_token: bytes = b""
    masks: Mapping[int, media_pb2.Mask] = field(default_factory=dict)
    """The objects' last masks, where the segmenter had no token to give."""
    size: tuple[int, int] | None = None
    """Height and width of the stream's frames."""
    rhythm: Rhythm | None = None
    """When to detect next; None without a detect stage."""
    thumbnail: Thumbnail | None = None
    """Of the newest frame."""
    caption: FrameCaption | None = None
    """The newest one."""
    faces_token: bytes = b""
    names: Mapping[int, live_pb2.ObjectName] = field(default_factory=dict)
    """Of the objects, as far as they are known."""

    def to_bytes(self) -> bytes:
        tokens = {
            "segment": self.segment_token,
            "track": self.track_token,
            "faces": self.faces_token,
        }
        names = {f"name{i}": name.SerializeToString() for i, name in self.names.items()}
        masks = {f"mask{i}": mask.SerializeToString() for i, mask in self.masks.items()}
        held = {**tokens, **masks, **names}
        blobs = {key: np.frombuffer(value, np.uint8) for key, value in held.items()}
        if self.thumbnail is not None:
            blobs["thumbnail"] = np.frombuffer(self.thumbnail.tobytes(), np.uint8)
        facts = {
            **self.book.to_facts(),
            "size": list(self.size or ()),
            "rhythm": self.rhythm.to_facts() if self.rhythm is not None else None,
            "caption": [self.caption.frame_id, self.caption.text] if self.caption else None,
        }
        return pack("live", _VERSION, facts, blobs, level=0)

    @classmethod
    def from_bytes(cls, state: bytes) -> LiveState:
        """Read it.

        Raises:
            ServiceError: DATA_LOSS.
        """
        try:
            snapshot = unpack(state, "live", _VERSION)
            facts: dict[str, Any] = dict(snapshot.facts)
            blobs = {key: array.tobytes() for key, array in snapshot.arrays.items()}
            size, rhythm, caption = facts["size"], facts["rhythm"], facts["caption"]
            thumbnail = blobs.pop("thumbnail", None)
            return cls(
                ObjectBook.from_facts(facts),
                blobs.pop("segment"),
                blobs.pop("track"),
                {
                    int(k.removeprefix("mask")): media_pb2.Mask.FromString(m)
                    for k, m in blobs.items()
                    if k.startswith("mask")
                },
                (size[0], size[1]) if size else None,
                Rhythm.from_facts(rhythm) if rhythm is not None else None,
                _thumbnail(thumbnail) if thumbnail is not None else None,
                FrameCaption(int(caption[0]), str(caption[1])) if caption is not None else None,
                blobs["faces"],
                {
                    int(k.removeprefix("name")): live_pb2.ObjectName.FromString(n)
                    for k, n in blobs.items()
                    if k.startswith("name")
                },
            )
        except (SnapshotError, KeyError, TypeError, ValueError) as error:
            why = f"config.stream.resume_token: {error}"
            raise errors.data_loss(why, reason="RESUME_TOKEN_DAMAGED") from error


def _thumbnail(blob: bytes) -> Thumbnail:
    return np.frombuffer(blob, np.float32).reshape(THUMBNAIL_SHAPE).copy()
