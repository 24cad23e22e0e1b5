"""Annotation sessions on made videos, over a real gateway, segmenter and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from kinemask import wire
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import annotations_pb2_grpc, media_pb2, segmenter_pb2, videos_pb2
from kinemask_segmenter.engines.base import (
    Image,
    ImageMasks,
    Prompt,
    SegmenterEngine,
)
from numpy.typing import NDArray

from tests.gateway.color_engine import NEAR, ColorEngine, color_at
from tests.gateway.following_kit import COLORS, HEIGHT, WIDTH, Thing, made, moving
from tests.gateway.library_kit import LibraryCalls, library_gateway
from tests.segmenter.box_engine import object_mask
from tests.segmenter.segment_calls import SegmentCalls, segmenting

FRAMES = 40
THINGS = (Thing(moving(4, 10, 1.0)), Thing(moving(60, 40, -0.5), color=COLORS[1]))
Mask = NDArray[np.bool_]


@dataclass
class PictureColors(ColorEngine):
    """Follows colours, and finds them on single pictures too: those before a point or in a mask."""

    pictures: int = 0
    """Pictures that were segmented."""

    def __post_init__(self) -> None:
        ColorEngine.__init__(self)

    async def segment_image(
        self, image: Image, prompts: Sequence[Prompt], candidates: int
    ) -> ImageMasks:
        self.pictures += 1
        found = []
        for prompt in prompts:
            away = np.abs(image.astype(int) - np.array(color_at(image, prompt))).max(axis=2)
            mask = away <= NEAR
            if prompt.mask is not None:
                mask |= prompt.mask
            for (x, y), positive in zip(prompt.points_xy, prompt.positive, strict=True):
                if not positive:  # a click beside the object takes its column away
                    mask[:, int(x)] = False
                del y
            found.append([object_mask(prompt.object_id, mask, 0.75)])
        return ImageMasks(found)


@dataclass
class Desk:
    """A gateway and the segmenter behind it."""

    library: LibraryCalls
    segmenter: SegmentCalls
    engine: Any
    stop_segmenter: Callable[[], Awaitable[None]]
    stub: Any = field(init=False)

    def __post_init__(self) -> None:
        self.stub = annotations_pb2_grpc.AnnotationServiceStub(self.library.channel)

    async def session(self, video_id: str, **fields: Any) -> str:
        request = pb.CreateSessionRequest(video_id=video_id, **fields)
        return str((await self.stub.CreateSession(request)).session.session_id)

    async def get(self, session_id: str) -> pb.Session:
        answer = await self.stub.GetSession(pb.GetSessionRequest(session_id=session_id))
        return answer.session  # type: ignore[no-any-return]  # the stub has no types

    async def say(
        self, session_id: str, frame: int, *prompts: segmenter_pb2.ObjectPrompt, **fields: Any
    ) -> pb.AddPromptsResponse:
        request = pb.AddPromptsRequest(
            session_id=session_id, frame_index=frame, prompts=prompts, **fields
        )
        return await self.stub.AddPrompts(request)  # type: ignore[no-any-return]  # as above

    async def propagate(
        self, session_id: str, first: int | None = None, last: int | None = None, **fields: Any
    ) -> list[pb.PropagateResponse]:
        wanted = videos_pb2.FrameRange(first_frame_index=first, last_frame_index=last)
        request = pb.PropagateRequest(session_id=session_id, range=wanted, **fields)
        return [answer async for answer in self.stub.Propagate(request)]

    async def masks(self, session_id: str, **fields: Any) -> dict[int, pb.SessionFrame]:
        request = pb.GetMasksRequest(session_id=session_id, **fields)
        return {
            answer.frame.frame_index: answer.frame async for answer in self.stub.GetMasks(request)
        }


@asynccontextmanager
async def desk(
    url: str,
    data_dir: Path,
    engine: SegmenterEngine | None = None,
    *,
    also: str = "",
    **settings: Any,
) -> AsyncIterator[Desk]:
    """Everything that sessions need, in this process; `also`: another segmenter's address."""
    chosen = engine or PictureColors()
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(AsyncExitStack())
        segmenter = await behind.enter_async_context(segmenting(chosen))
        address = ",".join(filter(None, (segmenter.server.address, also)))
        library = await stack.enter_async_context(
            library_gateway(url, data_dir, segmenter_addresses=address, **settings)
        )
        yield Desk(library, segmenter, chosen, behind.aclose)


def film(folder: Path, frames: int = FRAMES, things: Sequence[Thing] = THINGS) -> bytes:
    """A lossless video of two squares that move."""
    return made(folder, frames, things)


def truth(thing: Thing, frame: int) -> Mask:
    """Where a thing is."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    box = thing.visible(frame)
    if box is not None:
        mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def center(thing: Thing, frame: int) -> tuple[float, float]:
    box = thing.visible(frame)
    assert box is not None
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def click(x: float, y: float, object_id: int = 0, negative: bool = False) -> Any:
    point = media_pb2.Point(x=x, y=y, negative=negative)
    return segmenter_pb2.ObjectPrompt(object_id=object_id, points=[point])


def click_on(thing: Thing, frame: int, object_id: int = 0) -> segmenter_pb2.ObjectPrompt:
    """A click in the middle of a thing."""
    return click(*center(thing, frame), object_id)  # type: ignore[no-any-return]  # it is one


def drawn(mask: Mask, object_id: int = 0) -> segmenter_pb2.ObjectPrompt:
    """A mask by hand."""
    return segmenter_pb2.ObjectPrompt(object_id=object_id, mask=wire.mask_to_message(mask))


def pixels(mask: segmenter_pb2.ObjectMask) -> Mask:
    """An answered mask; all False where there is none."""
    if not mask.HasField("mask"):
        return np.zeros((HEIGHT, WIDTH), np.bool_)
    return wire.mask_from_message(mask.mask)


def by_id(objects: Sequence[segmenter_pb2.ObjectMask]) -> dict[int, Mask]:
    return {entry.object_id: pixels(entry) for entry in objects}


class Refused:
    """What a call was refused with."""

    code: grpc.StatusCode
    reason: str
    message: str


@asynccontextmanager
async def refusal() -> AsyncIterator[Refused]:
    """A block that must be refused."""
    told = Refused()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield told
    told.code, told.message = caught.value.code(), str(caught.value.details())
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]  # it has what is read
    info = ErrorInfo()
    if status is not None:
        for detail in status.details:
            detail.Unpack(info)
    told.reason = info.reason
