"""Who stays visible and who is covered when everybody but one person is to be hidden.

    python -m benchmarks.faces_except --data FOLDER [--clip behind ...] [--frames 90]
        [--effect solid] [--only] [--per-frame]

Makes clips of three people from pictures (FOLDER/PERSON/*.jpg, of the first three people with two
pictures or more): the first and the second cross, the third stays (`benchmarks.crossing_faces` has
the clips; `--clip all` runs every one). The first is enrolled by the other pictures, and a clip
goes through what `kinemask track --text face --except NAME` does, with real services, up to where
frames would be encoded: there the truth of every pixel is known.

Ends with one JSON line; with several clips, `clips` has one for each. `excepted_changed_px`: pixels
inside the excepted face's truth mask that were changed, over all frames; `changed_named_px`: those
of them on frames on which it was known who the face was (while that is undecided it is covered, as
it must be), and `frames_unnamed` the other frames on which the face could be seen; `covered_min`:
the least share of another face's truth mask that was covered on any frame; `covered_mean`;
`frames`, `frames_crossing` (faces overlap), `changed_crossing_px` and `covered_crossing_min` for
those alone; `imperfect_frames`: `[frame, changed px, least share covered]`. With --only it is the
other way round: the first is to be covered, and nobody else.
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
from kinemask.results import LiveFrame
from kinemask.video import VideoFrame, VideoReader, VideoWriter
from kinemask_faces.engines.registry import ModelFiles, load_models

from benchmarks.crossing_faces import (
    CROSSINGS,
    FACE_PX,
    HEIGHT,
    WIDTH,
    Crossing,
    Cutout,
    Image,
    MadeFrame,
    made_clip,
)
from benchmarks.faces_accuracy import read_rgb

FPS = 25
GALLERY, NAME = "benchmark", "The excepted one"
COLOUR = (0, 255, 0)


@dataclass
class Score:
    """What was drawn, against the truth."""

    changed_px: int = 0
    changed_crossing_px: int = 0
    covered: list[float] = field(default_factory=list)
    covered_crossing: list[float] = field(default_factory=list)
    crossing: int = 0
    changed_named_px: int = 0
    frames_unnamed: int = 0
    frames: list[tuple[int, int, float]] = field(default_factory=list)
    """Number, pixels changed wrongly, least share covered."""

    def add(
        self, number: int, made: MadeFrame, before: Image, after: Image, only: bool, named: bool
    ) -> None:
        """Judge one frame; `named`: it is known on it who the first person is."""
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
        self.changed_named_px += wrongly * named
        self.frames_unnamed += not named and bool(made.masks[0].any())
        self.frames.append((number, wrongly, round(float(min(shares, default=1.0)), 4)))
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
        self._named = False

    def _drawn(self, frame: VideoFrame, answer: LiveFrame) -> Image:
        self._named = any(o.name is not None and o.name.name == NAME for o in answer.objects)
        return super()._drawn(frame, answer)

    def _write(self, frame: VideoFrame, image: Image, writer: VideoWriter) -> None:
        before = next(self._truth).image
        made = self._clip[frame.index]
        self.score.add(frame.index, made, before, image, self._only, self._named)
        super()._write(frame, image, writer)


def cut_out(picture: Image, height_px: float) -> Cutout:
    """The largest face of a picture, `height_px` high, in an ellipse.

    Raises:
        ValueError: there is none.
    """
    model = load_models(ModelFiles()).default
    [faces] = model.detect([picture], model.info.score_threshold)
    if not faces:
        raise ValueError("expected a picture with a face, found none")
    x_min, y_min, x_max, y_max = faces[0].box_xyxy
    scale = height_px / (y_max - y_min)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    middle = (round((x_min + x_max) / 2 * scale), round((y_min + y_max) / 2 * scale))
    axes = (round((x_max - x_min) / 2 * scale * 1.05), round(height_px / 2 * 1.05))
    inside = np.zeros(small.shape[:2], np.uint8)
    cv2.ellipse(inside, middle, axes, 0, 0, 360, 255, -1)
    rows, columns = np.nonzero(inside)
    part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return Cutout(np.asarray(small[part], np.uint8), inside[part] > 0)


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


def run(
    data: Path, frames: int, effect: str, only: bool, scratch: Path, crossing: Crossing
) -> Score:
    """Make the clip, enrol the first person, judge the run."""
    pictures = pictures_of(data)
    heights = [FACE_PX, FACE_PX * crossing.second_size, FACE_PX]
    people = [
        cut_out(read_rgb(found[0]), height) for found, height in zip(pictures, heights, strict=True)
    ]
    clip = list(made_clip(people, frames, crossing))
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
        "covered_min": round(float(min(score.covered, default=0.0)), 4),
        "covered_mean": round(float(np.mean(score.covered)), 4),
        "covered_crossing_min": round(float(min(score.covered_crossing, default=0.0)), 4),
        "changed_named_px": score.changed_named_px,
        "frames_unnamed": score.frames_unnamed,
        "imperfect_frames": [one for one in score.frames if one[1] or one[2] < 0.99],
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--effect", default="solid", choices=("solid", "blur", "pixelate"))
    parser.add_argument("--only", action="store_true")
    names = (*CROSSINGS, "all")
    parser.add_argument("--clip", action="append", default=[], choices=names)
    parser.add_argument("--per-frame", action="store_true")
    parser.add_argument("--keep", type=Path, help="Folder for the clip and what became of it.")
    options = parser.parse_args()
    wanted = list(CROSSINGS) if "all" in options.clip else options.clip or ["behind"]
    found = {}
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="kmex") as scratch:
            folder = options.keep / name if options.keep else Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            crossing, only = CROSSINGS[name], options.only
            score = run(options.data, options.frames, options.effect, only, folder, crossing)
        found[name] = summary(score, options.frames)
        for number, changed, share in score.frames if options.per_frame else ():
            print(f"{name} frame {number}: changed {changed} px, covered {share}")
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    print(json.dumps({"clips": found} if len(found) > 1 else found[wanted[0]]))


if __name__ == "__main__":
    main()
