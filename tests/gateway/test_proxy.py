"""The services behind the gateway, reached at the gateway's address."""

from __future__ import annotations

import grpc
import pytest
from kinemask.v1 import (
    captioner_pb2,
    captioner_pb2_grpc,
    segmenter_pb2,
    segmenter_pb2_grpc,
    tracker_pb2,
    tracker_pb2_grpc,
)

from tests.gateway.live_kit import gateway, world
from tests.segmenter import segment_calls as calls
from tests.segmenter.box_engine import BoxEngine
from tests.stream_kit import StreamClient, code_of, eventually


async def test_a_stream_passes_both_ways() -> None:
    async with world() as w:
        stub = segmenter_pb2_grpc.SegmenterServiceStub(w.live.channel)
        client = StreamClient(stub.SegmentVideo, segmenter_pb2.SegmentVideoRequest)
        started = await client.open(calls.config())
        assert started.terms.service.engine == "boxes"
        await client.send(edit=calls.prompt(1, 0))
        await client.send(frame=calls.frame(0))
        replies = [await client.read(), await client.read()]
        assert {r.WhichOneof("message") for r in replies} == {"edit", "result"}
        assert await client.finish() == []


async def test_a_streams_error_passes_with_its_details() -> None:
    async with world() as w:
        stub = tracker_pb2_grpc.TrackerServiceStub(w.live.channel)
        client = StreamClient(stub.Track, tracker_pb2.TrackRequest)
        await client.send(config=tracker_pb2.TrackConfig(algorithm="nope"))
        status = await client.failure()
        assert code_of(status) is grpc.StatusCode.INVALID_ARGUMENT
        assert "kinetrack" in status.message
        assert status.details


async def test_a_client_that_goes_frees_the_stream_behind() -> None:
    async with world() as w:
        stub = segmenter_pb2_grpc.SegmenterServiceStub(w.live.channel)
        client = StreamClient(stub.SegmentVideo, segmenter_pb2.SegmentVideoRequest)
        await client.open(calls.config())
        await client.send(frame=calls.frame(0))
        await client.read("result")
        assert w.engine.controls.open_streams == 1
        client.call.cancel()
        await eventually(lambda: w.engine.controls.open_streams == 0)


async def test_a_service_that_was_not_configured_is_unimplemented() -> None:
    async with world() as w:
        stub = captioner_pb2_grpc.CaptionerServiceStub(w.live.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListModels(captioner_pb2.CaptionerServiceListModelsRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_service_that_is_down_is_unavailable() -> None:
    async with gateway(segmenter_addresses="127.0.0.1:1") as live:
        stub = segmenter_pb2_grpc.SegmenterServiceStub(live.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListModels(segmenter_pb2.SegmenterServiceListModelsRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("target", ["{}", "dns:///{}", "ipv4:{}"])
async def test_addresses_may_be_plain_or_targets(target: str) -> None:
    async with calls.segmenting(BoxEngine()) as behind:
        address = target.format(behind.server.address)
        async with gateway(segmenter_addresses=address) as live:
            stub = segmenter_pb2_grpc.SegmenterServiceStub(live.channel)
            reply = await stub.ListModels(segmenter_pb2.SegmenterServiceListModelsRequest())
            assert [m.name for m in reply.models] == ["boxes"]
