"""Who stays visible and who is covered when everybody but one person is to be hidden.

    python -m benchmarks.faces_except --data FOLDER [--frames 90] [--effect solid] [--only]

Makes a clip of three people from pictures (FOLDER/PERSON/*.jpg, of the first three people with two
pictures or more): the first and the second cross, the second in front, the third stays. The first
is enrolled by the other pictures, and the clip goes through what `kinemask track --text face
--except NAME` does, with real services, up to where frames would be encoded: there the truth of
every pixel is known.

Ends with one JSON line. `excepted_changed_px`: pixels inside the excepted face's truth mask that
were changed, over all frames; `covered_min`: the least share of another face's truth mask that was
covered on any frame; `covered_mean`; `frames`, `frames_crossing` (faces overlap),
`changed_crossing_px` and `covered_crossing_min` for those alone; `imperfect_frames`. With --only it
is the other way round: the first is to be covered, and nobody else.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from kinemask.cli.server import gateway
from kinemask.cli.track.request import TrackRequest, effect_specs
from kinemask.cli.track.run import TrackRun
from kinemask.client import Client
from kinemask.video import VideoFrame, VideoReader, VideoWriter
from kinemask_faces.engines.registry import ModelFiles, load_models
from numpy.typing import NDArray

from benchmarks.faces_accuracy import read_rgb

HEIGHT, WIDTH, FPS = 360, 640, 25
FACE_PX = 110
GALLERY, NAME = "benchmark", "The excepted one"
COLOUR = (0, 255, 0)

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cutout:
    """A face in an ellipse."""

    pixels: Image
    mask: Mask


@dataclass(frozen=True)
class MadeFrame:
    """A frame and where everybody can be seen."""

    image: Image
    masks: tuple[Mask, ...]
    """Of each person: what nobody stands in front of."""
    crossing: bool


@dataclass
class Score:
    """What was drawn, against the truth."""

    changed_px: int = 0
    changed_crossing_px: int = 0
    covered: list[float] = field(default_factory=list)
    covered_crossing: list[float] = field(default_factory=list)
    crossing: int = 0
    worst: list[tuple[float, int]] = field(default_factory=list)

    def add(self, number: int, made: MadeFrame, before: Image, after: Image, only: bool) -> None:
        """Judge one frame."""
        changed = (before != after).any(axis=2)
        visible = made.masks[1:] if only else made.masks[:1]
        hidden = made.masks[:1] if only else made.masks[1:]
        wrongly = sum(int(np.count_nonzero(changed & mask)) for mask in visible)
        shares = [
            np.count_nonzero(changed & mask) / np.count_nonzero(mask)
            for mask in hidden
            if np.count_nonzero(mask) > 200
        ]
        self.changed_px += wrongly
        self.covered += shares
        if wrongly or min(shares, default=1.0) < 0.99:
            self.worst.append((round(min(shares, default=1.0), 3), number))
        if made.crossing:
            self.crossing += 1
            self.changed_crossing_px += wrongly
            self.covered_crossing += shares


class JudgedRun(TrackRun):
    """A run whose drawn frames are judged in place of being encoded."""

    def __init__(
        self, request: TrackRequest, reader: VideoReader, clip: list[MadeFrame], only: bool
    ) -> None:
        super().__init__(request, reader)
        self.score = Score()
        self._clip, self._only = clip, only
        self._truth = iter(VideoReader(request.video, prefetch_frames=0))

    def _write(self, frame: VideoFrame, image: Image, writer: VideoWriter) -> None:
        before = next(self._truth).image
        self.score.add(frame.index, self._clip[frame.index], before, image, self._only)
        super()._write(frame, image, writer)


def cut_out(picture: Image) -> Cutout:
    """The largest face of a picture, `FACE_PX` high, in an ellipse.

    Raises:
        ValueError: there is none.
    """
    model = load_models(ModelFiles()).default
    [faces] = model.detect([picture], model.info.score_threshold)
    if not faces:
        raise ValueError("expected a picture with a face, found none")
    x_min, y_min, x_max, y_max = faces[0].box_xyxy
    scale = FACE_PX / (y_max - y_min)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    middle = (round((x_min + x_max) / 2 * scale), round((y_min + y_max) / 2 * scale))
    axes = (round((x_max - x_min) / 2 * scale * 1.05), round(FACE_PX / 2 * 1.05))
    inside = np.zeros(small.shape[:2], np.uint8)
    cv2.ellipse(inside, middle, axes, 0, 0, 360, 255, -1)
    rows, columns = np.nonzero(inside)
    part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return Cutout(np.asarray(small[part], np.uint8), inside[part] > 0)


def made_clip(people: list[Cutout], frames: int) -> list[MadeFrame]:
    """The first goes right, the second left and in front of the first, the third stays."""
    backdrop = _backdrop()
    clip = []
    for number in range(frames):
        share = number / max(frames - 1, 1)
        places = [
            (round(60 + 380 * share), 40),
            (round(440 - 380 * share), 75),
            (500, 220),
        ]
        image, masks = backdrop.copy(), list[Mask]()
        for person, (left, top) in zip(people, places, strict=True):
            height, width = person.mask.shape
            part = np.s_[top : top + height, left : left + width]
            here = np.zeros((HEIGHT, WIDTH), bool)
            here[part] = person.mask
            image[part][person.mask] = person.pixels[person.mask]
            masks = [mask & ~here for mask in masks] + [here]
        apart = abs(places[0][0] - places[1][0]) >= people[0].mask.shape[1]
        clip.append(MadeFrame(image, tuple(masks), not apart))
    return clip


def _backdrop() -> Image:
    noise = np.random.default_rng(7).integers(0, 256, (18, 32, 3), dtype=np.uint8)
    smooth = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth // 3 + 60, np.uint8)


def pictures_of(folder: Path) -> list[list[Path]]:
    """Of the first three people with two pictures or more.

    Raises:
        ValueError: there are fewer.
    """
    people = [sorted(f.glob("*.jpg")) for f in sorted(folder.iterdir()) if f.is_dir()]
    several = [found for found in people if len(found) >= 2]
    if len(several) < 3:
        raise ValueError(f"expected three people with two pictures in {folder}, got {len(several)}")
    return several[:3]


def run(data: Path, frames: int, effect: str, only: bool, scratch: Path) -> Score:
    """Make the clip, enrol the first person, judge the run."""
    pictures = pictures_of(data)
    clip = made_clip([cut_out(read_rgb(found[0])) for found in pictures], frames)
    path = scratch / "clip.mp4"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS, crf=8) as writer:
        for made in clip:
            writer.write(made.image)
    names = (NAME,)
    request = TrackRequest(
        video=path,
        texts=("face",),
        objects=(),
        effects=effect_specs([effect], None, COLOUR if effect == "solid" else None, None, "mask"),
        output=scratch / "out.mp4",
        masks=None,
        except_names=() if only else names,
        only_names=names if only else (),
        gallery=GALLERY,
    )
    os.environ["KINEMASK_DATA_DIR"] = str(scratch / "data")
    with gateway(None, request.services) as client:
        _enrol(client, pictures[0][1:])
        judged = JudgedRun(request, VideoReader(path, prefetch_frames=0), clip, only)
        judged.run(client, False, True)
    return judged.score


def _enrol(client: Client, pictures: list[Path]) -> None:
    client.faces.create_gallery(GALLERY)
    person = client.faces.create_person(GALLERY, NAME)
    outcomes = client.faces.enrol(GALLERY, person.person_id, pictures)
    if not any(outcomes):
        raise ValueError(f"expected a picture that can be enrolled, got {outcomes}")


def summary(score: Score, frames: int) -> dict[str, object]:
    """The JSON line."""
    return {
        "frames": frames,
        "frames_crossing": score.crossing,
        "excepted_changed_px": score.changed_px,
        "changed_crossing_px": score.changed_crossing_px,
        "covered_min": round(min(score.covered, default=0.0), 4),
        "covered_mean": round(float(np.mean(score.covered)), 4),
        "covered_crossing_min": round(min(score.covered_crossing, default=0.0), 4),
        "imperfect_frames": [number for _, number in score.worst],
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--effect", default="solid", choices=("solid", "blur", "pixelate"))
    parser.add_argument("--only", action="store_true")
    parser.add_argument("--keep", type=Path, help="Folder for the clip and what became of it.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kmex") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        score = run(options.data, options.frames, options.effect, options.only, folder)
    for share, number in score.worst:
        print(f"frame {number}: covered {share}")
    print(json.dumps(summary(score, options.frames)))


if __name__ == "__main__":
    main()
