"""Rules on frames: solid is proof from the file on, and coverage is what was covered."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from kinemask import masks
from kinemask.effects import Planes
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2
from kinemask.video import IndexedReader, index_video
from kinemask_gateway.rendering.coverage import Coverage, Covered, extend
from kinemask_gateway.rendering.drawing import Drawing
from kinemask_gateway.rendering.rules import rules_of
from kinemask_gateway.tracks.values import MaskOrigin, ObjectState, TrackedFrame, TrackedObject
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
HEIGHT, WIDTH = 47, 63


def tracked(object_id: int, mask: NDArray[np.bool_], **fields: object) -> TrackedObject:
    box = masks.mask_box(mask)
    assert box is not None
    told = {"label": "face", "prompt": "face", "box_xyxy": tuple(map(float, box)), **fields}
    return TrackedObject(
        object_id=object_id,
        score=0.9,
        state=ObjectState.CONFIRMED,
        origin=MaskOrigin.FOLLOWED,
        rle=masks.encode_rle(mask),
        area_px=int(mask.sum()),
        **told,  # type: ignore[arg-type]  # fields by name
    )


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.asarray(np.hypot(columns - x, rows - y) <= radius)


def lossless(path: Path, image: Bytes, pixel_format: str) -> Path:
    """One frame, every pixel of the format's own grid as it is given; in gbrp as RGB."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("utvideo" if pixel_format == "gbrp" else "ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], pixel_format
        frame = av.VideoFrame(image.shape[1], image.shape[0], pixel_format)
        for number, plane in enumerate(frame.planes):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            down = -(-image.shape[0] // plane.height), -(-image.shape[1] // plane.width)
            rows[: plane.height, : plane.width] = image[:: down[0], :: down[1], number]
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def drawn(path: Path, spec: pb.RenderRule, frame: TrackedFrame) -> bytes:
    """The picture as it goes to the encoder."""
    reader = IndexedReader(path, index_video(path).index, prefetch_frames=0)
    (found,) = reader.planar_frames(0, 0)
    assert found is not None
    Drawing(rules_of([spec])).draw(found.planes, frame, Coverage())
    return b"".join(bytes(plane) for plane in found.sealed().planes)


@pytest.mark.parametrize("feather_px", [0, 4])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "gbrp"])
def test_solid_masking_is_proof(tmp_path: Path, pixel_format: str, feather_px: int) -> None:
    """Two files that differ only inside of the mask become the same picture, byte for byte."""
    mask = disc(30, 20, 11)
    rng = np.random.default_rng(1)
    one = rng.integers(20, 230, (HEIGHT, WIDTH, 3), np.uint8)
    other = one.copy()
    if pixel_format in ("yuv420p", "yuv422p"):
        # Samples that no pixel outside of the mask shares: what is outside does not differ.
        rows = 2 if pixel_format == "yuv420p" else 1
        inner = _whole_blocks(mask, rows)
        other[mask, 0] ^= 0x3F
        other[inner] ^= np.array([0, 0x1F, 0x2F], np.uint8)
    else:
        other[mask] ^= 0x3F
    spec = pb.RenderRule(effects=[live_pb2.Effect(name="solid")], feather_px=feather_px)
    frame = TrackedFrame(0, 0, (tracked(1, mask),))
    files = [
        lossless(tmp_path / f"{number}.avi", image, pixel_format)
        for number, image in enumerate((one, other))
    ]
    assert files[0].read_bytes() != files[1].read_bytes()
    first, second = (drawn(file, spec, frame) for file in files)
    assert first == second
    blurred = pb.RenderRule(effects=[live_pb2.Effect(name="blur")])
    assert drawn(files[0], blurred, frame) != drawn(files[1], blurred, frame)


def _whole_blocks(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Pixels whose block of `rows` x 2 lies wholly in the mask."""
    even = np.pad(mask, ((0, -HEIGHT % rows), (0, WIDTH % 2)), mode="edge")
    whole = even.reshape(even.shape[0] // rows, rows, even.shape[1] // 2, 2).all(axis=(1, 3))
    return np.asarray(whole.repeat(rows, axis=0).repeat(2, axis=1)[:HEIGHT, :WIDTH])


def grey() -> Planes:
    half = (HEIGHT + 1) // 2, (WIDTH + 1) // 2
    chroma = np.full(half, 128, np.uint8)
    return Planes(np.full((HEIGHT, WIDTH), 100, np.uint8), chroma, chroma.copy(), 6)


def effect(name: str, **fields: object) -> pb.RenderRule:
    return pb.RenderRule(effects=[live_pb2.Effect(name=name)], **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "shares"),
    [
        pytest.param([effect("blur")], (1.0, 1.0), id="all"),
        pytest.param([effect("solid", object_ids=[1])], (1.0, 0.5), id="half under another's"),
        pytest.param([effect("outline", object_ids=[2])], (0.5, 1.0), id="the other"),
        pytest.param([effect("cutout", object_ids=[1])], (0.0, 0.5), id="background"),
        pytest.param(
            [effect("cutout", object_ids=[1]), effect("blur", object_ids=[1])],
            (1.0, 1.0),
            id="background and object",
        ),
    ],
)
def test_coverage_is_what_was_covered(
    rules: list[pb.RenderRule], shares: tuple[float, float]
) -> None:
    one, two = np.zeros((2, HEIGHT, WIDTH), np.bool_)
    one[10:30, 10:30] = True
    two[10:30, 20:40] = True
    coverage = Coverage()
    frame = TrackedFrame(0, 0, (tracked(1, one), tracked(2, two)))
    Drawing(rules_of(rules)).draw(grey(), frame, coverage)
    assert tuple(coverage.of(n).share_sum for n in (1, 2)) == pytest.approx(shares)


def test_a_box_without_a_mask_is_drawn_on() -> None:
    planes, coverage = grey(), Coverage()
    lone = TrackedObject(
        *(4, "face", "face", 0.9, ObjectState.LOST, MaskOrigin.FOLLOWED), (10.0, 10.0, 20.0, 20.0)
    )
    rules = rules_of([effect("solid")])
    Drawing(rules).draw(planes, TrackedFrame(0, 0, (lone,)), coverage)
    assert (planes.y[10:20, 10:20] != 100).all()
    assert coverage.of(4).covered_frames == 1
    with pytest.raises(ValueError, match="RLE"):
        other = tracked(1, np.ones((8, 8), np.bool_))
        Drawing(rules).draw(grey(), TrackedFrame(0, 0, (other,)), coverage)


def test_coverage_goes_through_json_and_adds_up() -> None:
    one, two = Covered("face", "Ada"), Covered("face")
    one.add_frame(1.0, ["blur"], guarded=True)
    two.add_frame(0.25, ["solid", "blur"], guarded=False)
    extend(one.undecided, 3, 3)
    extend(two.undecided, 4, 6)
    first, second = Coverage({1: one}, [(1, 2)]), Coverage({1: two, 2: Covered()}, [(3, 3), (9, 9)])
    first = Coverage.from_json(first.to_json())
    first.merge(Coverage.from_json(second.to_json()))
    assert first.damaged == [(1, 3), (9, 9)]
    assert first.objects[1] == Covered(
        "face", "Ada", 2, 2, 1, 1.25, 0.25, ["blur", "solid"], [(3, 6)]
    )
