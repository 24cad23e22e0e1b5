"""Image codecs: headers before pixels, every kind of picture, every kind of damage."""

import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask import images

Image = npt.NDArray[np.uint8]

JPEG_PROGRESSIVE = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
WEBP_LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]
ENCODINGS = [
    pytest.param("jpeg", ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95], 8, id="jpeg"),
    pytest.param("jpeg", ".jpg", JPEG_PROGRESSIVE, 8, id="progressive jpeg, many scans"),
    pytest.param("jpeg", ".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2], 8, id="jpeg with restarts"),
    pytest.param("png", ".png", [], 0, id="png"),
    pytest.param("webp", ".webp", [cv2.IMWRITE_WEBP_QUALITY, 90], 12, id="lossy webp"),
    pytest.param("webp", ".webp", WEBP_LOSSLESS, 0, id="lossless webp"),
    pytest.param("bmp", ".bmp", [], 0, id="bmp"),
    pytest.param("pnm", ".ppm", [], 0, id="ppm"),
]


def picture(height: int = 40, width: int = 53) -> Image:
    """A smooth picture, so that lossy codecs stay near it, with no symmetry."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = (x * 255 / width, y * 255 / height, 128 + 90 * np.sin(x / 9 + y / 5))
    return np.dstack(channels).astype(np.uint8)


def encoded(image_rgb: npt.NDArray[np.generic], suffix: str, options: list[int]) -> bytes:
    array = np.asarray(image_rgb)
    if array.ndim == 3:
        array = array[:, :, ::-1] if array.shape[2] == 3 else array[:, :, [2, 1, 0, 3]]
    return cv2.imencode(suffix, np.ascontiguousarray(array), options)[1].tobytes()


def exif(orientation: int, order: str) -> bytes:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + struct.pack(order + "I", 0)


def jpeg_with_exif(jpeg: bytes, tiff: bytes) -> bytes:
    payload = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))
        + kind
        + payload
        + struct.pack(">I", zlib.crc32(kind + payload))
    )


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = (
        png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b""))
        + png_chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize(("name", "suffix", "options", "error"), ENCODINGS)
def test_every_format_round_trips(name: str, suffix: str, options: list[int], error: int) -> None:
    image = picture()
    data = encoded(image, suffix, options)
    info = images.probe(data)
    assert (info.format, info.width, info.height, info.channels) == (name, 53, 40, 3)
    assert (info.bit_depth, info.orientation) == (8, 1)
    decoded = images.decode(data)
    assert decoded.shape == (40, 53, 3)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - image).max() <= 4 * error


@pytest.mark.parametrize(("name", "suffix", "options", "error"), ENCODINGS)
def test_every_cut_is_found(name: str, suffix: str, options: list[int], error: int) -> None:
    data = encoded(picture(24, 17), suffix, options)
    for length in range(len(data)):
        with pytest.raises(images.ImageDecodeError):
            images.decode(data[:length])


@pytest.mark.parametrize(("name", "suffix", "options", "error"), ENCODINGS)
@given(at=st.floats(0, 0.9999), value=st.integers(0, 255))
def test_a_changed_byte_never_crashes(
    name: str, suffix: str, options: list[int], error: int, at: float, value: int
) -> None:
    data = bytearray(encoded(picture(24, 17), suffix, options))
    data[int(at * len(data))] = value
    try:
        decoded = images.decode(bytes(data), max_pixels=4096)
    except images.ImageError:
        return
    assert decoded.ndim == 3
    assert decoded.shape[0] * decoded.shape[1] <= 4096


@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x30\0\0\0WEBP", b"BM"]),
    st.binary(max_size=200),
)
def test_random_bytes_never_crash(magic: bytes, data: bytes) -> None:
    with pytest.raises(images.ImageError):
        images.decode(magic + data, max_pixels=10_000)


@pytest.mark.parametrize("order", [pytest.param("<", id="intel"), pytest.param(">", id="motorola")])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, order: str) -> None:
    jpeg = jpeg_with_exif(encoded(picture(), ".jpg", []), exif(orientation, order))
    info = images.probe(jpeg)
    decoded = images.decode(jpeg)
    assert info.orientation == orientation
    assert decoded.shape == (info.height, info.width, 3)
    opencv = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert opencv is not None
    assert np.array_equal(decoded, opencv[:, :, ::-1])


@pytest.mark.parametrize(
    "tiff",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"XX*\0", id="no byte order"),
        pytest.param(exif(9, "<"), id="orientation 9"),
        pytest.param(exif(6, "<")[:15], id="cut short"),
        pytest.param(b"II*\0\xff\xff\xff\xff", id="directory outside"),
    ],
)
def test_broken_exif_leaves_the_picture_upright(tiff: bytes) -> None:
    jpeg = jpeg_with_exif(encoded(picture(), ".jpg", []), tiff)
    assert images.probe(jpeg).orientation == 1
    assert images.decode(jpeg).shape == (40, 53, 3)


def test_png_exif_orientation_is_applied() -> None:
    png = encoded(picture(), ".png", [])
    turned = png[:33] + png_chunk(b"eXIf", exif(6, ">")) + png[33:]
    assert images.probe(turned).orientation == 6
    assert np.array_equal(images.decode(turned), np.rot90(picture(), -1))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_laid_over_black(suffix: str) -> None:
    rgba = np.dstack([picture(), np.zeros((40, 53), np.uint8)])
    rgba[:, 20:, 3] = 255
    rgba[:, 40:, 3] = 128
    data = encoded(rgba, suffix, WEBP_LOSSLESS if suffix == ".webp" else [])
    assert images.probe(data).has_alpha
    decoded = images.decode(data)
    assert not decoded[:, :20].any()
    assert np.array_equal(decoded[:, 20:40], picture()[:, 20:40])
    half = picture()[:, 40:].astype(float) * 128 / 255
    assert np.abs(decoded[:, 40:] - half).max() <= 1


@pytest.mark.parametrize(
    ("array", "channels", "bit_depth", "suffix"),
    [
        pytest.param(picture()[:, :, 0], 1, 8, ".png", id="grey png"),
        pytest.param(picture()[:, :, 0], 1, 8, ".jpg", id="grey jpeg"),
        pytest.param(picture()[:, :, 0], 1, 8, ".pgm", id="grey pnm"),
        pytest.param(picture().astype(np.uint16) * 257, 3, 16, ".png", id="16-bit colour"),
        pytest.param(picture()[:, :, 0].astype(np.uint16) * 257, 1, 16, ".png", id="16-bit grey"),
        pytest.param(picture()[:, :, 0].astype(np.uint16) * 257, 1, 16, ".pgm", id="16-bit pnm"),
        pytest.param(
            np.dstack([picture(), np.full((40, 53), 255, np.uint8)]).astype(np.uint16) * 257,
            4,
            16,
            ".png",
            id="16-bit colour and alpha",
        ),
    ],
)
def test_grey_and_16_bits(
    array: npt.NDArray[np.generic], channels: int, bit_depth: int, suffix: str
) -> None:
    data = encoded(array, suffix, [])
    info = images.probe(data)
    assert (info.channels, info.bit_depth) == (channels, bit_depth)
    expected = picture() if array.ndim == 3 else np.repeat(picture()[:, :, :1], 3, axis=2)
    tolerance = 6 if suffix == ".jpg" else 0
    assert np.abs(images.decode(data).astype(int) - expected).max() <= tolerance


def test_palette_with_transparency() -> None:
    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"PLTE", bytes([10, 20, 30, 200, 150, 100])),
        (b"tRNS", b"\x00\xff"),
        (b"IDAT", zlib.compress(b"\x00\x00\x01")),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    assert images.probe(data).channels == 4
    assert images.decode(data).tolist() == [[[0, 0, 0], [200, 150, 100]]]


def test_the_pixel_limit_holds_before_decoding() -> None:
    bomb = png_of_size(60_000, 50_000)
    with pytest.raises(images.ImageTooLargeError, match="60000x50000") as caught:
        images.decode(bomb)
    error = caught.value
    assert (error.width, error.height, error.limit) == (60_000, 50_000, images.DEFAULT_MAX_PIXELS)
    assert images.decode(images.encode_png(picture()), max_pixels=40 * 53).shape == (40, 53, 3)
    with pytest.raises(images.ImageTooLargeError):
        images.decode(images.encode_png(picture()), max_pixels=40 * 53 - 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "0 bytes", id="nothing"),
        pytest.param(b"GIF89a" + bytes(40), "expected an image", id="a format we do not read"),
        pytest.param(b"\xff\xd8\xff\xd9", "frame header", id="jpeg without a frame"),
        pytest.param(b"BM" + bytes(60), "header of 40 bytes", id="bmp without a header"),
        pytest.param(b"RIFF\x04\0\0\0WEBP", "picture chunk", id="webp without a picture"),
        pytest.param(b"P6 0 5 255\n", "1x1 or more", id="no width"),
        pytest.param(b"P6 10 5 255\n" + bytes(20), "expected 150 bytes", id="too few samples"),
        pytest.param(png_of_size(0, 4), "1x1 or more", id="png without width"),
        pytest.param(png_of_size(4, 4), "damaged", id="png without rows"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, message: str) -> None:
    with pytest.raises(images.ImageDecodeError, match=message):
        images.decode(data)


def test_a_jpeg_may_carry_a_trailer() -> None:
    jpeg = images.encode_jpeg(picture())
    assert np.array_equal(images.decode(jpeg + bytes(100)), images.decode(jpeg))


def test_encoders() -> None:
    assert np.array_equal(images.decode(images.encode_png(picture(), 9)), picture())
    small, large = images.encode_jpeg(picture(), 20), images.encode_jpeg(picture(), 98)
    assert len(small) < len(large)
    with pytest.raises(ValueError, match=r"1\.\.100, found 0"):
        images.encode_jpeg(picture(), 0)
    with pytest.raises(ValueError, match=r"found \(40, 53\) uint8"):
        images.encode_png(picture()[:, :, 0])
    with pytest.raises(ValueError, match="with pixels"):
        images.encode_png(picture()[:0])


@pytest.mark.parametrize(
    ("pixel_format", "data"),
    [
        pytest.param("RGB24", picture().tobytes(), id="rgb"),
        pytest.param("BGR24", picture()[:, :, ::-1].tobytes(), id="bgr"),
        pytest.param(
            "RGBA32", np.dstack([picture(), picture()[:, :, 0]]).tobytes(), id="alpha ignored"
        ),
    ],
)
def test_raw_packed_formats(pixel_format: images.PixelFormat, data: bytes) -> None:
    assert np.array_equal(images.from_raw(data, 40, 53, pixel_format), picture())
    with pytest.raises(
        images.ImageDecodeError, match=f"{pixel_format} 53x40: expected {len(data)}"
    ):
        images.from_raw(data[:-1], 40, 53, pixel_format)


def test_raw_grey() -> None:
    grey = picture()[:, :, 1]
    assert np.array_equal(images.from_raw(grey.tobytes(), 40, 53, "GRAY8")[:, :, 2], grey)


@pytest.mark.parametrize("pixel_format", ["NV12", "I420"])
def test_raw_yuv_is_bt601_limited(pixel_format: images.PixelFormat) -> None:
    luma, cb, cr = bytes([81] * 8 + [235] * 8), [90, 128], [240, 128]  # red rows over white rows
    chroma = [90, 240, 90, 240, 128, 128, 128, 128]
    planes = [cb[0], cb[0], cb[1], cb[1], cr[0], cr[0], cr[1], cr[1]]
    data = luma + bytes(chroma if pixel_format == "NV12" else planes)
    decoded = images.from_raw(data, 4, 4, pixel_format).astype(int)
    assert np.abs(decoded[:2] - (255, 0, 0)).max() <= 2
    assert np.abs(decoded[2:] - (255, 255, 255)).max() <= 2
    with pytest.raises(ValueError, match="even width and height, found 3x4"):
        images.from_raw(data, 4, 3, pixel_format)


def test_raw_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="pixel format must be one of"):
        images.from_raw(b"", 1, 1, "YUYV")  # type: ignore[arg-type]  # the wrong value is the test
    with pytest.raises(ValueError, match="must be positive, found 0x5"):
        images.from_raw(b"", 5, 0, "RGB24")
