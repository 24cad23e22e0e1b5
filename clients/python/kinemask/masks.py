"""Mask codecs and mask measures: COCO RLE, packed bits, PNG.

A mask is `(H, W)` bool. COCO's run-length encoding walks a mask column by column and counts
alternating runs of background and foreground, background first. The compressed string writes each
count as its difference to the count two before it (from the fourth count on), in groups of five
bits, least significant first, one printable character (48 + 6 bits) per group, the sixth bit
saying that another group follows. Format: Lin et al., "Microsoft COCO", 2014, and its public
mask API; this code is exact against pycocotools.
"""

import math
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kinemask.images import ImageDecodeError, ImageTooLargeError, probe

Mask: TypeAlias = npt.NDArray[np.bool_]
Box: TypeAlias = tuple[int, int, int, int]
_Counts: TypeAlias = npt.NDArray[np.int64]

MAX_MASK_PIXELS = 2**28
"""The largest height * width that a decoder accepts unless told otherwise."""

_MAX_CHARS = 7  # 34 bits and a sign: more than any difference of two counts within MAX_MASK_PIXELS
_FEW_RUNS = 4096  # below this, filling slices beats expanding every pixel


class _Window(NamedTuple):
    """The part of a mask that is looked at: x_min, y_min, x_max, y_max, whole pixels."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int


def encode_rle(mask: Mask, box_xyxy: tuple[float, float, float, float] | None = None) -> bytes:
    """COCO's compressed RLE string of a mask.

    Args:
        mask: `(H, W)` bool.
        box_xyxy: where the foreground lies, if known: only these pixels are read, and foreground
            outside them is ignored. Pixels, may be fractional or reach outside the mask.

    Raises:
        ValueError: the mask is not a non-empty `(H, W)` bool array.
    """
    _check_mask(mask)
    return _counts_to_string(_mask_to_counts(mask, _window(mask, box_xyxy)))


def decode_rle(counts: bytes, height: int, width: int, max_pixels: int = MAX_MASK_PIXELS) -> Mask:
    """The `(height, width)` bool mask of a COCO compressed RLE string.

    Raises:
        ValueError: the size is not positive or over `max_pixels`, or the string is malformed or
            of another size. Nothing of the mask's size is allocated before the string has passed.
    """
    runs = _checked_counts(counts, height, width, max_pixels)
    ends = np.cumsum(runs)
    starts, stops = ends[0::2][: len(runs) // 2], ends[1::2]
    mask = np.zeros((height, width), np.uint8)
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    if len(starts):
        _fill_columns(mask, starts, stops)
    return mask.view(np.bool_)


def decode_rle_window(
    counts: bytes, height: int, width: int, max_pixels: int = MAX_MASK_PIXELS
) -> tuple[Mask, Box] | None:
    """The part of a mask around its foreground, and where that is, as `mask_box`; None for an
    empty mask. Costs what the part costs. Errors as `decode_rle`."""
    runs = _checked_counts(counts, height, width, max_pixels)
    ends = np.cumsum(runs)
    starts, stops = ends[0::2][: len(runs) // 2], ends[1::2]
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    if not len(starts):
        return None
    x_min, columns = _columns(height, starts, stops)
    part = np.asarray(cv2.transpose(columns), np.uint8)  # (H, columns)
    _, y_min, _, rows = cv2.boundingRect(part)
    box = x_min, y_min, x_min + part.shape[1], y_min + rows
    return part[y_min : y_min + rows].view(np.bool_), box


def rle_area(counts: bytes, height: int, width: int, max_pixels: int = MAX_MASK_PIXELS) -> int:
    """Foreground pixels of an RLE string, without decoding it. Errors as `decode_rle`."""
    return int(_checked_counts(counts, height, width, max_pixels)[1::2].sum())


def rle_box(
    counts: bytes, height: int, width: int, max_pixels: int = MAX_MASK_PIXELS
) -> Box | None:
    """The box around the foreground of an RLE string, without decoding it, as `mask_box`.

    Errors as `decode_rle`.
    """
    runs = _checked_counts(counts, height, width, max_pixels)
    ends = np.cumsum(runs)
    starts, lasts = ends[0::2][: len(runs) // 2], ends[1::2] - 1
    filled = lasts >= starts
    starts, lasts = starts[filled], lasts[filled]
    if not len(starts):
        return None
    x_min, x_max = int(starts[0]) // height, int(lasts[-1]) // height + 1
    if np.any(starts // height != lasts // height):  # a run over a column's end touches both edges
        return x_min, 0, x_max, height
    return x_min, int((starts % height).min()), x_max, int((lasts % height).max()) + 1


def encode_packed(mask: Mask) -> bytes:
    """One bit per pixel, row by row without padding between rows, first pixel in the high bit."""
    _check_mask(mask)
    return np.packbits(mask, axis=None).tobytes()


def decode_packed(data: bytes, height: int, width: int, max_pixels: int = MAX_MASK_PIXELS) -> Mask:
    """The `(height, width)` bool mask of packed bits; padding bits at the end are ignored.

    Raises:
        ValueError: the size is not positive or over `max_pixels`, or `data` has another length.
    """
    _check_size(height, width, max_pixels)
    expected = (height * width + 7) // 8
    if len(data) != expected:
        raise ValueError(
            f"packed mask of {width}x{height}: expected {expected} bytes, found {len(data)}"
        )
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=height * width)
    return bits.view(np.bool_).reshape(height, width)


def encode_png_mask(mask: Mask) -> bytes:
    """A PNG of one bit per pixel, white for foreground and black for background."""
    _check_mask(mask)
    options = [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 1]
    ok, encoded = cv2.imencode(".png", mask.view(np.uint8) * np.uint8(255), options)
    if not ok:
        raise ValueError(f"PNG encoder refused a mask of shape {mask.shape}")
    return encoded.tobytes()


def decode_png_mask(
    data: bytes, height: int, width: int, max_pixels: int = MAX_MASK_PIXELS
) -> Mask:
    """The `(height, width)` bool mask of a PNG: true where the grey value is 128 or more.

    Raises:
        ValueError: the size is over `max_pixels`, or `data` is not a whole PNG of this size.
    """
    _check_size(height, width, max_pixels)
    info = probe(data)
    if (info.format, info.width, info.height) != ("png", width, height):
        raise ValueError(
            f"PNG mask: expected png {width}x{height}, "
            f"found {info.format} {info.width}x{info.height}"
        )
    if info.pixels > max_pixels:
        raise ImageTooLargeError(info.width, info.height, max_pixels)
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if grey is None or grey.shape != (height, width):
        raise ImageDecodeError("PNG mask: the picture data is damaged or cut short")
    return grey >= 128


def mask_box(mask: Mask) -> Box | None:
    """The box around the foreground: `(x_min, y_min, x_max, y_max)`, max edges exclusive, so that
    `mask[y_min:y_max, x_min:x_max]` holds all of it; None for an empty mask."""
    _check_mask(mask)
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (x, y, x + width, y + height) if width else None


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape, 0..1; two empty masks give 0.0, as in
    pycocotools, so that vanished objects never match each other.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"masks of one shape expected, found {a.shape} and {b.shape}")
    intersection = np.count_nonzero(a & b)
    union = np.count_nonzero(a) + np.count_nonzero(b) - intersection
    return intersection / union if union else 0.0


def _check_mask(mask: Mask) -> None:
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise ValueError(f"expected a non-empty (H, W) bool mask, found {mask.shape} {mask.dtype}")


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"mask size must be positive, found {width}x{height}")
    if height * width > max_pixels:
        raise ValueError(
            f"mask of {width}x{height} has {height * width} pixels, the limit is {max_pixels}"
        )


def _window(mask: Mask, box_xyxy: tuple[float, float, float, float] | None) -> _Window:
    """Whole pixels around the given box, or around the foreground; may be empty."""
    if box_xyxy is None:
        return _Window(*(mask_box(mask) or (0, 0, 0, 0)))
    height, width = mask.shape
    if not all(map(math.isfinite, box_xyxy)):
        raise ValueError(f"box must be finite, found {box_xyxy}")
    x_min, y_min, x_max, y_max = box_xyxy
    return _Window(
        max(math.floor(x_min), 0),
        max(math.floor(y_min), 0),
        min(math.ceil(x_max), width),
        min(math.ceil(y_max), height),
    )


def _mask_to_counts(mask: Mask, window: _Window) -> _Counts:
    """Run lengths in column order, background first."""
    height, width = mask.shape
    total = height * width
    if window.x_max <= window.x_min or window.y_max <= window.y_min:
        return np.array([total], np.int64)
    crop = mask[window.y_min : window.y_max, window.x_min : window.x_max].view(np.uint8)
    # Whole columns of the window, end to end, with one background pixel before and after.
    padded = np.zeros((window.x_max - window.x_min) * height + 2, np.uint8)
    columns = padded[1:-1].reshape(-1, height)  # (columns, H)
    columns[:, window.y_min : window.y_max] = cv2.transpose(crop)
    # Every change of value starts a run; the padding makes the first and the last run explicit.
    edges = np.flatnonzero(padded[1:] != padded[:-1]) + window.x_min * height
    if not len(edges):
        return np.array([total], np.int64)
    counts: _Counts = np.diff(edges, prepend=0, append=total)
    return counts[:-1] if counts[-1] == 0 else counts


def _counts_to_string(counts: _Counts) -> bytes:
    deltas = counts.copy()
    deltas[3:] -= counts[1:-2]
    # A value fits n groups when -16 * 32^(n-1) <= value < 16 * 32^(n-1).
    magnitude = np.where(deltas < 0, ~deltas, deltas)
    limits = 16 * 32 ** np.arange(_MAX_CHARS - 1, dtype=np.int64)
    last = np.searchsorted(limits, magnitude, side="right")  # index of the last group, (N,)
    groups = np.arange(int(last.max()) + 1)
    chars = (deltas[:, None] >> (5 * groups)) & 31  # (N, groups)
    chars += 48 + 32 * (groups < last[:, None])
    return chars.astype(np.uint8)[groups <= last[:, None]].tobytes()


def _string_to_counts(data: bytes) -> _Counts:
    symbols = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if not len(symbols) or symbols.min() < 0 or symbols.max() > 63:
        raise ValueError("RLE: expected one or more characters 48..111, found others or none")
    finals = np.flatnonzero(symbols < 32)  # the last character of each count
    if not len(finals) or finals[-1] != len(symbols) - 1:
        raise ValueError("RLE: expected a finished last count, found a string cut short")
    firsts = np.concatenate(([0], finals[:-1] + 1))
    lengths = finals - firsts + 1
    if lengths.max() > _MAX_CHARS:
        raise ValueError(f"RLE: expected counts of at most {_MAX_CHARS} characters, found more")
    shifts = 5 * (np.arange(len(symbols)) - np.repeat(firsts, lengths))
    values = np.add.reduceat((symbols & 31) << shifts, firsts)
    values -= ((symbols[finals] & 16) << 1) << shifts[finals]  # the top bit is the sign
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _checked_counts(data: bytes, height: int, width: int, max_pixels: int) -> _Counts:
    _check_size(height, width, max_pixels)
    longest = _MAX_CHARS * (height * width + 1)
    if len(data) > longest:
        raise ValueError(
            f"RLE of {width}x{height}: expected at most {longest} characters, found {len(data)}"
        )
    counts = _string_to_counts(data)
    if counts.min() < 0:
        raise ValueError(f"RLE: expected counts of 0 or more, found {int(counts.min())}")
    total = int(counts.sum())
    if total != height * width:
        raise ValueError(
            f"RLE of {width}x{height}: expected counts to add up to {height * width}, found {total}"
        )
    return counts


def _fill_columns(mask: npt.NDArray[np.uint8], starts: _Counts, stops: _Counts) -> None:
    """Set the runs [start, stop) of column-major positions to 1, touching only their columns."""
    x_min, columns = _columns(mask.shape[0], starts, stops)
    mask[:, x_min : x_min + len(columns)] = cv2.transpose(columns)


def _columns(height: int, starts: _Counts, stops: _Counts) -> tuple[int, npt.NDArray[np.uint8]]:
    """The columns that have foreground, `(columns, H)`, and the first one's x."""
    x_min, x_max = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    columns = np.zeros((x_max - x_min, height), np.uint8)
    flat, offset = columns.reshape(-1), x_min * height
    if len(starts) <= _FEW_RUNS:
        for start, stop in zip((starts - offset).tolist(), (stops - offset).tolist(), strict=True):
            flat[start:stop] = 1
    else:
        flat[starts - offset] = 1
        inside = stops - offset < len(flat)  # a run may start where another stops: xor, not set
        flat[(stops - offset)[inside]] ^= 1
        np.bitwise_xor.accumulate(flat, out=flat)
    return x_min, columns
