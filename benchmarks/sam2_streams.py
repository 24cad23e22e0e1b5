"""Several SAM 2 streams on one device: equal to running alone, no slower, and none held up.

Run: `python -m benchmarks.sam2_streams [--streams 4] [--frames N] [--rounds N] [--size PX]`, or on
a card `python -m benchmarks.sam2_streams --device cuda --models tiny small base-plus large
--size 1024 --streams 1 4 16 --objects 1 4 16 --tier fast --official --official-compiled --save`.
Streams of a small model with random weights, or of the models named, run over a served segmenter:
alone one after another, together, and together beside a client that sends and never reads, in
turns. Ends with one JSON line: the largest difference of a stream's logits to its solo run
(measured inside the engine, by tier), throughput together over that of the solo runs, and the
others' 99th percentile of a frame's time with the stalled client over that without; with several
combinations one such report each, under `runs`. `--official` adds the official predictor's frames/s
on the same device, one video after another. Needs the extra `kinemask-segmenter[sam2]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
from benchmarks.hardware import device_of, hardware_name, save
from benchmarks.harness import percentile, service_process
from benchmarks.moving import moving_frames, object_box
from benchmarks.sam2_speed import Official, timed

WIDTH, HEIGHT = 160, 120
_COMPARED_FRAMES = 24
_WINDOW = 4
_OFFICIAL_FRAMES = 12
Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Case:
    """One combination; no model is a small one."""

    model: str
    objects: int
    streams: int


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu")
    parser.add_argument("--models", nargs="+", choices=sorted(sam2_models.CONFIGS), default=[""])
    parser.add_argument("--streams", type=int, nargs="+", default=[4])
    parser.add_argument("--objects", type=int, nargs="+", default=[1])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128, help="model input in pixels")
    parser.add_argument("--tier", choices=["exact", "fast"], default="exact")
    parser.add_argument("--official", action="store_true", help="its frames/s too")
    parser.add_argument("--official-compiled", action="store_true", help="vos_optimized; CUDA")
    parser.add_argument("--ours-compiled", action="store_true", help="our tier fast compiled")
    parser.add_argument("--save", action="store_true", help="into benchmarks/results/")
    args = parser.parse_args(argv)
    args.device = device_of(args.device)
    torch.set_num_threads(1)
    runs = {
        f"{model or 'trunk of 16'}-{objects}obj-{streams}streams": _measured(
            args, Case(model, objects, streams)
        )
        for model in args.models
        for objects in args.objects
        for streams in args.streams
    }
    report = {
        "hardware": hardware_name(args.device),
        **(next(iter(runs.values())) if len(runs) == 1 else {"runs": runs}),
    }
    if args.save:
        print(f"saved to {save('sam2_streams', report)}", file=sys.stderr)
    print(json.dumps(report))


def _measured(args: argparse.Namespace, case: Case) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        settings = sam2_models.service_settings(
            Path(folder), 0, args.size, model=case.model, device=args.device
        )
        differences = {
            tier: asyncio.run(_worst_difference(settings, case.streams, tier == "fast"))
            for tier in ("exact", "fast")
        }
        settings["KINEMASK_SAM2_TIER"] = args.tier
        settings["KINEMASK_SAM2_COMPILE"] = "on" if args.ours_compiled else "off"
        with service_process("kinemask_segmenter", settings) as (address, _):
            served = asyncio.run(_served(address, case, args.frames, args.rounds))
    worst = max(differences.values())
    return {"worst_diff": worst, "by_tier": differences, **served, **_official(args, case)}


def _official(args: argparse.Namespace, case: Case) -> dict[str, float]:
    """Frames/s of the official predictor; videos one after another, so the same for any number."""
    kinds = {"official_fps": args.official, "official_compiled_fps": args.official_compiled}
    found = {}
    for name in [name for name, asked in kinds.items() if asked]:
        compiled = name == "official_compiled_fps"
        model = sam2_models.build(
            0, args.size, model=case.model, device=args.device, compiled=compiled
        )
        images = sam2_models.frames(0, _OFFICIAL_FRAMES, args.size).to(args.device)
        official = Official(model, images, case.objects, torch.float32)
        spent = list[float]()
        for image in images[1:]:
            timed(official.step, image, spent)
        found[name] = round(1 / statistics.median(spent[2:]), 2)
    return found


# --- inside the engine


async def _worst_difference(settings: dict[str, str], streams: int, fast: bool) -> float:
    """Of full logits, between streams together (as batches) and each alone."""
    checkpoint = Checkpoint(
        "small",
        Path(settings["KINEMASK_SAM2_CHECKPOINT"]),
        settings["KINEMASK_SAM2_CONFIG"],
        None,
    )
    config = Sam2Config(device=settings["KINEMASK_SAM2_DEVICE"], max_batch=streams)
    engine = Sam2Engine(checkpoint, config)
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


async def _served(address: str, case: Case, frames: int, rounds: int) -> dict[str, object]:
    videos = [list(moving_frames(frames, WIDTH, HEIGHT, seed)) for seed in range(case.streams)]
    ratios, rates, calm, beside = list[float](), list[float](), list[float](), list[float]()
    async with kinemask.AsyncClient(address) as client:
        await _stream(client, videos[0], case.objects)  # whatever is paid for once
        for _ in range(rounds):
            begun_s = time.perf_counter()
            for video in videos:
                await _stream(client, video, case.objects)
            alone_s = time.perf_counter() - begun_s
            begun_s = time.perf_counter()
            calm += await _together(client, videos, case.objects)
            together_s = time.perf_counter() - begun_s
            ratios.append(alone_s / together_s)
            rates.append(case.streams * frames / together_s)
            stalled = asyncio.create_task(_never_read(client, videos[0]))
            beside += await _together(client, videos, case.objects)
            stalled.cancel()
            await asyncio.wait([stalled])
    return {
        "throughput_ratio": round(statistics.median(ratios), 3),
        "throughput_ratios": [round(each, 3) for each in ratios],
        "fps": round(statistics.median(rates), 2),
        "p99_ratio_with_stalled_client": round(
            percentile(beside, 0.99) / percentile(calm, 0.99), 3
        ),
    }


async def _together(
    client: kinemask.AsyncClient, videos: Sequence[Pictures], objects: int
) -> list[float]:
    spent = await asyncio.gather(*(_stream(client, video, objects) for video in videos))
    return [each for one in spent for each in one]


async def _stream(client: kinemask.AsyncClient, pictures: Pictures, objects: int) -> list[float]:
    """Milliseconds of each frame, from sending to its answer, a few in flight."""
    sent_s: list[float] = []
    spent_ms: list[float] = []
    free = asyncio.Semaphore(_WINDOW)
    async with client.segment_video(options=kinemask.StreamOptions(window=_WINDOW)) as stream:
        for object_id in range(1, objects + 1):
            stream.prompt(object_id, box=object_box(WIDTH, HEIGHT), frame_id=0)

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
