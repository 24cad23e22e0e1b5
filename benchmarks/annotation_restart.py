"""A session that outlives everything: prompts, propagate, kill every service with -9, go on.

A made clip is prompted on several frames and propagated; the gateway and both segmenters are killed
while a second propagation runs, one segmenter alone while another does. Then all is started again,
frame 50 is corrected, and frames 50 to 100 are propagated to anew.

    python -m benchmarks.annotation_restart

Ends with one JSON line: whether the frames outside of the range are the same to the byte, how many
frames a restart lost, and how long a click and the way back took. Needs PostgreSQL: the embedded
one, or KINEMASK_DATABASE_URL.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import av
import numpy as np
from kinemask import Client
from kinemask.annotate import PropagationProgress
from kinemask.errors import KinemaskError
from kinemask.types import Prompt
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1.annotations_pb2_grpc import AnnotationServiceStub

from benchmarks.session_stack import SessionStack

FRAMES, WIDTH, HEIGHT = 160, 320, 240
FIRST, LAST = 50, 100
_WITHIN_S = 60.0


def make_clip(path: Path, frames: int) -> None:
    """Two textured discs that move over a textured ground."""
    rng = np.random.default_rng(3)
    ground = rng.integers(60, 120, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "18", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in range(frames):
            image = ground.astype(np.uint8)
            for number, color in enumerate(((220, 60, 40), (40, 90, 230))):
                x, y = place(number, frame)
                image[(columns - x) ** 2 + (rows - y) ** 2 < 24**2] = color
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))


def place(number: int, frame: int) -> tuple[float, float]:
    """The middle of a disc."""
    if number:
        return 280 - 1.2 * frame, 170 - 0.2 * frame
    return 40 + 1.2 * frame, 70 + 0.2 * frame


def masks_of(client: Client, session_id: str) -> dict[int, bytes]:
    """Every frame's masks as they are stored, serialized."""
    stub = AnnotationServiceStub(client._channel)
    answers = stub.GetMasks(pb.GetMasksRequest(session_id=session_id))
    return {
        answer.frame.frame_index: b"".join(
            entry.SerializeToString(deterministic=True) for entry in answer.frame.objects
        )
        for answer in answers
    }


def iou(client: Client, session_id: str) -> float:
    """Mean over all frames and discs."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    found = []
    for frame in client.annotate.masks(session_id):
        for number, entry in enumerate(frame.objects):
            x, y = place(number, frame.index)
            wanted = (columns - x) ** 2 + (rows - y) ** 2 < 24**2
            mask = entry.mask if entry.mask is not None else np.zeros_like(wanted)
            found.append((mask & wanted).sum() / max((mask | wanted).sum(), 1))
    return float(np.mean(found))


def patiently(work: Callable[[], object]) -> None:
    """Try again for a while: what was killed is not there at once."""
    until_s = time.monotonic() + _WITHIN_S
    while True:
        try:
            work()
            return
        except KinemaskError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.2)


class _Cut(Exception):
    """Enough was done for the services to be killed."""


def run(folder: Path, frames: int = FRAMES) -> dict[str, object]:
    """The whole story, on a clip of so many frames: more than 100."""
    clip = folder / "clip.mp4"
    make_clip(clip, frames)
    with ExitStack() as stack:
        services = stack.enter_context(SessionStack(folder))
        client = stack.enter_context(Client(services.address))
        video_id = client.videos.upload(clip).video_id
        session_id = client.annotate.open(video_id).session_id
        clicks = [Prompt(points=[place(number, 0)]) for number in range(2)]
        for click in clicks:
            client.annotate.prompt(session_id, 0, [click])
        began_s = time.monotonic()
        client.annotate.prompt(session_id, 0, [Prompt(points=[place(0, 0)], object_id=1)])
        click_ms = (time.monotonic() - began_s) * 1e3

        done = [0]

        def one_dies(progress: PropagationProgress) -> None:
            if progress.done_frames >= 40 and not services.killed:
                services.kill_segmenter()

        def all_die(progress: PropagationProgress) -> None:
            done[0] = progress.done_frames
            if progress.done_frames >= 40:
                services.kill_all()
                raise _Cut

        # Twice the same: undisturbed, and with a replica that dies on the way.
        client.annotate.propagate(session_id)
        calm = masks_of(client, session_id)
        client.annotate.propagate(session_id, on_progress=one_dies)
        replica_same = masks_of(client, session_id) == calm
        services.start_segmenter()

        other = client.annotate.open(video_id).session_id
        client.annotate.prompt(other, 0, clicks)
        with suppress(_Cut, KinemaskError):
            client.annotate.propagate(other, on_progress=all_die)
        began_s = time.monotonic()
        services.start_all()
        client = stack.enter_context(Client(services.address))
        patiently(lambda: client.annotate.get(session_id))
        back_s = time.monotonic() - began_s
        kept = len(masks_of(client, other))
        patiently(lambda: client.annotate.propagate(other, only_stale=True))
        resumed = len(masks_of(client, other))

        before = masks_of(client, session_id)
        x, y = place(0, FIRST)
        refined = Prompt(points=[(x, y)], negative_points=[(x - 18, y)], object_id=1)
        client.annotate.prompt(session_id, FIRST, [refined])
        client.annotate.propagate(session_id, first_frame=FIRST, last_frame=LAST)
        after = masks_of(client, session_id)
        outside = [frame for frame in range(frames) if not FIRST <= frame <= LAST]
        changed = [frame for frame in outside if before.get(frame) != after.get(frame)]
        inside = sum(before.get(f) != after.get(f) for f in range(FIRST, LAST + 1))
        mean_iou = iou(client, other)
    return {
        "outside_identical": not changed,
        "outside_frames": len(outside),
        "inside_changed_frames": inside,
        "after_restart_same": before == calm,
        "dead_replica_same": replica_same,
        "stored_frames_lost": max(done[0] + 1 - kept, 0),
        "resumed_frames": resumed,
        "frames": frames,
        "mean_iou": round(mean_iou, 4),
        "second_click_ms": round(click_ms, 1),
        "restart_s": round(back_s, 2),
    }


def main() -> int:
    """Prints the figures; 1 if anything was lost or changed."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder))
    print(json.dumps(found))
    return 0 if nothing_lost(found) else 1


def nothing_lost(found: dict[str, object]) -> bool:
    """Whether every frame is there, and as it was."""
    same = ("outside_identical", "after_restart_same", "dead_replica_same")
    whole = found["resumed_frames"] == found["frames"] and not found["stored_frames_lost"]
    return whole and all(found[name] for name in same)


if __name__ == "__main__":
    sys.exit(main())
