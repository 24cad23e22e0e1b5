"""Frames a second of a render (blur), beside a plain decode and encode of the same clip.

    python -m benchmarks.render [--video CLIP] [--frames 480] [--rounds 3] [--effect blur]

Both use the same encoder settings and the same cores, in turns within one run; the plain way leaves
threads to FFmpeg. The render is the job's own code with its object store, checkpoints and sound,
from stored tracks of two objects of 10% and 2% of the frame. Frame count, timestamps and
audio packets must equal the source's, or it fails. Ends with one JSON line:
{"fps": ..., "ratio_to_transcode": ...}; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from kinemask import masks
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2
from kinemask.video import FrameIndex, VideoInfo, index_video, probe_video
from kinemask_gateway.jobs.body import Checkpoint, JobContext, JobPhase
from kinemask_gateway.rendering.drawing import Drawing
from kinemask_gateway.rendering.joining import PRESET, settings_for
from kinemask_gateway.rendering.lane import Source
from kinemask_gateway.rendering.plan import Span
from kinemask_gateway.rendering.rules import rules_of
from kinemask_gateway.rendering.run import Render
from kinemask_gateway.storage import ObjectStore, open_store
from kinemask_gateway.tracks.reader import TracksReader
from kinemask_gateway.tracks.values import MaskOrigin, ObjectState, TrackedFrame, TrackedObject
from kinemask_gateway.tracks.writer import TracksWriter

from benchmarks.moving import moving_frames

HEIGHT, WIDTH, FPS, CRF, LANES = 720, 1280, 30, 20, 0
UNIQUE = 60


class BenchmarkContext:
    """As much of a job's context as a render needs, without a database."""

    def __init__(self, store: ObjectStore, job_id: str) -> None:
        self.job_id, self.attempt = job_id, 1
        self.store, self.stopped = store, threading.Event()

    async def progress(
        self, phase: JobPhase, done_frames: int, total_frames: int, *, fraction: float
    ) -> None:
        """Told to nobody."""

    async def load_checkpoint(self) -> Checkpoint | None:
        return None

    async def save_checkpoint(self, payload: bytes, *, frames: int) -> None:
        await self.store.put(f"jobs/{self.job_id}/checkpoints/one", payload)


def make_clip(path: Path, frames: int) -> None:
    """A textured object over a moving background, with a tone; a key frame every 250."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"crf": "20"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = output.add_stream("aac", rate=48000)
        assert isinstance(audio, av.AudioStream)
        audio.layout = "mono"
        pictures = moving_frames(UNIQUE, WIDTH, HEIGHT)
        for number in range(frames):
            image = pictures[place(number)]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
        for number in range(frames * 48000 // FPS // 1024):
            tone = np.sin(np.arange(1024) / 20 + number).astype(np.float32)[None] * 0.3
            sound = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            sound.sample_rate, sound.pts = 48000, number * 1024
            output.mux(audio.encode(sound))
        output.mux(audio.encode(None))


async def made_tracks(store: ObjectStore, info: VideoInfo, frames: int) -> TracksReader:
    """Two discs: 10% of the frame, with the clip's object, and 2% that stand still."""
    if await store.keys("tracks"):
        return await TracksReader.open(store, "tracks/tracks/manifest")
    writer = TracksWriter(store, lambda name: f"tracks/{name}", (info.height, info.width))
    for number in range(frames):
        share = place(number) / UNIQUE
        x, y = 0.25 + 0.5 * share, 0.5 + 0.15 * np.sin(2 * np.pi * share)
        found = (disc(1, x, y, 0.10, info), disc(2, 0.85, 0.8, 0.02, info))
        await writer.add(TrackedFrame(number, 0, found))
    stored = await writer.finish()
    return await TracksReader.open(store, stored.manifest_key)


def place(number: int) -> int:
    """Which of the unique pictures a frame of the made clip shows: there and back."""
    step = number % (2 * UNIQUE)
    return min(step, 2 * UNIQUE - 1 - step)


def disc(object_id: int, x: float, y: float, share: float, info: VideoInfo) -> TrackedObject:
    """An object at a place given by shares of the frame, of a share of its size."""
    rows, columns = np.ogrid[0 : info.height, 0 : info.width]
    radius = np.sqrt(share * info.height * info.width / np.pi)
    mask = np.hypot(columns - x * info.width, rows - y * info.height) <= radius
    box = masks.mask_box(mask)
    assert box is not None
    return TrackedObject(
        *(object_id, "person", "person", 0.9, ObjectState.CONFIRMED, MaskOrigin.FOLLOWED),
        (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        masks.encode_rle(mask),
        int(mask.sum()),
    )


def transcode(source: Path, target: Path, info: VideoInfo) -> float:
    """Decode and encode with PyAV, and copy the sound; seconds."""
    began_s = time.perf_counter()
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = reading.streams.video[0]
        stream.thread_type = "AUTO"
        options = {"crf": str(CRF), "preset": PRESET}
        encoder = writing.add_stream("libx264", rate=info.average_rate, options=options)
        assert isinstance(encoder, av.VideoStream)
        encoder.width, encoder.height, encoder.pix_fmt = info.width, info.height, "yuv420p"
        encoder.codec_context.time_base = info.time_base
        copies = {s.index: writing.add_stream_from_template(s) for s in reading.streams.audio}
        for packet in reading.demux(stream, *reading.streams.audio):
            if packet.stream_index == stream.index:
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame)
                    frame.pict_type = 0
                    writing.mux(encoder.encode(frame))
            elif packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                writing.mux(packet)
        writing.mux(encoder.encode(None))
    return time.perf_counter() - began_s


async def render(source: Source, store: ObjectStore, target: Path, lanes: int) -> float:
    """The render job's own code, from stored tracks to a whole file; seconds."""
    began_s = time.perf_counter()
    context = BenchmarkContext(store, f"job-{began_s}")
    await Render(cast(JobContext, context), source, lanes).run(target, with_audio=True)
    return time.perf_counter() - began_s


def check(source: Path, target: Path) -> None:
    """Frame count, timestamps and audio packets are the source's."""
    assert times(source) == times(target), "timestamps differ"
    assert sound(source) == sound(target), "audio packets differ"


def times(path: Path) -> list[Fraction]:
    index: FrameIndex = index_video(path).index
    return [int(pts) * index.time_base for pts in index.pts]


def sound(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for stream in container.streams.audio
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


async def make_source(video: Path, folder: Path, effect: str) -> tuple[Source, ObjectStore]:
    """What a render is made of, its tracks stored in `folder`; once made they are used again."""
    store = open_store(str(folder / "objects"), folder)
    info, index = probe_video(video), index_video(video).index
    rule = pb.RenderRule(effects=[live_pb2.Effect(name=effect)])
    source = Source(
        path=video,
        index=index,
        info=info,
        tracks=await made_tracks(store, info, index.frame_count),
        drawing=Drawing(rules_of([rule])),
        settings=settings_for(info, crf=CRF, max_side_px=0),
        span=Span(0, index.frame_count - 1),
        first_pts=0,
    )
    return source, store


async def measured(video: Path, folder: Path, rounds: int, effect: str, lanes: int) -> None:
    source, store = await make_source(video, folder, effect)
    info, index = source.info, source.index
    plain_fps, render_fps = [], []
    for number in range(rounds + 1):
        plain_s = transcode(video, folder / "plain.mp4", info)
        render_s = await render(source, store, folder / "render.mp4", lanes)
        check(video, folder / "render.mp4")
        if number:  # the first round warms up
            plain_fps.append(index.frame_count / plain_s)
            render_fps.append(index.frame_count / render_s)
        print(
            f"plain {index.frame_count / plain_s:6.1f} fps, "
            f"{effect} {index.frame_count / render_s:6.1f} fps",
            flush=True,
        )
    sizes = [(folder / f"{name}.mp4").stat().st_size for name in ("plain", "render")]
    print(f"bytes: plain {sizes[0]}, render {sizes[1]}")
    fps = statistics.median(render_fps)
    ratio = fps / statistics.median(plain_fps)
    print(json.dumps({"fps": round(fps, 1), "ratio_to_transcode": round(ratio, 3)}))


def main() -> None:
    """Print a line for each round, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--frames", type=int, default=480)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--effect", default="blur")
    parser.add_argument("--lanes", type=int, default=LANES, help="0: one for each core")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = told.video or folder / "clip.mp4"
        if told.video is None:
            make_clip(video, told.frames)
        lanes = told.lanes or len(os.sched_getaffinity(0))
        asyncio.run(measured(video, folder, told.rounds, told.effect, lanes))


if __name__ == "__main__":
    main()
