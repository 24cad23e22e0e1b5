"""Track jobs on made videos: coloured rectangles over grey, and everything that follows them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from kinemask.v1 import detector_pb2, live_pb2
from kinemask.v1 import jobs_pb2 as pb
from kinemask_chassis.server import RunningServer, running
from kinemask_gateway.jobs.settings import WorkerSettings
from kinemask_gateway.jobs.worker import WorkerService
from kinemask_gateway.tracks.finding import tracks_of_job
from kinemask_gateway.tracks.values import TrackedFrame
from kinemask_tracker.service import TrackerService
from kinemask_tracker.settings import TrackerServiceSettings
from numpy.typing import NDArray

from tests.gateway.color_engine import ColorEngine
from tests.gateway.jobs_kit import ROOT, STALE_S, watched
from tests.gateway.library_kit import LibraryCalls, library_gateway
from tests.gateway.live_kit import ScriptedDetector, detecting
from tests.segmenter.segment_calls import SegmentCalls, segmenting

HEIGHT, WIDTH = 64, 96
Box = tuple[int, int, int, int]
Where = Callable[[int], Box | None]
COLORS = ((220, 40, 40), (40, 200, 60), (50, 60, 230), (220, 210, 40), (200, 60, 200))


@dataclass(frozen=True)
class Thing:
    """Something in a made video."""

    where: Where
    """From the frame to its box, which may lie outside of the picture in part; None: not there."""
    seen: Callable[[int], bool] = lambda frame: True
    """Whether the detector finds it there."""
    color: tuple[int, int, int] = COLORS[0]

    def visible(self, frame: int) -> Box | None:
        """Its box inside of the picture."""
        box = self.where(frame)
        if box is None:
            return None
        x_min, y_min = max(box[0], 0), max(box[1], 0)
        x_max, y_max = min(box[2], WIDTH), min(box[3], HEIGHT)
        return (x_min, y_min, x_max, y_max) if x_min < x_max and y_min < y_max else None


def moving(
    x: float, y: float, speed: float, side: int = 12, rise: float = 0.0
) -> Callable[[int], Box]:
    """A square that goes to the right."""

    def where(frame: int) -> Box:
        left, top = round(x + speed * frame), round(y + rise * frame)
        return (left, top, left + side, top + side)

    return where


def picture(things: Sequence[Thing], frame: int, shot: int = 0) -> NDArray[np.uint8]:
    """Later things lie over earlier ones; the first pixel tells the frame's number."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    if shot:
        image[:, :: 2 * shot] = 90
        image[: HEIGHT // 2] //= 2
    for thing in things:
        box = thing.visible(frame)
        if box is not None:
            image[box[1] : box[3], box[0] : box[2]] = thing.color
    image[:2, :2] = frame % 256
    return image


def made(folder: Path, frames: int, things: Sequence[Thing], cuts: Sequence[int] = ()) -> bytes:
    """A lossless video."""
    path = folder / "made.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264rgb", rate=25, options={"crf": "0", "g": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        for number in range(frames):
            shot = sum(number >= cut for cut in cuts)
            image = picture(things, number, shot)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    content = path.read_bytes()
    path.unlink()
    return content


def script(things: Sequence[Thing]) -> Callable[[int], list[tuple[float, float, float, float]]]:
    """What the detector finds."""

    def boxes(frame: int) -> list[tuple[float, float, float, float]]:
        found = [thing.visible(frame) for thing in things if thing.seen(frame)]
        return [(float(b[0]), float(b[1]), float(b[2]), float(b[3])) for b in found if b]

    return boxes


@dataclass
class Studio:
    """Everything that a track job needs, running."""

    library: LibraryCalls
    detector: ScriptedDetector
    segmenter: SegmentCalls
    url: str
    data_dir: Path
    addresses: dict[str, str]
    models: tuple[RunningServer, ...]
    """Whatever a track job asks."""

    async def track(self, video_id: str, **fields: Any) -> pb.Job:
        """Run a job to its end."""
        job_id = await self.queued(video_id, **fields)
        return (await watched(self.library, job_id))[-1]

    async def queued(self, video_id: str, every: int = 5, **fields: Any) -> str:
        options = detector_pb2.DetectOptions(prompts=["thing"])
        detect = live_pb2.DetectStage(options=options, every_n_frames=every)
        spec = pb.TrackJobSpec(video_id=video_id, detect=detect, **fields)
        answer = await self.library.jobs.CreateTrackJob(pb.CreateTrackJobRequest(spec=spec))
        return str(answer.job.job_id)

    async def frames(self, job_id: str) -> list[TrackedFrame]:
        parts = self.library.stored
        return list((await tracks_of_job(parts.database, parts.library.store, job_id)).frames())

    async def checksum(self, job_id: str) -> str:
        parts = self.library.stored
        reader = await tracks_of_job(parts.database, parts.library.store, job_id)
        return reader.manifest.sha256

    def worker_environment(self) -> dict[str, str]:
        """For a worker that is a process of its own."""
        told = {f"KINEMASK_{name.upper()}": value for name, value in self.addresses.items()}
        return {
            **told,
            "KINEMASK_DATABASE_URL": self.url,
            "KINEMASK_DATA_DIR": str(self.data_dir),
            "KINEMASK_PORT": "0",
            "KINEMASK_WORKER_STALE_S": str(STALE_S),
        }


@asynccontextmanager
async def studio(
    url: str, data_dir: Path, things: Sequence[Thing], *, with_worker: bool = True
) -> AsyncIterator[Studio]:
    """A gateway, a worker, and the services behind them."""
    detector = ScriptedDetector(script(things))
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        segmenter = await enter(segmenting(ColorEngine()))
        tracker = await enter(running(TrackerService(TrackerServiceSettings(port=0))))
        found = await enter(detecting(detector))
        addresses: dict[str, Any] = {
            "segmenter_addresses": segmenter.server.address,
            "tracker_addresses": tracker.address,
            "detector_addresses": found.address,
        }
        library = await enter(library_gateway(url, data_dir, worker_stale_s=STALE_S, **addresses))
        if with_worker:
            told: dict[str, Any] = {"worker_stale_s": STALE_S, **addresses}
            settings = WorkerSettings(port=0, database_url=url, data_dir=data_dir, **told)
            await enter(running(WorkerService(settings)))
        models = (segmenter.server, tracker, found)
        yield Studio(library, detector, segmenter, url, data_dir, addresses, models)


def worker_process(it: Studio) -> subprocess.Popen[bytes]:
    """A worker that may be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "kinemask_gateway.worker"],
        cwd=ROOT,
        env={**os.environ, **it.worker_environment()},
        stdout=subprocess.DEVNULL,
    )


def spans(frames: Sequence[TrackedFrame], object_id: int) -> list[tuple[int, int]]:
    """First and last frames, both included, on which an object is there."""
    found: list[tuple[int, int]] = []
    for frame in frames:
        if any(entry.object_id == object_id and entry.present for entry in frame.objects):
            if found and found[-1][1] == frame.frame_index - 1:
                found[-1] = (found[-1][0], frame.frame_index)
            else:
                found.append((frame.frame_index, frame.frame_index))
    return found
