"""State as one opaque blob: versioned, checksummed, without pickle.

Layout: 4 bytes magic, 1 byte container version, 32 bytes SHA-256 of the rest, then the zlib
stream of: 4 bytes length of a JSON header, the header, and the arrays' bytes one after another.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"KMSK"
_CONTAINER_VERSION = 1
_PREFIX = struct.Struct("<4sB32s")
_MAX_BYTES = 1 << 28

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class SnapshotError(ValueError):
    """A snapshot is damaged, or was made by something else. Says what was expected and found."""


@dataclass(frozen=True)
class Snapshot:
    """What a blob holds."""

    kind: str
    """What it is the state of, such as `flow`."""
    version: int
    """Version of that kind's layout."""
    facts: dict[str, Json]
    arrays: dict[str, NDArray[np.generic]]


def pack(
    kind: str,
    version: int,
    facts: Mapping[str, Json],
    arrays: Mapping[str, NDArray[np.generic]] | None = None,
    level: int = 1,
) -> bytes:
    """Pack plain facts and numeric arrays into a blob; `level` is zlib's, 0..9.

    Raises:
        ValueError: an array holds objects.
    """
    chunks, index = [], []
    for name, array in (arrays or {}).items():
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r} holds objects; only numbers can be packed")
        index.append([name, array.dtype.str, list(array.shape)])
        chunks.append(np.ascontiguousarray(array).tobytes())
    header = json.dumps(
        {"kind": kind, "version": version, "facts": dict(facts), "arrays": index},
        separators=(",", ":"),
    ).encode()
    body = zlib.compress(b"".join([struct.pack("<I", len(header)), header, *chunks]), level)
    return _PREFIX.pack(_MAGIC, _CONTAINER_VERSION, hashlib.sha256(body).digest()) + body


def unpack(blob: bytes, kind: str, version: int) -> Snapshot:
    """The blob's content; arrays are writable copies.

    Raises:
        SnapshotError: damaged, or of another kind or version.
    """
    data = _inflate(_checked_body(blob))
    try:
        (length,) = struct.unpack_from("<I", data)
        header = json.loads(data[4 : 4 + length])
        found = (str(header["kind"]), int(header["version"]))
        if found != (kind, version):
            raise SnapshotError(
                f"expected a snapshot of {kind} version {version}, found {found[0]} "
                f"version {found[1]}"
            )
        return Snapshot(kind, version, header["facts"], _arrays(data, 4 + length, header["arrays"]))
    except SnapshotError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        # The checksum guards against damage, not against somebody who makes a token up.
        raise SnapshotError(f"expected a snapshot's header, found: {error}") from error


def _checked_body(blob: bytes) -> bytes:
    if len(blob) < _PREFIX.size:
        raise SnapshotError(f"expected at least {_PREFIX.size} bytes, found {len(blob)}")
    magic, container, digest = _PREFIX.unpack_from(blob)
    if magic != _MAGIC:
        raise SnapshotError(f"expected a snapshot that begins with {_MAGIC!r}, found {magic!r}")
    if container != _CONTAINER_VERSION:
        raise SnapshotError(
            f"expected snapshot container version {_CONTAINER_VERSION}, found {container}"
        )
    body = blob[_PREFIX.size :]
    found = hashlib.sha256(body).digest()
    if found != digest:
        raise SnapshotError(
            f"the snapshot is damaged: expected SHA-256 {digest.hex()[:16]}…, "
            f"found {found.hex()[:16]}…"
        )
    return body


def _inflate(body: bytes) -> bytes:
    # Bounded: a small hostile blob must not unpack into all memory.
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, _MAX_BYTES)
    except zlib.error as error:
        raise SnapshotError(f"the snapshot cannot be decompressed: {error}") from error
    if not inflater.eof:
        raise SnapshotError(f"the snapshot is cut short or over {_MAX_BYTES} bytes")
    return data


def _arrays(
    data: bytes, offset: int, index: list[tuple[str, str, list[int]]]
) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, dtype_name, shape in index:
        dtype = np.dtype(dtype_name)
        count = int(np.prod(shape, dtype=np.int64))
        if dtype.hasobject or count < 0 or offset + count * dtype.itemsize > len(data):
            raise SnapshotError(f"expected array {name!r} inside the snapshot, found its end")
        flat = np.frombuffer(data, dtype, count, offset)
        arrays[name] = flat.reshape(shape).copy()
        offset += count * dtype.itemsize
    return arrays
