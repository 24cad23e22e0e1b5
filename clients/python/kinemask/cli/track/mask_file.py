"""Masks as a COCO file: what pycocotools loads, with a track id for each object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kinemask.cli.output import replacing

if TYPE_CHECKING:
    from kinemask.results import LiveFrame
    from kinemask.video import VideoFrame, VideoInfo

_VIDEO_ID = 1


class MaskFile:
    """Writes annotations as they come, so that memory does not grow with them.

    `images` has an entry a frame (id: the frame's number from 1; `frame_id`: from 0), `annotations`
    one for each object on each frame where it is: `segmentation` as COCO's compressed RLE, `bbox`
    as x, y, width, height in pixels, `track_id` the same for one object on all frames.
    """

    def __init__(self, file: IO[bytes], info: VideoInfo) -> None:
        self._file = file
        self._info = info
        self._annotations = 0
        self._images: list[dict[str, object]] = []
        self._category_ids: dict[str, int] = {}
        about = {"description": "masks by kinemask track", "version": "1.0"}
        self._write(f'{{"info": {json.dumps(about)}, "annotations": [')

    def add(self, frame: VideoFrame, answer: LiveFrame) -> None:
        """One frame's objects."""
        image_id = frame.index + 1
        self._images.append(
            {
                "id": image_id,
                "video_id": _VIDEO_ID,
                "frame_id": frame.index,
                "file_name": f"{self._info.path.name}#{frame.index}",
                "width": self._info.width,
                "height": self._info.height,
                "time_s": round(frame.time_s, 6),
            }
        )
        for label in sorted({entry.label for entry in answer.objects if entry.box is not None}):
            self._category_ids.setdefault(label, len(self._category_ids) + 1)
        for found in answer.to_coco(image_id, self._category_ids):
            self._annotations += 1
            row = {"id": self._annotations, "video_id": _VIDEO_ID, "iscrowd": 0, **found}
            self._write(("" if self._annotations == 1 else ",") + "\n" + json.dumps(row))

    def finish(self) -> None:
        """Everything but the annotations."""
        fps = self._info.fps
        video = {
            "id": _VIDEO_ID,
            "name": self._info.path.name,
            "width": self._info.width,
            "height": self._info.height,
            "length": len(self._images),
            "fps": None if fps is None else round(fps, 4),
        }
        categories = [{"id": n, "name": label} for label, n in self._category_ids.items()]
        self._write(f'\n], "categories": {json.dumps(categories)}, "videos": [{json.dumps(video)}]')
        rows = ",\n".join(json.dumps(image) for image in self._images)
        self._write(f', "images": [\n{rows}\n]}}\n')

    def _write(self, text: str) -> None:
        self._file.write(text.encode())


@contextmanager
def mask_file(path: Path | None, info: VideoInfo) -> Iterator[MaskFile | None]:
    """A file that appears when the block ends well; None for no path."""
    if path is None:
        yield None
        return
    with replacing(path) as file:
        made = MaskFile(file, info)
        yield made
        made.finish()
