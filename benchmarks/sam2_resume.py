"""A SAM 2 stream whose server is killed: does another go on as if nothing had been?

Run: `python -m benchmarks.sam2_resume [--frames N] [--size PX]`. A segmenter with a small model of
random weights serves a stream; it is killed with SIGKILL in the middle, another is started, and the
client goes on from the last snapshot, sending again what came after it. Ends with one JSON line:
the largest difference of masks and scores to an undisturbed run, the size of a snapshot, and frames
without an answer. Needs the extra `kinemask-segmenter[sam2]`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import kinemask
import numpy as np
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc, streams_pb2

from benchmarks import sam2_models
from benchmarks.harness import free_port, service_process
from benchmarks.moving import moving_frames, object_box

WIDTH, HEIGHT = 160, 120
_SNAPSHOT_EVERY = 7
Answers = list[kinemask.SegmentedFrame]


def main(argv: Sequence[str] | None = None) -> None:
    """Run both streams and print the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=128, help="model input in pixels")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        settings = sam2_models.service_settings(Path(folder), 0, args.size)
        undisturbed = asyncio.run(_run(settings, args.frames, killed_at=None))
        killed = asyncio.run(_run(settings, args.frames, killed_at=args.frames // 2))
        report = {
            "worst_diff": max(_difference(a, b) for a, b in zip(undisturbed, killed, strict=True)),
            "snapshot_bytes": _snapshot_bytes(settings),
            "lost_frames": args.frames - sum(each.ok for each in killed),
        }
    print(json.dumps(report))


async def _run(settings: dict[str, str], frames: int, killed_at: int | None) -> Answers:
    """Every answer; the server is replaced after one of them."""
    port = free_port()
    servers = contextlib.ExitStack()
    pictures = list(moving_frames(frames, WIDTH, HEIGHT))
    options = kinemask.StreamOptions(window=4, snapshot_every_n_frames=_SNAPSHOT_EVERY)
    with servers:
        serving = service_process("kinemask_segmenter", settings, port=port)
        address, process = servers.enter_context(serving)
        client = kinemask.AsyncClient(address)
        async with client, client.segment_video(options=options) as stream:
            stream.prompt(1, box=object_box(WIDTH, HEIGHT), frame_id=0)
            sender = asyncio.create_task(_send(stream, pictures))
            found: Answers = []
            async for answer in stream:
                found.append(answer)
                if len(found) == killed_at:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    serving = service_process("kinemask_segmenter", settings, port=port)
                    await asyncio.to_thread(servers.enter_context, serving)
            await sender
    return found


async def _send(stream: kinemask.AsyncVideoStream, pictures: Sequence[np.ndarray]) -> None:
    for picture in pictures:
        await stream.send(picture)
    await stream.finish()


def _difference(one: kinemask.SegmentedFrame, other: kinemask.SegmentedFrame) -> float:
    """Of masks as 0 and 1, and of scores."""
    if [each.object_id for each in one.objects] != [each.object_id for each in other.objects]:
        return float("inf")
    worst = 0.0
    for mine, theirs in zip(one.objects, other.objects, strict=True):
        worst = max(worst, abs(mine.score - theirs.score))
        worst = max(worst, float(np.any(mine.mask != theirs.mask)))
    return worst


def _snapshot_bytes(settings: dict[str, str]) -> int:
    """Of one object after 30 frames, when its memory is full."""
    with (
        service_process("kinemask_segmenter", settings) as (address, _),
        grpc.insecure_channel(address) as channel,
    ):
        stub = segmenter_pb2_grpc.SegmenterServiceStub(channel)
        for answer in stub.SegmentVideo(_requests()):
            if answer.HasField("snapshot"):
                return len(answer.snapshot.resume_token)
    raise RuntimeError("the stream ended without a snapshot")


def _requests() -> Iterator[segmenter_pb2.SegmentVideoRequest]:
    request = segmenter_pb2.SegmentVideoRequest
    yield request(config=segmenter_pb2.SegmentVideoConfig())
    box = wire.box_to_message(object_box(WIDTH, HEIGHT))
    prompt = segmenter_pb2.ObjectPrompt(object_id=1, box=box)
    yield request(edit=segmenter_pb2.SegmentVideoEdit(edit_id=1, frame_id=0, prompt=prompt))
    for number, picture in enumerate(moving_frames(30, WIDTH, HEIGHT)):
        yield request(frame=media_pb2.Frame(frame_id=number, image=wire.image_to_message(picture)))
    yield request(snapshot=streams_pb2.SnapshotRequest())


if __name__ == "__main__":
    main()
