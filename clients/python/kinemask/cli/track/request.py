"""What one run of `kinemask track` was asked for, checked before any work begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kinemask.cli.failures import usage_error
from kinemask.cli.options import Pointed, check_target

if TYPE_CHECKING:
    from kinemask.effects import EffectSpec
    from kinemask.video import VideoInfo

VIDEO_ENDINGS = (".mp4", ".m4v", ".mov")
PRIVACY_EFFECTS = ("blur", "pixelate", "solid")
PRIVACY_GROWTH = 0.1
DEFAULT_EFFECT = "overlay"


@dataclass(frozen=True)
class Growth:
    """How far an effect reaches beyond its object: both are added."""

    px: float = 0.0
    fraction: float = 0.0
    """Of the longer side of the object's box."""


@dataclass(frozen=True)
class Models:
    """Who is to do the work; `auto` leaves it to each service."""

    detector: str = "auto"
    segmenter: str = "auto"
    tracker: str = "auto"
    captioner: str = "auto"
    faces: str = "auto"


@dataclass(frozen=True)
class TrackRequest:
    """One run. Invariant: there is something to find, and somewhere to write to."""

    video: Path
    texts: tuple[str, ...]
    objects: tuple[Pointed, ...]
    effects: tuple[EffectSpec, ...]
    """In the order they are drawn; empty if no video is written."""
    output: Path | None
    masks: Path | None
    start: int = 0
    """First frame that is worked on, from 0."""
    end: int | None = None
    """The frame after the last; None: to the video's end."""
    every: int = 0
    threshold: float | None = None
    models: Models = field(default_factory=Models)
    audio: bool = True
    caption_every: int = 0
    """Describe every n-th frame; 0: none."""
    except_names: tuple[str, ...] = ()
    """People on whom nothing is drawn."""
    only_names: tuple[str, ...] = ()
    """People on whom alone something is drawn."""
    gallery: str = ""
    """Where people are looked up."""

    @property
    def services(self) -> tuple[str, ...]:
        """The services it needs, beside the gateway."""
        words = ("detector", "tracker") if self.texts else ()
        captions = ("captioner",) if self.caption_every else ()
        faces = ("faces",) if self.names else ()
        return (*words, "segmenter", *captions, *faces)

    @property
    def names(self) -> tuple[str, ...]:
        """The people that --except or --only names."""
        return self.except_names or self.only_names

    @property
    def is_cut(self) -> bool:
        """True if not every frame is wanted."""
        return self.start > 0 or self.end is not None

    @property
    def hides(self) -> bool:
        """True if somebody relies on every object being covered."""
        return any(effect.name in PRIVACY_EFFECTS for effect in self.effects)

    @property
    def rhythm(self) -> int:
        """Look for the words on every n-th frame; 0: the gateway's own.

        What is to be hidden is looked for on every frame: it may come in on any.
        """
        return self.every or (1 if self.hides else 0)

    def check(self, overwrite: bool) -> None:
        """Whether it can be begun, as far as the line alone says.

        Raises:
            CommandError: no video, nothing to find, an impossible range, or no place to write.
        """
        if not self.video.is_file():
            what = "no such file" if not self.video.exists() else "expected a file"
            raise usage_error(f"{self.video}: {what}")
        if not self.texts and not self.objects:
            raise usage_error("what is to be tracked?", "--text face, or --box X1,Y1,X2,Y2")
        if any(not text.strip() for text in self.texts):
            raise usage_error("--text: expected words, found none")
        self._check_names()
        if self.end is not None and self.end <= self.start:
            raise usage_error(f"--end {self.end}: expected a frame after --start {self.start}")
        if self.output is not None:
            check_target(self.output, VIDEO_ENDINGS, overwrite, [self.video])
        if self.masks is not None:
            check_target(self.masks, (".json",), overwrite, [self.video])

    def _check_names(self) -> None:
        if self.except_names and self.only_names:
            raise usage_error("--except and --only: expected one of them")
        if not self.names:
            return
        if any(not name.strip() for name in self.names):
            raise usage_error("--except and --only: expected a name, found none")
        if not self.texts:
            raise usage_error("--except and --only: whose faces?", "--text face")
        if self.output is None:
            raise usage_error("--except and --only: expected an effect", "--effect blur")

    def check_against(self, info: VideoInfo) -> None:
        """Whether the video has what is asked about.

        Raises:
            CommandError: a prompt lies outside the picture or on a frame that is not worked on.
        """
        last = info.frame_count if self.end is None else self.end
        if info.frame_count is not None and self.start >= info.frame_count:
            raise usage_error(f"--start {self.start}: the video has {info.frame_count} frames")
        for shown in self.objects:
            shown.check_inside(info.width, info.height)
            frame = self.start if shown.frame is None else shown.frame
            if frame < self.start or (last is not None and frame >= last):
                until = "on" if last is None else f"to {last - 1}"
                raise usage_error(f"{shown.written}: expected a frame from {self.start} {until}")


def effect_specs(
    names: list[str],
    intensity: float | None,
    color: tuple[int, int, int] | None,
    growth: Growth | None,
    region: Literal["mask", "box"],
) -> tuple[EffectSpec, ...]:
    """The effects by name. Those that hide something reach a little beyond it unless told.

    Raises:
        CommandError: a number is out of range.
    """
    from kinemask.effects import EffectSpec

    specs = []
    for name in names:
        usual = Growth(fraction=PRIVACY_GROWTH if name in PRIVACY_EFFECTS else 0.0)
        grow = growth or usual
        try:
            specs.append(EffectSpec(name, intensity, color, grow.px, grow.fraction, region))
        except ValueError as error:
            raise usage_error(str(error)) from error
    return tuple(specs)


def growth_of(text: str | None) -> Growth | None:
    """`0.1` is a share of the object's size, `12px` are pixels.

    Raises:
        CommandError: it is neither, or out of range.
    """
    if text is None:
        return None
    in_pixels = text.endswith("px")
    try:
        number = float(text.removesuffix("px"))
    except ValueError:
        number = -1.0
    if not 0 <= number <= (1000 if in_pixels else 2):
        raise usage_error(
            f"--grow {text}: expected a share of the object's size from 0 to 2, such as 0.1, "
            f"or pixels such as 12px"
        )
    return Growth(px=number) if in_pixels else Growth(fraction=number)
