"""Image codecs: encoded bytes and raw pixels to `(H, W, 3)` uint8 RGB and back.

Errors, all with a message that says what was expected and what came:

    ImageError (ValueError)
    ├── ImageDecodeError     not an image we read, damaged, or cut short
    └── ImageTooLargeError   more pixels than the limit; carries width, height, limit
"""

import struct
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import cv2
import numpy as np
import numpy.typing as npt

from kinemask import _image_headers as headers

Image: TypeAlias = npt.NDArray[np.uint8]
PixelFormat: TypeAlias = Literal["RGB24", "BGR24", "GRAY8", "RGBA32", "NV12", "I420"]

DEFAULT_MAX_PIXELS: Final = 2**26
"""width * height that `decode` accepts unless told otherwise: 8192 x 8192."""


class ImageError(ValueError):
    """An image that cannot be taken."""


class ImageDecodeError(ImageError):
    """Not an image we read, damaged, cut short, or of another size than announced."""


class ImageTooLargeError(ImageError):
    """More pixels than the limit, found before anything was decoded."""

    def __init__(self, width: int, height: int, limit: int) -> None:
        super().__init__(
            f"image of {width}x{height} has {width * height} pixels, the limit is {limit}"
        )
        self.width = width
        self.height = height
        self.limit = limit


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image's header says. Nothing of the picture has been decoded."""

    width: int
    """Pixels, after the orientation is applied: the shape that `decode` returns."""
    height: int
    """Pixels, after the orientation is applied."""
    channels: int
    """As stored: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha (CMYK for a JPEG)."""
    bit_depth: int
    """Bits per channel (of the index for a palette)."""
    format: str
    """jpeg, png, webp, bmp or pnm."""
    orientation: int
    """EXIF orientation, 1..8; 1 is upright."""

    @property
    def pixels(self) -> int:
        """width * height."""
        return self.width * self.height

    @property
    def has_alpha(self) -> bool:
        """Whether the stored picture carries transparency."""
        return self.channels in (2, 4) and self.format in ("png", "webp")


def probe(data: bytes) -> ImageInfo:
    """Read the header of an encoded image (JPEG, PNG, WebP, BMP, binary PNM) and nothing more.

    Raises:
        ImageDecodeError: no such format, or its header is damaged.
    """
    data = bytes(data)
    form = _format_of(data)
    header = _guarded(form, data)
    if header.width < 1 or header.height < 1:
        raise ImageDecodeError(
            f"{form.name}: expected a size of 1x1 or more, found {header.width}x{header.height}"
        )
    width, height = header.width, header.height
    if header.orientation >= 5:  # 5..8 lie on their side
        width, height = height, width
    return ImageInfo(
        width, height, header.channels, header.bit_depth, form.name, header.orientation
    )


def decode(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """Decode an image to `(H, W, 3)` uint8 RGB, upright.

    EXIF orientation is applied. Grey is repeated over the channels; 16 bits keep their high 8;
    transparency is laid over black, so that what nobody sees in the picture is not seen here
    either; of an animation the first picture counts.

    Caught as damage: a picture cut anywhere (each format's end is looked for), a broken structure,
    and for PNG a checksum. Not caught: a JPEG whose middle is damaged but whose markers stand; the
    decoder paints over the gap and says nothing.

    Raises:
        ImageDecodeError: not an image we read, damaged or cut short.
        ImageTooLargeError: more than `max_pixels`; checked from the header, before decoding.
    """
    data = bytes(data)
    info = probe(data)
    if info.pixels > max_pixels:
        raise ImageTooLargeError(info.width, info.height, max_pixels)
    _check_end(_format_of(data), data)
    image = _turn_upright(_decode_stored(data, info), info.orientation)
    if image.shape != (info.height, info.width, 3):
        raise ImageDecodeError(
            f"{info.format}: header announced {info.width}x{info.height}, "
            f"the picture is {image.shape[1]}x{image.shape[0]}"
        )
    return image


def encode_jpeg(image_rgb: Image, quality: int = 90) -> bytes:
    """JPEG of an `(H, W, 3)` uint8 RGB image, quality 1..100. Raises ValueError on other input."""
    if not 1 <= quality <= 100:
        raise ValueError(f"expected a JPEG quality of 1..100, found {quality}")
    return _encode(".jpg", image_rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image_rgb: Image, compression: int = 1) -> bytes:
    """PNG of an `(H, W, 3)` uint8 RGB image, compression 0 (fast) .. 9 (small).

    Raises ValueError on other input.
    """
    if not 0 <= compression <= 9:
        raise ValueError(f"expected a PNG compression of 0..9, found {compression}")
    return _encode(".png", image_rgb, [cv2.IMWRITE_PNG_COMPRESSION, compression])


def from_raw(data: bytes, height: int, width: int, pixel_format: PixelFormat) -> Image:
    """`(height, width, 3)` uint8 RGB of raw pixels without padding between rows.

    NV12 and I420 are BT.601, limited range, of even width and height. RGBA32's alpha is ignored.
    RGB24 is a read-only view of `data` and copies nothing.

    Raises:
        ValueError: unknown format, a size that is not positive (or odd where it must be even).
        ImageDecodeError: `data` has another length than the size and format ask for.
    """
    if pixel_format not in get_args(PixelFormat):
        raise ValueError(f"pixel format must be one of {get_args(PixelFormat)}: {pixel_format!r}")
    if height < 1 or width < 1:
        raise ValueError(f"raw image size must be positive, found {width}x{height}")
    planar = pixel_format in ("NV12", "I420")
    if planar and (height % 2 or width % 2):
        raise ValueError(f"{pixel_format} needs an even width and height, found {width}x{height}")
    samples2 = {"GRAY8": 2, "RGBA32": 8, "NV12": 3, "I420": 3}.get(pixel_format, 6)  # per 2 pixels
    expected = height * width * samples2 // 2
    if len(data) != expected:
        raise ImageDecodeError(
            f"{pixel_format} {width}x{height}: expected {expected} bytes, found {len(data)}"
        )
    shape = (height * 3 // 2, width) if planar else (height, width, samples2 // 2)
    return _raw_to_rgb(np.frombuffer(data, np.uint8).reshape(shape), pixel_format)


_RAW_CODES: Final = {
    "BGR24": cv2.COLOR_BGR2RGB,
    "GRAY8": cv2.COLOR_GRAY2RGB,
    "RGBA32": cv2.COLOR_RGBA2RGB,
    "NV12": cv2.COLOR_YUV2RGB_NV12,
    "I420": cv2.COLOR_YUV2RGB_I420,
}


def _raw_to_rgb(pixels: Image, pixel_format: PixelFormat) -> Image:
    if pixel_format == "RGB24":
        return pixels
    return _as_image(cv2.cvtColor(pixels, _RAW_CODES[pixel_format]))


def _format_of(data: bytes) -> headers.Format:
    for form in headers.FORMATS:
        if form.magic.match(data):
            return form
    names = ", ".join(form.name for form in headers.FORMATS)
    raise ImageDecodeError(
        f"expected an image ({names}), found {len(data)} bytes starting with {data[:8]!r}"
    )


def _guarded(form: headers.Format, data: bytes) -> headers.Header:
    try:
        return form.read(data)
    except headers.HeaderError as error:
        raise ImageDecodeError(f"{form.name}: {error}") from error
    except (struct.error, IndexError) as error:
        raise ImageDecodeError(f"{form.name}: header cut short at {len(data)} bytes") from error


def _check_end(form: headers.Format, data: bytes) -> None:
    try:
        form.check_end(data)
    except headers.HeaderError as error:
        raise ImageDecodeError(f"{form.name}: {error}") from error
    except (struct.error, IndexError) as error:
        raise ImageDecodeError(f"{form.name}: cut short at {len(data)} bytes") from error


def _decode_stored(data: bytes, info: ImageInfo) -> Image:
    """`(H, W, 3)` uint8 RGB as stored, before the orientation."""
    # Alpha only survives "unchanged"; all else goes straight to RGB.
    flags = cv2.IMREAD_UNCHANGED if info.has_alpha else cv2.IMREAD_COLOR_RGB
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageDecodeError(f"{info.format}: the decoder refused it: {error.err}") from error
    if stored is None:
        raise ImageDecodeError(f"{info.format}: the picture data is damaged or cut short")
    return _over_black(np.asarray(stored)) if info.has_alpha else _as_image(stored)


def _over_black(stored: npt.NDArray[np.integer]) -> Image:
    """`(H, W, 1..4)` uint8 or uint16, BGR(A) or grey, to RGB with transparency over black."""
    if stored.dtype == np.uint16:
        stored = np.right_shift(stored, 8).astype(np.uint8)
    if stored.ndim == 2:
        return _as_image(cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB))
    if stored.shape[2] == 3:
        return _as_image(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB))
    alpha = cv2.cvtColor(stored[:, :, 3], cv2.COLOR_GRAY2RGB)
    return _as_image(cv2.multiply(cv2.cvtColor(stored, cv2.COLOR_BGRA2RGB), alpha, scale=1 / 255))


def _turn_upright(image: Image, orientation: int) -> Image:
    """Undo an EXIF orientation, 1..8: 5..8 are transposed, then mirrored in x and y as needed."""
    if orientation >= 5:
        image = _as_image(cv2.transpose(image))
    mirror_x, mirror_y = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    if not (mirror_x or mirror_y):
        return image
    code = -1 if mirror_x and mirror_y else 1 if mirror_x else 0
    return _as_image(cv2.flip(image, code))


def _encode(suffix: str, image_rgb: Image, options: list[int]) -> bytes:
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ValueError(
            f"expected an (H, W, 3) uint8 RGB image, found {image_rgb.shape} {image_rgb.dtype}"
        )
    if not image_rgb.size:
        raise ValueError(f"expected an image with pixels, found {image_rgb.shape}")
    ok, encoded = cv2.imencode(suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), options)
    if not ok:
        raise ValueError(f"{suffix} encoder refused an image of {image_rgb.shape}")
    return encoded.tobytes()


def _as_image(array: npt.NDArray[np.generic]) -> Image:
    """OpenCV's stubs forget the dtype; a wrong one is a bug of ours, so it is checked."""
    if array.dtype != np.uint8:
        raise ImageDecodeError(f"expected 8-bit samples, found {array.dtype}")
    return array.view(np.uint8)
