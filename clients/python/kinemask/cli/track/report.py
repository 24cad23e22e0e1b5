"""What a run says at its end: as tables for a person, or as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kinemask.cli.output import print_tables, table
from kinemask.cli.track.captions import FrameCaption
from kinemask.cli.track.request import TrackRequest
from kinemask.cli.track.tally import ObjectTally, Tally

if TYPE_CHECKING:
    from kinemask.config import StreamInfo
    from kinemask.video import VideoInfo

LOST_WORTH_SAYING = 3
"""Frames; shorter losses are in the table only."""
_MOST_OBJECT_ROWS = 30


@dataclass(frozen=True)
class TrackReport:
    """Everything there is to say of a run that came to its end."""

    request: TrackRequest
    video: VideoInfo
    stream: StreamInfo
    tally: Tally
    seconds: float
    """From the first frame's decoding to the finished file."""
    stages_ms: dict[str, float]
    """Milliseconds a frame (for detect and track: a detection) of each stage."""
    allow_empty: bool
    captions: Sequence[FrameCaption] = ()
    """In the frames' order."""

    @property
    def frames_per_s(self) -> float:
        return self.tally.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def found_nothing(self) -> bool:
        """True if there were words, and none of them found anything."""
        texts = self.request.texts
        return bool(texts) and self.tally.words_that_found_nothing(texts) == list(texts)

    def warnings(self) -> list[str]:
        """What a person should know before relying on the result, the gravest first."""
        said = self._nothing_found()
        said += [
            f"{stage} was degraded on {entry.frames} of {self.tally.frames} frames: {entry.why}"
            for stage, entry in self.tally.degraded.items()
        ]
        said += self._empty_frames()
        said += self._undescribed()
        lost = [o for o in self.tally.objects.values() if o.lost.frames >= LOST_WORTH_SAYING]
        said += [_lost(known, self.request.hides) for known in lost[:_MOST_OBJECT_ROWS]]
        if self.request.is_cut and self.video.has_audio and self.request.audio:
            said.append("the sound was left out, because only a part of the video was written")
        return said

    def _nothing_found(self) -> list[str]:
        if self.found_nothing and self.request.hides:
            what = _any(self.request.texts)
            return [f"NOTHING WAS FOUND, so nothing is hidden: no {what} in any frame"]
        absent = self.tally.words_that_found_nothing(self.request.texts)
        return [f"no {_any((text,))} was found in any frame" for text in absent]

    def _undescribed(self) -> list[str]:
        failed = [one for one in self.captions if one.why]
        total = len(self.captions)
        return [f"{len(failed)} of {total} captions failed: {failed[0].why}"] if failed else []

    def _empty_frames(self) -> list[str]:
        empty = self.tally.empty
        if empty.longest is None or not self.tally.objects:
            return []
        first, last = empty.longest
        hidden = ", so nothing is hidden there" if self.request.hides else ""
        return [
            f"{empty.frames} of {self.tally.frames} frames have no object at all "
            f"(longest: {first} to {last}){hidden}"
        ]

    def print(self) -> None:
        """Tables, on standard output."""
        written = [str(path) for path in (self.request.output, self.request.masks) if path]
        size = f"{self.video.width}x{self.video.height}"
        head = (
            f"Wrote {' and '.join(written)}: {self.tally.frames} frames of {size} "
            f"in {self.seconds:.1f} s, {self.frames_per_s:.1f} frames/s"
        )
        tables = [self._object_table(), self._stage_table(), self._service_table()]
        captions = [self._caption_table()] if self.captions else []
        print_tables(head, *tables, *captions)

    def _caption_table(self) -> object:
        rows = [(one.frame, f"{one.time_s:.1f}", one.text or "-") for one in self.captions]
        return table(("Frame#", "Seconds#", "Caption"), rows)

    def _object_table(self) -> object:
        known = list(self.tally.objects.values())
        if not known:
            return "Objects: none"
        rows: list[tuple[object, ...]] = [
            (
                o.object_id,
                " ".join(part for part in (o.label, o.name) if part) or "-",
                o.frames,
                o.first_frame,
                o.last_frame,
                o.lost.frames or "-",
            )
            for o in known[:_MOST_OBJECT_ROWS]
        ]
        if len(known) > len(rows):
            rows.append(("...", f"and {len(known) - len(rows)} more", "", "", "", ""))
        return table(
            ("Object#", "Label", "Frames seen#", "First#", "Last#", "Lost in between#"), rows
        )

    def _stage_table(self) -> object:
        rows = [
            (stage, f"{ms:.1f}", _STAGES.get(stage, "")) for stage, ms in self.stages_ms.items()
        ]
        return table(("Stage", "ms#", ""), rows)

    def _service_table(self) -> object:
        rows = [
            (name, facts["engine"], facts["model"], facts["device"], facts["version"])
            for name, facts in self._services().items()
        ]
        return table(("Service", "Engine", "Model", "Device", "Version"), rows)

    def _services(self) -> dict[str, dict[str, str]]:
        found = {self.stream.service.service or "gateway": self.stream.service}
        for stage in self.stream.stages:
            if stage.service is not None:
                found[stage.service.service or stage.stage] = stage.service
        return {
            name: {
                "engine": info.engine,
                "model": f"{info.model} {info.revision}".strip(),
                "device": info.device,
                "version": info.version,
                "notice": info.notice,
            }
            for name, info in found.items()
        }

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        output, masks = self.request.output, self.request.masks
        return {
            "video": str(self.request.video),
            "output": None if output is None else str(output),
            "masks": None if masks is None else str(masks),
            "width": self.video.width,
            "height": self.video.height,
            "frames": self.tally.frames,
            "frames_without_objects": self.tally.empty.frames,
            "seconds": round(self.seconds, 3),
            "frames_per_s": round(self.frames_per_s, 2),
            "objects": [_object_json(known) for known in self.tally.objects.values()],
            "stages_ms": {stage: round(ms, 3) for stage, ms in self.stages_ms.items()},
            "services": self._services(),
            "captions": [
                {"frame": one.frame, "time_s": round(one.time_s, 3), "caption": one.text}
                for one in self.captions
                if not one.why
            ],
            "degraded": {
                stage: {"frames": entry.frames, "why": entry.why}
                for stage, entry in self.tally.degraded.items()
            },
            "warnings": self.warnings(),
            "found_nothing": self.found_nothing,
        }


_STAGES = {
    "video decode": "reading the file",
    "jpeg encode": "for the way to the services",
    "queue": "waiting inside the services",
    "decode": "JPEG, inside the services",
    "infer": "the engines",
    "encode": "masks, inside the services",
    "detect": "a detection, until its answer",
    "track": "a detection, until its answer",
    "faces": "a frame, until its answer",
    "segment": "a frame, until its answer; several are under way at once",
    "effect": "decoding masks and drawing",
    "video encode": "writing H.264, as far as it held up the rest",
}


def _object_json(known: ObjectTally) -> dict[str, object]:
    return {
        "object_id": known.object_id,
        "label": known.label,
        "name": known.name,
        "prompt": known.prompt,
        "frames": known.frames,
        "first_frame": known.first_frame,
        "last_frame": known.last_frame,
        "lost_frames": known.lost.frames,
        "longest_loss": known.lost.longest,
    }


def _lost(known: ObjectTally, hides: bool) -> str:
    first, last = known.lost.longest or (0, 0)
    uncovered = ", and not hidden there if it was in sight" if hides else ""
    return (
        f"object {known.object_id} ({known.label or 'unnamed'}) was lost on {known.lost.frames} "
        f"frames between {known.first_frame} and {known.last_frame} (longest: {first} to {last})"
        f"{uncovered}"
    )


def _any(texts: tuple[str, ...]) -> str:
    return " or ".join(repr(text) for text in texts)
