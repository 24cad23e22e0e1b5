"""What the gateway and the wire cost: the same engine with and without them.

    python -m benchmarks.live_overhead [--frames 150] [--rounds 3]

640x360 JPEG frames, one object. `direct` calls the engine in this process, as a program of one's
own would: decode, prepare, step, finish, frame after frame. `gateway` streams the same bytes to
LiveService and gets masks back, the gateway and the segmenter each in a process of its own. Rounds
alternate. Frames/s count a full window in flight; the added latency is the difference of the median
frame's way with one frame in flight at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence

import grpc
import numpy as np
from kinemask import images, wire
from kinemask.streaming import ContractStream
from kinemask.v1 import live_pb2, live_pb2_grpc, media_pb2
from kinemask_segmenter.engines.base import Prompt, SegmenterEngine
from kinemask_segmenter.engines.flow import FlowEngine

from benchmarks.harness import service_process
from benchmarks.moving import moving_frames, object_box

_WIDTH, _HEIGHT = 640, 360
_WINDOW = 8


async def run_direct(engine: SegmenterEngine, frames: Sequence[bytes]) -> list[float]:
    """Milliseconds each frame took in this process."""
    stream = engine.open_stream(_HEIGHT, _WIDTH)
    prompts = [Prompt(object_id=1, box_xyxy=object_box(_WIDTH, _HEIGHT))]
    spent_ms = []
    for frame_id, encoded in enumerate(frames):
        begun_s = time.perf_counter()
        prepared = stream.prepare(images.decode(encoded))
        raw = await stream.step(frame_id, prepared, prompts if frame_id == 0 else [])
        objects = stream.finish(raw)
        spent_ms.append((time.perf_counter() - begun_s) * 1e3)
        if not objects:
            raise RuntimeError("the engine lost the object")
    stream.close()
    return spent_ms


async def run_gateway(
    address: str, frames: Sequence[bytes], window: int
) -> tuple[float, list[float]]:
    """`(frames/s, milliseconds each frame took)` over one live stream with `window` in flight."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.http2.bdp_probe", 0)]) as channel:
        stub = live_pb2_grpc.LiveServiceStub(channel)
        config = live_pb2.StreamConfig(segment=live_pb2.SegmentStage(model="flow"))
        config.stream.window = _WINDOW
        stream = ContractStream(stub.Stream, live_pb2.StreamRequest, config)
        await stream.open()
        edit = live_pb2.StreamEdit(edit_id=1, frame_id=0)
        edit.prompt.object_id = 1
        edit.prompt.box.CopyFrom(wire.box_to_message(object_box(_WIDTH, _HEIGHT)))
        await stream.send_edit(edit)
        begun_s = time.perf_counter()
        spent_ms = await _stream(stream, frames, window)
        total_s = time.perf_counter() - begun_s
        await stream.close()
    return len(frames) / total_s, spent_ms


async def _stream(stream: ContractStream, frames: Sequence[bytes], window: int) -> list[float]:
    free = asyncio.Semaphore(window)
    spent_ms: list[float] = []
    answers = []
    for frame_id, encoded in enumerate(frames):
        await free.acquire()
        begun_s = time.perf_counter()
        image = media_pb2.Image(encoded=encoded)
        answer = await stream.send_frame(media_pb2.Frame(frame_id=frame_id, image=image))

        def answered(done: asyncio.Future[live_pb2.StreamResult], begun_s: float = begun_s) -> None:
            for entry in done.result().objects:
                if entry.HasField("mask"):
                    wire.mask_from_message(entry.mask)
            spent_ms.append((time.perf_counter() - begun_s) * 1e3)
            free.release()

        answer.add_done_callback(answered)
        answers.append(answer)
    await asyncio.gather(*answers)
    return spent_ms


def measure(frames: Sequence[bytes], rounds: int) -> dict[str, float]:
    """The figures, medians over alternating rounds."""
    engine = FlowEngine()
    engine.warm_up()
    direct_fps, gateway_fps, direct_ms, gateway_ms = [], [], [], []
    with (
        service_process("kinemask_segmenter") as (segmenter, _),
        service_process("kinemask_gateway", {"KINEMASK_SEGMENTER_ADDRESSES": segmenter}) as (
            gateway,
            _,
        ),
    ):
        asyncio.run(run_gateway(gateway, frames[:20], _WINDOW))  # first-call costs
        asyncio.run(run_direct(engine, frames[:20]))
        for _ in range(rounds):
            spent_ms = asyncio.run(run_direct(engine, frames))
            direct_fps.append(1e3 * len(frames) / sum(spent_ms))
            direct_ms.append(statistics.median(spent_ms))
            gateway_fps.append(asyncio.run(run_gateway(gateway, frames, _WINDOW))[0])
            gateway_ms.append(statistics.median(asyncio.run(run_gateway(gateway, frames, 1))[1]))
    engine.close()
    ratios = np.array(gateway_fps) / np.array(direct_fps)
    added_ms = np.array(gateway_ms) - np.array(direct_ms)
    return {
        "direct_fps": round(statistics.median(direct_fps), 2),
        "gateway_fps": round(statistics.median(gateway_fps), 2),
        "ratio": round(float(np.median(ratios)), 3),
        "added_p50_ms": round(float(np.median(added_ms)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=150, help="frames a round (default: 150)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    options = parser.parse_args()
    frames = [images.encode_jpeg(f) for f in moving_frames(options.frames, _WIDTH, _HEIGHT)]
    print(json.dumps(measure(frames, options.rounds)))


if __name__ == "__main__":
    main()
