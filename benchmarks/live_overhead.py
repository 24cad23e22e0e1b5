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

import kinemask
import numpy as np
from kinemask import images
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
    client: kinemask.AsyncClient, frames: Sequence[bytes], in_flight: int
) -> tuple[float, list[float]]:
    """`(frames/s, milliseconds each frame took)` over one live stream."""
    config = kinemask.LiveConfig(segment=kinemask.SegmentStage(model="flow"))
    options = kinemask.StreamOptions(window=_WINDOW)
    sent_s: list[float] = []
    spent_ms: list[float] = []
    free = asyncio.Semaphore(in_flight)

    async def send(stream: kinemask.AsyncLiveStream) -> None:
        for encoded in frames:
            await free.acquire()
            sent_s.append(time.perf_counter())
            await stream.send(encoded)
        await stream.finish()

    async with client.live(config, options=options) as stream:
        stream.prompt(1, box=object_box(_WIDTH, _HEIGHT), frame_id=0)
        begun_s = time.perf_counter()
        sender = asyncio.create_task(send(stream))
        async for answer in stream:
            found = [entry.mask for entry in answer.objects]  # decoded, as direct has it
            if not found:
                raise RuntimeError(f"frame {answer.frame_id}: no object, {answer.error}")
            spent_ms.append((time.perf_counter() - sent_s[answer.frame_id]) * 1e3)
            free.release()
        await sender
        total_s = time.perf_counter() - begun_s
    return len(frames) / total_s, spent_ms


async def compare(address: str, frames: Sequence[bytes], rounds: int) -> dict[str, float]:
    """The figures, medians over alternating rounds."""
    engine = FlowEngine()
    engine.warm_up()
    direct_fps, gateway_fps, direct_ms, gateway_ms = [], [], [], []
    async with kinemask.AsyncClient(address) as client:
        await run_gateway(client, frames[:20], _WINDOW)  # first-call costs
        await run_direct(engine, frames[:20])
        for _ in range(rounds):
            spent_ms = await run_direct(engine, frames)
            direct_fps.append(1e3 * len(frames) / sum(spent_ms))
            direct_ms.append(statistics.median(spent_ms))
            gateway_fps.append((await run_gateway(client, frames, _WINDOW))[0])
            gateway_ms.append(statistics.median((await run_gateway(client, frames, 1))[1]))
    engine.close()
    return {
        "direct_fps": round(statistics.median(direct_fps), 2),
        "gateway_fps": round(statistics.median(gateway_fps), 2),
        "ratio": round(statistics.median(np.array(gateway_fps) / np.array(direct_fps)), 3),
        "added_p50_ms": round(statistics.median(np.array(gateway_ms) - np.array(direct_ms)), 2),
    }


def measure(frames: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Start the services and compare."""
    with (
        service_process("kinemask_segmenter") as (segmenter, _),
        service_process("kinemask_gateway", {"KINEMASK_SEGMENTER_ADDRESSES": segmenter}) as (
            gateway,
            _,
        ),
    ):
        return asyncio.run(compare(gateway, frames, rounds))


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
