"""A small clip with sound whose every pixel is known, and the lines of `kinemask`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from kinemask import masks
from kinemask.cli.app import app
from kinemask.images import Image
from kinemask.video import VideoReader, VideoWriter
from typer.testing import CliRunner, Result

HEIGHT, WIDTH, SIDE = 120, 160, 32
FPS = 25
_AUDIO_RATE = 16000


def square_at(number: int) -> tuple[int, int, int, int]:
    """The square's xyxy box on a frame: it goes right, and down a little."""
    x, y = 20 + (2 * number) % 90, 40 + (number % 90) // 6
    return x, y, x + SIDE, y + SIDE


def box_option(number: int = 0) -> str:
    return ",".join(str(edge) for edge in square_at(number))


def clip_frame(number: int) -> Image:
    """A red chequered square before a green and blue backdrop."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 1] = 60 + rows // 2
    image[..., 2] = 90 + columns // 3
    x_min, y_min, x_max, y_max = square_at(number)
    checks = (np.indices((SIDE, SIDE)) // 8).sum(axis=0) % 2
    image[y_min:y_max, x_min:x_max] = np.where(checks[..., None], (235, 60, 40), (190, 20, 70))
    return image


def make_clip(path: Path, frames: int) -> Path:
    """The clip in H.264 with a tone beside it; the frame in the middle is shown twice as long."""
    sound = make_sound(path.with_suffix(".m4a"), frames / FPS)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS, audio_from=sound, crf=8) as writer:
        for number in range(frames):
            writer.write(clip_frame(number), pts=number + (number > frames // 2))
    return path


def make_sound(path: Path, seconds: float) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=_AUDIO_RATE)
        times = np.arange(int(seconds * _AUDIO_RATE)) / _AUDIO_RATE
        tone = (0.2 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.rate, frame.time_base, frame.pts = _AUDIO_RATE, Fraction(1, _AUDIO_RATE), 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def audio_bytes(path: Path) -> list[bytes]:
    """Every audio packet of a file."""
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.dts is not None]


def kinemask(*arguments: object) -> Result:
    """One line, run in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@dataclass(frozen=True)
class Tracked:
    """What a run wrote."""

    times_s: list[float]
    images: list[Image]
    masks: list[masks.Mask]
    """`(H, W)` a frame, of all its objects."""


def read_run(video: Path, masks_json: Path) -> Tracked:
    frames = list(VideoReader(video))
    found = json.loads(masks_json.read_text())
    inside = [np.zeros((HEIGHT, WIDTH), np.bool_) for _ in frames]
    for entry in found["annotations"]:
        counts = entry["segmentation"]["counts"].encode()
        inside[entry["image_id"] - 1] |= masks.decode_rle(counts, HEIGHT, WIDTH)
    return Tracked([f.time_s for f in frames], [f.image for f in frames], inside)


def truth(number: int) -> masks.Mask:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    x_min, y_min, x_max, y_max = square_at(number)
    mask[y_min:y_max, x_min:x_max] = True
    return mask


def left_beside(folder: Path, before: Sequence[Path]) -> list[str]:
    """Files that appeared in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir() if path not in before)
