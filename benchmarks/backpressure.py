"""What a client that is faster than the engine does to a live stream, under each policy.

    python -m benchmarks.backpressure [--seconds 60] [--fps 60] [--engine-fps 10]

A client captures `--fps` frames a second (640x360 JPEG) and sends each at once, for `--seconds`, to
the gateway; the segmenter behind it is held to `--engine-fps`. RSS is that of both processes: its
growth from 5 s after the first frame to the end, largest against value at 5 s. Latency counts from
the capture of a frame to its result. Under BLOCK the client cannot send faster than it is read,
so a frame counts as captured when its turn to be sent came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import psutil
from kinemask import images
from kinemask.v1 import live_pb2, live_pb2_grpc, media_pb2, streams_pb2

from benchmarks.harness import percentile, service_process
from benchmarks.moving import moving_frames

_POLICIES = {
    "BLOCK": streams_pb2.OVERFLOW_POLICY_BLOCK,
    "LATEST": streams_pb2.OVERFLOW_POLICY_LATEST,
    "REJECT": streams_pb2.OVERFLOW_POLICY_REJECT,
}
_Call = Any
"""An aio stream call; its `read` is typed for the end of the stream too."""
_SETTLE_S = 5.0
_SAMPLE_EVERY_S = 0.25


@dataclass
class Outcome:
    """What one run saw."""

    window: int = 0
    captured_s: dict[int, float] = field(default_factory=dict)
    latency_ms: list[float] = field(default_factory=list)
    skipped: int = 0
    wrong_ranges: int = 0
    rss: list[tuple[float, int]] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        base = next((rss for at_s, rss in self.rss if at_s >= _SETTLE_S), 0)
        peak = max((rss for at_s, rss in self.rss if at_s >= _SETTLE_S), default=0)
        return {
            "rss_growth_pct": round(100.0 * (peak - base) / base, 2) if base else float("nan"),
            "sent": len(self.captured_s),
            "answered": len(self.latency_ms),
            "announced_drops": self.skipped,
            "unaccounted": len(self.captured_s) - len(self.latency_ms) - self.skipped,
            "p95_ms": round(percentile(self.latency_ms, 0.95), 1),
            "window": self.window,
        }


async def run_policy(
    address: str,
    policy: streams_pb2.OverflowPolicy.ValueType,
    frames: Sequence[bytes],
    fps: float,
    seconds: float,
    processes: Sequence[psutil.Process],
) -> Outcome:
    """Stream for `seconds` and account for every frame."""
    outcome = Outcome()
    async with grpc.aio.insecure_channel(address, options=[("grpc.http2.bdp_probe", 0)]) as channel:
        call: _Call = live_pb2_grpc.LiveServiceStub(channel).Stream()
        config = live_pb2.StreamConfig(segment=live_pb2.SegmentStage())
        config.stream.policy = policy
        await call.write(live_pb2.StreamRequest(config=config))
        outcome.window = (await call.read()).started.terms.window
        sampler = asyncio.create_task(_sample(processes, outcome))
        reader = asyncio.create_task(_read(call, outcome))
        await _send(call, frames, fps, seconds, outcome)
        await reader
        sampler.cancel()
    return outcome


async def _send(
    call: _Call,
    frames: Sequence[bytes],
    fps: float,
    seconds: float,
    outcome: Outcome,
) -> None:
    begun_s = time.monotonic()
    frame_id = 0
    while (now_s := time.monotonic()) - begun_s < seconds:
        due_s = begun_s + frame_id / fps
        if due_s > now_s:
            await asyncio.sleep(due_s - now_s)
        outcome.captured_s[frame_id] = time.monotonic()
        image = media_pb2.Image(encoded=frames[frame_id % len(frames)])
        frame = media_pb2.Frame(frame_id=frame_id, image=image)
        await call.write(live_pb2.StreamRequest(frame=frame))
        frame_id += 1
    await call.done_writing()


async def _read(
    call: _Call,
    outcome: Outcome,
) -> None:
    expected = 0
    while (reply := await call.read()) is not grpc.aio.EOF:
        kind = reply.WhichOneof("message")
        if kind == "result":
            sent_s = outcome.captured_s[reply.result.frame_id]
            outcome.latency_ms.append((time.monotonic() - sent_s) * 1e3)
            outcome.wrong_ranges += reply.result.frame_id != expected
            expected = reply.result.frame_id + 1
        elif kind == "skipped":
            run = reply.skipped
            outcome.skipped += run.count
            exact = run.last_frame_id - run.first_frame_id + 1 == run.count
            outcome.wrong_ranges += run.first_frame_id != expected or not exact
            expected = run.last_frame_id + 1
        else:
            raise RuntimeError(f"an answer nobody asked for: {reply}")


async def _sample(processes: Sequence[psutil.Process], outcome: Outcome) -> None:
    begun_s = time.monotonic()
    while True:
        rss = sum(process.memory_info().rss for process in processes)
        outcome.rss.append((time.monotonic() - begun_s, rss))
        await asyncio.sleep(_SAMPLE_EVERY_S)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="a run's length (default: 60)")
    parser.add_argument("--fps", type=float, default=60.0, help="frames a second in (default: 60)")
    parser.add_argument("--engine-fps", type=float, default=10.0, help="engine's (default: 10)")
    options = parser.parse_args()
    frames = [images.encode_jpeg(frame) for frame in moving_frames(30, 640, 360)]
    figures = {}
    for name, policy in _POLICIES.items():
        with (
            service_process(
                "benchmarks.paced_segmenter", arguments=[str(1e3 / options.engine_fps)]
            ) as (segmenter, segmenter_process),
            service_process("kinemask_gateway", {"KINEMASK_SEGMENTER_ADDRESSES": segmenter}) as (
                gateway,
                gateway_process,
            ),
        ):
            processes = [segmenter_process, gateway_process]
            outcome = asyncio.run(
                run_policy(gateway, policy, frames, options.fps, options.seconds, processes)
            )
        figures[name] = outcome.figures()
        bound_ms = (outcome.window + 1) / options.engine_fps * 1e3
        print(
            f"{name:7} {figures[name]}  p95 bound {bound_ms:.0f} ms, "
            f"answers out of place: {outcome.wrong_ranges}"
        )
    print(json.dumps({"policies": figures}))


if __name__ == "__main__":
    main()
