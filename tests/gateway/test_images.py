"""ImageService.Analyze: every part, alone and together, with services that fail or are absent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from kinemask import images, wire
from kinemask.v1 import (
    captioner_pb2,
    detector_pb2,
    faces_pb2,
    images_pb2,
    images_pb2_grpc,
    live_pb2,
    media_pb2,
    segmenter_pb2,
    videos_pb2,
)
from kinemask_chassis import errors

from tests.captioner.caption_calls import captioning
from tests.captioner.grey_engine import GreyEngine
from tests.gateway.library_kit import library_gateway
from tests.gateway.live_kit import HEIGHT, WIDTH, World, gateway, world
from tests.postgres_kit import Postgres
from tests.stream_kit import code_of, details_of, reason_of, status_of

Code = grpc.StatusCode
BOXES = [(10.0, 10.0, 20.0, 20.0), (40.0, 20.0, 60.0, 50.0)]
GREY = 7
DETECT = detector_pb2.DetectOptions(prompts=["thing"])
INSTANCES = images_pb2.InstancesOptions(detect=DETECT)
OBJECT = images_pb2.LabelledObjectOptions(label="thing")
PROMPT = segmenter_pb2.ObjectPrompt(object_id=5, box=wire.box_to_message((4, 4, 14, 14)))
SEGMENT = images_pb2.SegmentOptions(prompts=[PROMPT])
CAPTION = captioner_pb2.CaptionOptions(text="a picture,")


def picture(grey: int = GREY) -> media_pb2.Image:
    image = np.full((HEIGHT, WIDTH, 3), grey, np.uint8)
    return wire.image_to_message(image, jpeg_quality=None)


@dataclass
class Analyses:
    """Calls on a gateway with a detector, a segmenter and a captioner behind it."""

    world: World
    stub: Any
    """An ImageServiceStub: its attributes are made at run time, and differ between sync and aio."""

    async def ask(self, **request: Any) -> images_pb2.AnalyzeResponse:
        asked = images_pb2.AnalyzeRequest(**{"image": picture(), **request})
        answer: images_pb2.AnalyzeResponse = await self.stub.Analyze(asked, timeout=30)
        return answer


@asynccontextmanager
async def analyses() -> AsyncIterator[Analyses]:
    async with AsyncExitStack() as stack:
        captioner = await stack.enter_async_context(captioning(GreyEngine()))
        address = captioner.server.address
        w = await stack.enter_async_context(world(lambda _: BOXES, captioner_addresses=address))
        yield Analyses(w, images_pb2_grpc.ImageServiceStub(w.live.channel))


async def test_every_part_that_is_asked_for_is_answered_and_no_other() -> None:
    async with analyses() as a:
        found = await a.ask(
            detect=DETECT, segment=SEGMENT, instances=INSTANCES, object=OBJECT, caption=CAPTION
        )
        assert (found.width, found.height) == (WIDTH, HEIGHT)
        assert [wire.box_from_message(d.box) for d in found.detect.detections] == BOXES
        assert found.detect.service.engine == "scripted"
        assert [result.object_id for result in found.segment.results] == [5]
        assert found.segment.service.service == "segmenter"
        assert found.caption.caption.caption == "a picture, grey 7"
        assert found.caption.service.service == "captioner"
        assert not found.HasField("everything") and not found.HasField("faces")
        assert not found.HasField("annotated") and not found.HasField("frame_index")
        assert found.timing.infer_ms > 0


async def test_instances_are_detections_with_their_masks() -> None:
    async with analyses() as a:
        found = (await a.ask(instances=INSTANCES)).instances
        assert [wire.box_from_message(one.detection.box) for one in found.instances] == BOXES
        assert [one.mask.object_id for one in found.instances] == [1, 2]
        for one, (x_min, y_min, x_max, y_max) in zip(found.instances, BOXES, strict=True):
            assert one.mask.area_px == (x_max - x_min) * (y_max - y_min)
        assert (found.detector.service, found.segmenter.service) == ("detector", "segmenter")


async def test_more_instances_than_the_segmenter_takes_at_once() -> None:
    boxes = [(float(n % 80), 5.0, n % 80 + 4.0, 9.0) for n in range(300)]
    async with world(lambda _: boxes) as w:
        stub: Any = images_pb2_grpc.ImageServiceStub(w.live.channel)
        request = images_pb2.AnalyzeRequest(image=picture(), instances=INSTANCES)
        found = (await stub.Analyze(request)).instances
        assert [one.mask.object_id for one in found.instances] == [*range(1, 301)]
        assert [wire.box_from_message(one.mask.box) for one in found.instances] == boxes


@pytest.mark.parametrize(("rank", "expected"), [(0, BOXES[:1]), (1, BOXES[1:]), (2, [])])
async def test_one_object_by_label_and_rank(rank: int, expected: list[tuple[float, ...]]) -> None:
    async with analyses() as a:
        asked = images_pb2.LabelledObjectOptions(label="thing", rank=rank)
        found = (await a.ask(object=asked)).object
        assert [wire.box_from_message(one.mask.box) for one in found.instances] == expected
        assert not found.HasField("error")


async def test_part_that_fails_costs_only_its_own_answer() -> None:
    async with analyses() as a:
        a.world.detector.failing = errors.exhausted("busy", "QUEUE_FULL", 2.0)
        found = await a.ask(
            detect=DETECT,
            instances=INSTANCES,
            segment=SEGMENT,
            faces=images_pb2.FacesOptions(),
            caption=captioner_pb2.CaptionOptions(model="nobody"),
        )
        for failed in (found.detect.error, found.instances.error):
            assert (code_of(failed), reason_of(failed)) == (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert code_of(found.faces.error) is Code.UNAVAILABLE
        assert reason_of(found.caption.caption.error) == "UNKNOWN_MODEL"
        assert len(found.segment.results) == 1 and not found.segment.HasField("error")


async def test_unavailable_only_if_every_part_is() -> None:
    async with gateway() as live:
        stub: Any = images_pb2_grpc.ImageServiceStub(live.channel)
        request = images_pb2.AnalyzeRequest(image=picture(), detect=DETECT, caption=CAPTION)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Analyze(request)
        status = status_of(refused.value)
        assert (code_of(status), reason_of(status)) == (Code.UNAVAILABLE, "ALL_PARTS_DOWN")
        assert details_of(status, error_details_pb2.RetryInfo).retry_delay.ToSeconds() >= 1


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        pytest.param({}, "request", id="no part"),
        pytest.param({"annotated": images_pb2.AnnotatedOptions()}, "request", id="only a drawing"),
        pytest.param(
            {"image": media_pb2.Image(encoded=b"no picture"), "detect": DETECT},
            "image",
            id="picture",
        ),
        pytest.param(
            {
                "segment": images_pb2.SegmentOptions(
                    prompts=[
                        PROMPT,
                        segmenter_pb2.ObjectPrompt(points=[media_pb2.Point(x=WIDTH + 5, y=1)]),
                    ]
                )
            },
            "segment.prompts[1].points[0]",
            id="point outside",
        ),
        pytest.param(
            {
                "detect": DETECT,
                "annotated": images_pb2.AnnotatedOptions(effects=[live_pb2.Effect(name="glow")]),
            },
            "annotated.effects[0]",
            id="unknown effect",
        ),
        pytest.param(
            {
                "faces": images_pb2.FacesOptions(
                    recognise=faces_pb2.RecogniseOptions(
                        gallery_id="g", enrol_strangers=faces_pb2.StrangerOptions()
                    )
                )
            },
            "faces.recognise.enrol_strangers",
            id="would change a gallery",
        ),
    ],
)
async def test_bad_request_is_refused_before_any_service_is_asked(
    request_fields: dict[str, Any], field: str
) -> None:
    async with analyses() as a:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await a.ask(**request_fields)
        status = status_of(refused.value)
        assert code_of(status) is Code.INVALID_ARGUMENT
        violations = details_of(status, error_details_pb2.BadRequest).field_violations
        assert [violation.field for violation in violations] == [field]
        assert a.world.detector.seen == []


@pytest.mark.parametrize("encoding", ["RLE", "NONE"])
async def test_answers_are_drawn_into_the_picture(encoding: str) -> None:
    async with analyses() as a:
        found = await a.ask(
            instances=INSTANCES,
            annotated=images_pb2.AnnotatedOptions(
                effects=[live_pb2.Effect(name="solid", color_rgb=0x00FF00)],
                hide_labels=True,
                format=videos_pb2.PICTURE_FORMAT_PNG,
            ),
            mask_encoding=media_pb2.MaskEncoding.Value(f"MASK_ENCODING_{encoding}"),
        )
        drawn = images.decode(found.annotated.encoded)
        expected = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
        for x_min, y_min, x_max, y_max in BOXES:
            expected[int(y_min) : int(y_max), int(x_min) : int(x_max)] = (0, 255, 0)
        np.testing.assert_array_equal(drawn, expected)
        with_masks = [one.mask.HasField("mask") for one in found.instances.instances]
        assert with_masks == [encoding == "RLE"] * 2


async def test_boxes_and_labels_are_drawn_unless_hidden() -> None:
    async with analyses() as a:
        plain = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)

        async def changed(**options: Any) -> int:
            png = videos_pb2.PICTURE_FORMAT_PNG
            annotated = images_pb2.AnnotatedOptions(format=png, **options)
            found = await a.ask(detect=DETECT, annotated=annotated)
            drawn = images.decode(found.annotated.encoded)
            return int((drawn != plain).any(axis=2).sum())

        both, boxes = await changed(), await changed(hide_labels=True)
        assert both > boxes > 0
        assert await changed(hide_boxes=True) > 0
        assert await changed(hide_labels=True, hide_boxes=True) == 0


async def test_frame_of_a_stored_video_is_analysed(
    postgres: Postgres, tmp_path: Path, clip_bytes: bytes
) -> None:
    async with (
        captioning(GreyEngine()) as captioner,
        library_gateway(
            postgres.new_database(),
            tmp_path / "data",
            captioner_addresses=captioner.server.address,
        ) as calls,
    ):
        video = await calls.add(clip_bytes)
        stub: Any = images_pb2_grpc.ImageServiceStub(calls.channel)

        async def asked(video_id: str, **selector: Any) -> images_pb2.AnalyzeResponse:
            frame = videos_pb2.VideoFrame(
                video_id=video_id, frame=videos_pb2.FrameSelector(**selector)
            )
            request = images_pb2.AnalyzeRequest(video_frame=frame, caption=CAPTION)
            answer: images_pb2.AnalyzeResponse = await stub.Analyze(request)
            return answer

        found = await asked(video.video_id, frame_index=12)
        assert (found.frame_index, found.width, found.height) == (12, 96, 64)
        assert found.HasField("time_us") and found.caption.caption.caption
        seed = videos_pb2.RandomFrame(seed=3)
        first, again = [await asked(video.video_id, random=seed) for _ in range(2)]
        assert first.frame_index == again.frame_index
        for video_id, number, code in (
            (video.video_id, 30, Code.OUT_OF_RANGE),
            ("nobody", 0, Code.NOT_FOUND),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await asked(video_id, frame_index=number)
            assert refused.value.code() is code


async def test_without_a_library_stored_videos_are_no_source() -> None:
    async with analyses() as a:
        frame = videos_pb2.VideoFrame(video_id="v", frame=videos_pb2.FrameSelector(frame_index=0))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await a.stub.Analyze(images_pb2.AnalyzeRequest(video_frame=frame, detect=DETECT))
        assert reason_of(status_of(refused.value)) == "NO_LIBRARY"
