"""How long a file says it is, to tell one that was cut short from one that ends.

FFmpeg reads a file that is cut between two packets to its end and reports nothing; but ISO media
(MP4, MOV: ISO/IEC 14496-12), Matroska (RFC 9559, RFC 8794) and RIFF (AVI) files carry their length.
"""

import struct
from pathlib import Path
from typing import BinaryIO, Final

_MOST_BOXES: Final = 100_000  # top-level boxes of a fragmented file
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"


def missing_bytes(path: Path) -> int:
    """Bytes that the file announces and does not have; 0 when none, or when it does not say."""
    found = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == b"RIFF":
            declared: int | None = 8 + int.from_bytes(head[4:8], "little")
        elif head[:4] == _EBML:
            declared = _matroska_end(file)
        elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            declared = _iso_end(file, found)
        else:
            declared = None
    return max((declared or 0) - found, 0)


def _iso_end(file: BinaryIO, found: int) -> int | None:
    """Where the last top-level box ends; None where the boxes make no sense."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > found:
            return at
        file.seek(at)
        header = file.read(16)
        size, kind = struct.unpack_from(">I4s", header)
        if size == 1 and len(header) == 16:
            (size,) = struct.unpack_from(">Q", header, 8)
        if size < 8 or not kind.isalnum():
            return None
        at += size
    return None


def _matroska_end(file: BinaryIO) -> int | None:
    """Where the segment ends; None where its size is unknown, as in a live recording."""
    file.seek(4)
    header_size = _ebml_size(file)
    if header_size is None:
        return None
    file.seek(header_size, 1)
    if file.read(4) != _SEGMENT:
        return None
    size = _ebml_size(file)
    return None if size is None else file.tell() + size


def _ebml_size(file: BinaryIO) -> int | None:
    """A variable-length size: the first byte's leading zeros count the bytes that follow. All
    ones mean unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") - (1 << 7 * length)
    return None if value == (1 << 7 * length) - 1 else value
