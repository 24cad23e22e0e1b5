"""Several SAM 2 streams on one device: equal to running alone, no slower, and none held up.

Run: `python -m benchmarks.sam2_streams [--streams 4] [--frames N] [--rounds N] [--size PX]`.
Streams of a small model with random weights run over a served segmenter: alone one after another,
together, and together beside a client that sends and never reads, in turns. Ends with one JSON
line: the largest difference of a stream's logits to its solo run (measured inside the engine, by
tier), throughput together over that of the solo runs, and the others' 99th percentile of a frame's
time with the stalled client over that without. Needs the extra `kinemask-segmenter[sam2]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import kinemask
import numpy as np
import torch
from kinemask_segmenter.engines.base import Prompt, StreamOptions
from kinemask_segmenter.engines.sam2.checkpoints import Checkpoint
from kinemask_segmenter.engines.sam2.engine import Sam2Config, Sam2Engine
from kinemask_segmenter.engines.sam2.stream import Raw
from numpy.typing import NDArray

from benchmarks import sam2_models
from benchmarks.harness import percentile, service_process
from benchmarks.moving import moving_frames, object_box

WIDTH, HEIGHT = 160, 120
_COMPARED_FRAMES = 24
_WINDOW = 4
Pictures = Sequence[NDArray[np.uint8]]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=128, help="model input in pixels")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = sam2_models.service_settings(Path(folder), 0, args.size)
        differences = {
            tier: asyncio.run(_worst_difference(settings, args.streams, tier == "fast"))
            for tier in ("exact", "fast")
        }
        with service_process("kinemask_segmenter", settings) as (address, _):
            served = asyncio.run(_served(address, args.streams, args.frames, args.rounds))
    print(json.dumps({"worst_diff": max(differences.values()), "by_tier": differences, **served}))


# --- inside the engine


async def _worst_difference(settings: dict[str, str], streams: int, fast: bool) -> float:
    """Of full logits, between streams together (as batches) and each alone."""
    checkpoint = Checkpoint(
        "small",
        Path(settings["KINEMASK_SAM2_CHECKPOINT"]),
        settings["KINEMASK_SAM2_CONFIG"],
        None,
    )
    engine = Sam2Engine(checkpoint, Sam2Config(device="cpu", max_batch=streams))
    videos = [moving_frames(_COMPARED_FRAMES, WIDTH, HEIGHT, seed) for seed in range(streams)]
    alone = [await _followed(engine, video, fast) for video in videos]
    together = await asyncio.gather(*(_followed(engine, video, fast) for video in videos))
    engine.close()
    return max(
        float((one[1].logits - other[1].logits).abs().max())
        for mine, theirs in zip(alone, together, strict=True)
        for one, other in zip(mine, theirs, strict=True)
    )


async def _followed(engine: Sam2Engine, pictures: Pictures, fast: bool) -> list[Raw]:
    stream = engine.open_stream(HEIGHT, WIDTH, options=StreamOptions(fast=fast))
    prompt = Prompt(1, box_xyxy=object_box(WIDTH, HEIGHT))
    found = []
    for number, picture in enumerate(pictures):
        said = [prompt] if number == 0 else []
        found.append(await stream.step(number, stream.prepare(picture), said))
    stream.close()
    return found


# --- over the wire


async def _served(address: str, streams: int, frames: int, rounds: int) -> dict[str, float]:
    videos = [list(moving_frames(frames, WIDTH, HEIGHT, seed)) for seed in range(streams)]
    ratios, calm, beside = [], list[float](), list[float]()
    async with kinemask.AsyncClient(address) as client:
        await _stream(client, videos[0])  # whatever is paid for once
        for _ in range(rounds):
            begun_s = time.perf_counter()
            for video in videos:
                await _stream(client, video)
            alone_s = time.perf_counter() - begun_s
            begun_s = time.perf_counter()
            calm += await _together(client, videos)
            ratios.append(alone_s / (time.perf_counter() - begun_s))
            stalled = asyncio.create_task(_never_read(client, videos[0]))
            beside += await _together(client, videos)
            stalled.cancel()
            await asyncio.wait([stalled])
    return {
        "throughput_ratio": round(statistics.median(ratios), 3),
        "p99_ratio_with_stalled_client": round(
            percentile(beside, 0.99) / percentile(calm, 0.99), 3
        ),
    }


async def _together(client: kinemask.AsyncClient, videos: Sequence[Pictures]) -> list[float]:
    spent = await asyncio.gather(*(_stream(client, video) for video in videos))
    return [each for one in spent for each in one]


async def _stream(client: kinemask.AsyncClient, pictures: Pictures) -> list[float]:
    """Milliseconds of each frame, from sending to its answer, a few in flight."""
    sent_s: list[float] = []
    spent_ms: list[float] = []
    free = asyncio.Semaphore(_WINDOW)
    async with client.segment_video(options=kinemask.StreamOptions(window=_WINDOW)) as stream:
        stream.prompt(1, box=object_box(WIDTH, HEIGHT), frame_id=0)

        async def send() -> None:
            for picture in pictures:
                await free.acquire()
                sent_s.append(time.perf_counter())
                await stream.send(picture)
            await stream.finish()

        sender = asyncio.create_task(send())
        async for answer in stream:
            if not answer.ok:
                raise RuntimeError(f"frame {answer.frame_id}: {answer.error}")
            spent_ms.append((time.perf_counter() - sent_s[len(spent_ms)]) * 1e3)
            free.release()
        await sender
    return spent_ms


async def _never_read(client: kinemask.AsyncClient, pictures: Pictures) -> None:
    """Send for as long as the server takes anything."""
    options = kinemask.StreamOptions(window=_WINDOW, max_unread=1, unread_timeout_s=600.0)
    async with client.segment_video(options=options) as stream:
        stream.prompt(1, box=object_box(WIDTH, HEIGHT), frame_id=0)
        while True:
            for picture in pictures:
                await stream.send(picture)


if __name__ == "__main__":
    main()
