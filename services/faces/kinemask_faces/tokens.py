"""Face tokens: a face that was seen, for the client to keep and to point at later.

A token carries the crop, the landmarks and the vector, so no replica has to remember anything, and
is signed, so nobody can make up a face. The key lies in the database: all replicas have the same.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from kinemask_chassis import errors
from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack

from kinemask_faces.seen import SeenFace

LIFETIME_S = 3600.0
_KIND = ("face token", 1)
_SIGNATURE_BYTES = 32


@dataclass(frozen=True)
class TokenFace:
    """What a token holds."""

    seen: SeenFace
    gallery_id: str
    model: str
    """The model that made the vector."""
    revision: str
    until_s: float
    """Seconds since 1970 after which it is of no use."""


class FaceTokens:
    """Makes and reads tokens under one key."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970.

        Raises:
            ValueError: the key has less than 16 bytes.
        """
        if len(key) < 16:
            raise ValueError(f"expected a key of at least 16 bytes, got {len(key)}")
        self._key, self._clock = key, clock

    def make(self, seen: SeenFace, gallery_id: str, model: str, revision: str) -> bytes:
        """A token of at most 64 KiB. Blocking for about a millisecond; any thread."""
        until_s = self._clock() + LIFETIME_S
        facts: dict[str, Json] = {
            "gallery": gallery_id,
            "model": model,
            "revision": revision,
            "until": until_s,
        }
        face = np.frombuffer(seen.to_bytes(), np.uint8)
        body = pack(*_KIND, facts, {"face": face}, level=0)
        return self._signature(body) + body

    def read(self, token: bytes, field: str, gallery_id: str | None = None) -> TokenFace:
        """What the token holds.

        Args:
            token: what the client sent.
            field: the request's field, for the message.
            gallery_id: the gallery it is to be of; None: any.

        Raises:
            ServiceError: INVALID_ARGUMENT, reason BAD_FACE_TOKEN: not ours, too old, or of another
                gallery.
        """
        signature, body = token[:_SIGNATURE_BYTES], token[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(body)):
            raise _refused(field, "a token that this service made, found another")
        try:
            found = _read(body)
        except (SnapshotError, KeyError, TypeError, ValueError) as error:
            raise _refused(field, f"a token of this version, found another ({error})") from error
        if self._clock() > found.until_s:
            raise _refused(field, "a token of the last hour, found an older one")
        if gallery_id is not None and found.gallery_id != gallery_id:
            raise _refused(field, f"a token of gallery {gallery_id}, found one of another")
        return found

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)


def _refused(field: str, what: str) -> errors.ServiceError:
    return errors.invalid(field, f"expected {what}", reason="BAD_FACE_TOKEN")


def _read(body: bytes) -> TokenFace:
    snapshot = unpack(body, *_KIND)
    facts = snapshot.facts
    until_s = facts["until"]
    if not isinstance(until_s, float):
        raise TypeError(f"expected a time, found {until_s!r}")
    seen = SeenFace.from_bytes(snapshot.arrays["face"].tobytes())
    names = (str(facts["gallery"]), str(facts["model"]), str(facts["revision"]))
    return TokenFace(seen, *names, until_s)
