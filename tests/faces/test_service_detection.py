"""DetectFaces, VerifyFaces and ListModels on a running service."""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from kinemask.v1 import faces_pb2, faces_pb2_grpc, media_pb2
from kinemask_chassis import errors
from kinemask_faces.engines.onnx_files import WrongWeightsError
from kinemask_faces.service import FacesService
from kinemask_faces.settings import FacesSettings
from PIL import Image as PillowImage

from tests.faces.faces_kit import ALICE, BOB, DiscModel, drawn, sent, serving_faces, source

if TYPE_CHECKING:
    Stub = faces_pb2_grpc.FacesServiceAsyncStub
TWO = drawn((BOB, (60, 80), 30), (ALICE, (220, 120), 50))
ONE = drawn((ALICE, (100, 100), 40))
NONE = drawn()
PALE = drawn(((250, 240, 230), (100, 100), 40))


@pytest.fixture
def model() -> DiscModel:
    return DiscModel()


@pytest.fixture
async def stub(model: DiscModel) -> AsyncIterator[Stub]:
    async with serving_faces(model, max_pixels=100_000, faces_max_delay_ms=200) as stub:
        yield stub


def reason(error: grpc.aio.AioRpcError) -> str:
    """The ErrorInfo's."""
    return errors.from_status(errors.status_from_exception(error)).reason


def encoded(picture: PillowImage.Image, kind: str, **options: object) -> media_pb2.Image:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return media_pb2.Image(encoded=buffer.getvalue())


async def detected(stub: Stub, *images: media_pb2.Image, **fields: object) -> list[faces_pb2.Face]:
    request = faces_pb2.DetectFacesRequest(images=images, **fields)  # type: ignore[arg-type]  # whatever a test names
    [result] = (await stub.DetectFaces(request)).results
    assert not result.HasField("error"), result.error
    return list(result.faces)


async def test_faces_come_largest_first_with_everything_known(stub: Stub) -> None:
    large, small = await detected(stub, sent(TWO), include_embeddings=True)
    assert large.box.x_min == pytest.approx(170) and small.box.x_max == pytest.approx(91)
    assert large.quality.size_px == pytest.approx(101) and len(large.landmarks) == 5
    assert np.linalg.norm(large.embedding) == pytest.approx(1, abs=1e-5)
    assert np.dot(large.embedding, small.embedding) < 0.9


async def test_embeddings_are_only_made_where_they_are_asked_for(
    stub: Stub, model: DiscModel
) -> None:
    [face] = await detected(stub, sent(ONE))
    assert not face.embedding and model.embedded == []


async def test_all_faces_of_several_requests_are_one_inference(
    stub: Stub, model: DiscModel
) -> None:
    calls = [detected(stub, sent(TWO), include_embeddings=True) for _ in range(3)]
    assert [len(faces) for faces in await asyncio.gather(*calls)] == [2, 2, 2]
    assert model.detected == [3] and model.embedded == [6]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        pytest.param({}, 2, id="both by default"),
        pytest.param({"max_faces": 1}, 1, id="only the largest"),
        pytest.param({"min_face_px": 80}, 1, id="only the large one"),
        pytest.param({"score_threshold": 0.95}, 0, id="none is so sure"),
    ],
)
async def test_what_counts_as_a_face(stub: Stub, options: dict[str, float], count: int) -> None:
    asked = faces_pb2.FaceDetectOptions(**options)  # type: ignore[arg-type]  # floats and ints as the field wants
    assert len(await detected(stub, sent(TWO), options=asked)) == count


@pytest.mark.parametrize(
    ("image", "count"),
    [
        pytest.param(sent(NONE), 0, id="no face"),
        pytest.param(sent(np.zeros((1, 1, 3), np.uint8)), 0, id="one pixel"),
        pytest.param(encoded(PillowImage.fromarray(PALE).convert("L"), "PNG"), 1, id="grey"),
        pytest.param(encoded(PillowImage.fromarray(PALE).convert("RGBA"), "PNG"), 1, id="alpha"),
        pytest.param(
            encoded(PillowImage.fromarray(np.full((90, 90), 60_000, np.uint16)), "PNG"),
            1,
            id="16 bit",
        ),
    ],
)
async def test_pictures_of_every_kind(stub: Stub, image: media_pb2.Image, count: int) -> None:
    assert len(await detected(stub, image)) == count


async def test_a_turned_picture_is_looked_at_upright(stub: Stub) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise is wanted
    image = encoded(PillowImage.fromarray(ONE), "PNG", exif=exif)
    response = await stub.DetectFaces(faces_pb2.DetectFacesRequest(images=[image]))
    [result] = response.results
    assert (result.width, result.height) == (240, 320)


async def test_a_bad_picture_does_not_cost_the_others(stub: Stub) -> None:
    huge = encoded(PillowImage.new("L", (12_000, 12_000)), "PNG")
    images = [media_pb2.Image(encoded=b"no picture"), huge, sent(ONE)]
    response = await stub.DetectFaces(faces_pb2.DetectFacesRequest(images=images))
    broken, large, good = response.results
    assert broken.error.code == large.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "images[0]" in broken.error.message and "images[1]" in large.error.message
    assert len(good.faces) == 1 and response.service.model == "discs"


@pytest.mark.parametrize("threshold", [math.nan, 2.0, -2.0])
async def test_a_threshold_that_is_none_is_refused(stub: Stub, threshold: float) -> None:
    request = faces_pb2.VerifyFacesRequest(
        first=source(ONE), second=source(ONE), threshold=threshold
    )
    with pytest.raises(grpc.aio.AioRpcError, match="threshold") as caught:
        await stub.VerifyFaces(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("second", "same"),
    [
        pytest.param(source(drawn((ALICE, (200, 150), 25))), True, id="the same colour"),
        pytest.param(source(drawn((BOB, (100, 100), 40))), False, id="another"),
        pytest.param(source(TWO), True, id="the largest of two"),
        pytest.param(
            source(TWO, box=media_pb2.Box(x_min=20, y_min=40, x_max=100, y_max=120)),
            False,
            id="the one at the box",
        ),
    ],
)
async def test_verification(stub: Stub, second: faces_pb2.FaceSource, same: bool) -> None:
    request = faces_pb2.VerifyFacesRequest(first=source(ONE), second=second)
    response = await stub.VerifyFaces(request)
    assert response.same == same and response.threshold == pytest.approx(0.9)
    assert (response.similarity > 0.99) == same


@pytest.mark.parametrize(
    ("second", "wanted"),
    [
        pytest.param(source(NONE), "NO_FACE", id="no face"),
        pytest.param(source(TWO, choice=faces_pb2.FACE_CHOICE_ONLY), "SEVERAL_FACES", id="two"),
        pytest.param(
            source(TWO, box=media_pb2.Box(x_min=0, y_min=200, x_max=30, y_max=230)),
            "NO_FACE",
            id="none at the box",
        ),
        pytest.param(
            source(TWO, box=media_pb2.Box(x_min=400, y_min=0, x_max=500, y_max=50)),
            "OUTSIDE_FRAME",
            id="a box outside",
        ),
    ],
)
async def test_a_picture_without_a_usable_face_is_named(
    stub: Stub, second: faces_pb2.FaceSource, wanted: str
) -> None:
    request = faces_pb2.VerifyFacesRequest(first=source(ONE), second=second)
    with pytest.raises(grpc.aio.AioRpcError, match="second") as caught:
        await stub.VerifyFaces(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == wanted


@pytest.mark.parametrize(
    ("name", "code", "wanted"),
    [
        pytest.param("eigen", grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL", id="unknown"),
        pytest.param(
            "yunet-sface", grpc.StatusCode.FAILED_PRECONDITION, "WEIGHTS_MISSING", id="no weights"
        ),
    ],
)
async def test_a_model_that_is_not_there(
    stub: Stub, name: str, code: grpc.StatusCode, wanted: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.DetectFaces(faces_pb2.DetectFacesRequest(images=[sent(ONE)], model=name))
    assert caught.value.code() is code and reason(caught.value) == wanted


async def test_models_are_listed_with_those_that_are_missing(stub: Stub) -> None:
    response = await stub.ListModels(faces_pb2.FacesServiceListModelsRequest())
    ready, missing = response.models
    assert ready.name == "discs" and ready.ready and ready.is_default
    assert not missing.ready and missing.reason == "name the file"


async def test_what_needs_a_gallery_says_that_there_are_none(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateGallery(faces_pb2.CreateGalleryRequest())
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason(caught.value) == "NO_GALLERIES"


def test_wrong_weights_refuse_to_start(tmp_path: Path) -> None:
    path = tmp_path / "sface.onnx"
    path.write_bytes(b"something else")
    with pytest.raises(WrongWeightsError, match=r"expected SHA-256 0ba9fbfa.* found"):
        FacesService(FacesSettings(port=0, faces_sface=path))
