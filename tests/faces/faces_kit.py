"""A face model whose faces are coloured discs, and a running service of it.

The colour is the identity: equal colours have equal vectors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import cv2
import grpc
import numpy as np
from kinemask import wire
from kinemask.v1 import faces_pb2, faces_pb2_grpc, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.server import running
from kinemask_faces.engines.base import (
    DetectedFace,
    Embeddings,
    FaceModelInfo,
    Image,
    Landmarks,
)
from kinemask_faces.engines.registry import FaceModels, Missing
from kinemask_faces.service import FacesService
from kinemask_faces.settings import FacesSettings

HEIGHT, WIDTH = 240, 320
ALICE, BOB = (220, 40, 40), (40, 40, 220)
_MARKS = np.array([[-0.35, -0.2], [0.35, -0.2], [0, 0.12], [-0.27, 0.4], [0.27, 0.4]])


class DiscModel:
    """A `FaceModel`; remembers how many faces each call of `embed` had."""

    def __init__(self, name: str = "discs") -> None:
        self.info = FaceModelInfo(name, "test", "0" * 16, 3, "cpu", 0.9, 0.8, 0.5)
        self.embedded: list[int] = []
        self.detected: list[int] = []

    def warm_up(self) -> None:
        """Nothing to do."""

    def detect(self, images: Sequence[Image], score_threshold: float) -> list[list[DetectedFace]]:
        self.detected.append(len(images))
        return [_discs(image) if score_threshold <= 0.9 else [] for image in images]

    def align(self, image: Image, landmarks_xy: Landmarks) -> Image:
        x, y = landmarks_xy.mean(axis=0).round().astype(int)
        return np.tile(image[y, x], (8, 8, 1))

    def embed(self, aligned: Sequence[Image]) -> Embeddings:
        self.embedded.append(len(aligned))
        colours = np.array([cut[0, 0] for cut in aligned], np.float32).reshape(-1, 3)
        return np.asarray(colours / np.linalg.norm(colours, axis=1, keepdims=True), np.float32)

    def close(self) -> None:
        """Nothing is held."""


def _discs(image: Image) -> list[DetectedFace]:
    lit = (image.max(axis=2) > 100).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(lit)
    faces = []
    for left, top, width, height, _ in sorted(stats[1:].tolist(), key=lambda row: -row[4]):
        # A disc that is cut by the left border has its landmarks where the whole one would.
        across = height if left == 0 else width
        middle = np.array([left + width - across / 2, top + height / 2])
        marks = (middle + _MARKS * [across / 2, height / 2]).astype(np.float32)
        box = (float(left), float(top), float(left + width), float(top + height))
        faces.append(DetectedFace(box, 0.9, marks))
    return faces


def drawn(*discs: tuple[tuple[int, int, int], tuple[int, int], int]) -> np.ndarray:
    """A dark picture with discs of (colour, middle, radius)."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for colour, middle, radius in discs:
        cv2.circle(picture, middle, radius, colour, -1)
    return picture


def sent(picture: np.ndarray) -> media_pb2.Image:
    """As a message, exact to the pixel."""
    return wire.image_to_message(picture, jpeg_quality=None)


def source(picture: np.ndarray, **fields: object) -> faces_pb2.FaceSource:
    return faces_pb2.FaceSource(image=sent(picture), **fields)  # type: ignore[arg-type]  # whatever a test names


@asynccontextmanager
async def serving_faces(
    model: DiscModel, **settings: float | str
) -> AsyncIterator[faces_pb2_grpc.FacesServiceAsyncStub]:
    """A service on a free port until the block ends; without galleries unless told."""
    missing = Missing("yunet-sface", "WEIGHTS_MISSING", "name the file")
    service = FacesService(
        FacesSettings(port=0, **{"faces_galleries": "off", **settings}),  # type: ignore[arg-type]  # whatever a test names
        FaceModels({model.info.name: model}, (missing,)),
    )
    async with (
        running(service) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield faces_pb2_grpc.FacesServiceStub(channel)


CAROL = (40, 220, 40)
GALLERY = "friends"


def one_disc(colour: tuple[int, int, int], radius: int = 40) -> np.ndarray:
    """A picture of one person."""
    return drawn((colour, (100, 100), radius))


def sample(picture: np.ndarray, **fields: object) -> faces_pb2.SampleInput:
    """What is to be enrolled."""
    return faces_pb2.SampleInput(face=source(picture), **fields)  # type: ignore[arg-type]  # whatever a test names


class Friends:
    """A gallery on a running service, and the calls that fill it."""

    def __init__(self, stub: faces_pb2_grpc.FacesServiceAsyncStub) -> None:
        self.stub = stub

    async def make(self, **people: tuple[int, int, int]) -> Friends:
        """The gallery, with one picture of each person; ids are the names."""
        await self.stub.CreateGallery(faces_pb2.CreateGalleryRequest(gallery_id=GALLERY))
        for name, colour in people.items():
            await self.add(name)
            [outcome] = await self.enrol(name, sample(one_disc(colour)))
            assert outcome.HasField("accepted"), outcome
        return self

    async def add(self, name: str) -> faces_pb2.Person:
        request = faces_pb2.CreatePersonRequest(
            gallery_id=GALLERY, person_id=name, display_name=name.title()
        )
        return (await self.stub.CreatePerson(request)).person

    async def enrol(
        self, person_id: str, *samples: faces_pb2.SampleInput, request_id: str = ""
    ) -> list[faces_pb2.SampleOutcome]:
        request = faces_pb2.EnrolSamplesRequest(
            gallery_id=GALLERY, person_id=person_id, samples=samples, request_id=request_id
        )
        return list((await self.stub.EnrolSamples(request)).outcomes)

    async def recognise(
        self, *pictures: np.ndarray, request_id: str = "", **options: object
    ) -> list[faces_pb2.RecognisedFace]:
        """The faces of all pictures, in order."""
        request = faces_pb2.RecogniseRequest(
            images=map(sent, pictures),
            options=faces_pb2.RecogniseOptions(gallery_id=GALLERY, **options),  # type: ignore[arg-type]  # whatever a test names
            request_id=request_id,
        )
        return [
            face for found in (await self.stub.Recognise(request)).results for face in found.faces
        ]

    async def people(self, **fields: object) -> list[faces_pb2.Person]:
        request = faces_pb2.ListPeopleRequest(gallery_id=GALLERY, **fields)  # type: ignore[arg-type]  # whatever a test names
        return list((await self.stub.ListPeople(request)).people)

    async def samples(self) -> list[faces_pb2.FaceSample]:
        request = faces_pb2.ListSamplesRequest(gallery_id=GALLERY, page_size=1000)
        return list((await self.stub.ListSamples(request)).samples)


def reason(error: grpc.aio.AioRpcError) -> str:
    """The ErrorInfo's."""
    return errors.from_status(errors.status_from_exception(error)).reason
