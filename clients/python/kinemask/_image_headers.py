"""Sizes and orientation from an image's first bytes, and whether its last bytes are there.

One reader per format, each from the format's specification (JPEG: ITU T.81; EXIF: JEITA CP-3451;
PNG: W3C; WebP: RFC 9649; BMP: BITMAPINFOHEADER; PNM: Netpbm). Nothing here allocates with the
picture's size, and a reader that runs off the end raises `HeaderError` or IndexError/struct.error,
which `kinemask.images` turns into `ImageDecodeError`.
"""

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple


class HeaderError(ValueError):
    """The header is not what its format says."""


class Header(NamedTuple):
    """What a header says; width and height as stored, before the orientation is applied."""

    width: int
    height: int
    channels: int
    bit_depth: int
    orientation: int = 1


_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# The next marker in entropy-coded data: not a stuffed zero, a restart or a fill byte.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, stop) of each segment's payload up to and with EOI; HeaderError if cut."""
    at = 2
    while True:
        found = _NEXT_MARKER.search(data, at)
        if found is None:
            raise HeaderError("expected a JPEG that ends with its end marker, found it cut short")
        marker, start = data[found.end() - 1], found.end()
        if marker == 0xD9:
            yield marker, start, start
            return
        at = start + struct.unpack_from(">H", data, start)[0]
        if at > len(data):
            raise HeaderError("expected a whole JPEG, found a segment cut short")
        yield marker, start + 2, at


def read_jpeg(data: bytes) -> Header:
    """Up to the frame header; an EXIF segment counts if it stands before it, as the format asks."""
    orientation = 1
    for marker, start, stop in _jpeg_segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            orientation = read_exif_orientation(data[start + 6 : stop])
        elif marker in _SOF_MARKERS:
            depth, height, width, channels = struct.unpack_from(">BHHB", data, start)
            return Header(width, height, channels, depth, orientation)
        elif marker in (0xD9, 0xDA):
            break
    raise HeaderError("expected a JPEG frame header before the picture data, found none")


def check_jpeg_end(data: bytes) -> None:
    """HeaderError unless the segments lead to the end marker; what follows it is ignored."""
    for _ in _jpeg_segments(data):
        pass


def read_exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory, 1..8; 1 when absent or broken (a picture stays usable)."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, at)
        for i in range(entries):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", tiff, at + 2 + 12 * i)
            if (tag, kind, count) == (0x0112, 3, 1) and 1 <= value <= 8:
                return int(value)
    except struct.error:
        return 1
    return 1


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, stop) of each chunk's payload up to and with IEND; HeaderError if cut."""
    at = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        stop = at + 8 + length
        if stop + 4 > len(data):
            raise HeaderError("expected a whole PNG, found a chunk cut short")
        yield kind, at + 8, stop
        if kind == b"IEND":
            return
        at = stop + 4


def read_png(data: bytes) -> Header:
    """IHDR, plus transparency of palettes and the eXIf chunk when they stand before the data."""
    if data[12:16] != b"IHDR":
        raise HeaderError(f"expected a PNG that starts with IHDR, found {data[12:16]!r}")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour)
    if channels is None:
        raise HeaderError(f"expected PNG colour type 0, 2, 3, 4 or 6, found {colour}")
    orientation = 1
    for kind, start, stop in _png_chunks(data):
        if kind == b"tRNS" and colour in (0, 2, 3):
            channels += 1
        elif kind == b"eXIf":
            orientation = read_exif_orientation(data[start:stop])
        elif kind in (b"IDAT", b"IEND"):
            break
    return Header(width, height, channels, depth, orientation)


def check_png_end(data: bytes) -> None:
    """HeaderError or struct.error unless the chunks lead to IEND."""
    for _ in _png_chunks(data):
        pass


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at, end = 12, min(8 + struct.unpack_from("<I", data, 4)[0], len(data))
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, at + 8 + length
        at += 8 + length + (length & 1)


def _webp_frame(data: bytes, kind: bytes, start: int) -> tuple[int, int, int] | None:
    """(width, height, channels) from a size-bearing chunk, None for another chunk."""
    if kind == b"VP8X":
        flags = data[start]
        width = 1 + int.from_bytes(data[start + 4 : start + 7], "little")
        height = 1 + int.from_bytes(data[start + 7 : start + 10], "little")
        return width, height, 4 if flags & 0x10 else 3
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, start + 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), 4 if bits >> 28 & 1 else 3
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, start + 6)
        return width & 0x3FFF, height & 0x3FFF, 3
    return None


def read_webp(data: bytes) -> Header:
    """The first size-bearing chunk, and the EXIF chunk wherever it stands."""
    size: tuple[int, int, int] | None = None
    orientation = 1
    for kind, start, stop in _webp_chunks(data):
        size = size or _webp_frame(data, kind, start)
        if kind == b"EXIF":
            exif = data[start:stop].removeprefix(b"Exif\0\0")
            orientation = read_exif_orientation(exif)
    if size is None:
        raise HeaderError("expected a WebP picture chunk, found none")
    return Header(*size, bit_depth=8, orientation=orientation)


def check_webp_end(data: bytes) -> None:
    """HeaderError unless the container's declared length is there."""
    expected = 8 + struct.unpack_from("<I", data, 4)[0]
    if len(data) < expected:
        raise HeaderError(f"expected a WebP of {expected} bytes, found {len(data)}")


def read_bmp(data: bytes) -> Header:
    """BITMAPINFOHEADER and its successors; a negative height is a picture stored top down."""
    (size,) = struct.unpack_from("<I", data, 14)
    if size < 40:
        raise HeaderError(f"expected a BMP header of 40 bytes or more, found {size}")
    width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return Header(width, abs(height), 4 if bits == 32 else 3, 8)


def check_bmp_end(data: bytes) -> None:
    """HeaderError unless an uncompressed BMP has all its rows (compressed ones: the decoder's)."""
    (offset,) = struct.unpack_from("<I", data, 10)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    expected = offset + (width * bits + 31) // 32 * 4 * abs(height)
    if compression in (0, 3) and len(data) < expected:
        raise HeaderError(f"expected a BMP of {expected} bytes, found {len(data)}")


_PNM = re.compile(rb"P([56])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 3 + rb"\s")


def read_pnm(data: bytes) -> Header:
    """Binary greyscale (P5) and colour (P6)."""
    header = _PNM.match(data[:1024])
    if header is None:
        raise HeaderError("expected a binary PNM header (P5 or P6), found another")
    channels = 1 if header[1] == b"5" else 3
    return Header(int(header[2]), int(header[3]), channels, 8 if int(header[4]) < 256 else 16)


def check_pnm_end(data: bytes) -> None:
    """HeaderError unless all samples are there."""
    header = _PNM.match(data[:1024])
    size = read_pnm(data)
    expected = size.width * size.height * size.channels * size.bit_depth // 8
    found = len(data) - (header.end() if header else 0)
    if found < expected:
        raise HeaderError(f"expected {expected} bytes of PNM samples, found {found}")


class Format(NamedTuple):
    """How to know a format by its first bytes, read its header and check its end."""

    name: str
    magic: re.Pattern[bytes]
    read: Callable[[bytes], Header]
    check_end: Callable[[bytes], None]


FORMATS = (
    Format("jpeg", re.compile(rb"\xff\xd8\xff"), read_jpeg, check_jpeg_end),
    Format("png", re.compile(rb"\x89PNG\r\n\x1a\n"), read_png, check_png_end),
    Format("webp", re.compile(rb"RIFF....WEBP", re.DOTALL), read_webp, check_webp_end),
    Format("bmp", re.compile(rb"BM"), read_bmp, check_bmp_end),
    Format("pnm", re.compile(rb"P[56]"), read_pnm, check_pnm_end),
)
