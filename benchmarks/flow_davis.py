"""Region similarity and speed of the segmenter on DAVIS-like folders, through its stream rpc.

    python -m benchmarks.flow_davis --data ../shared/data/davis [--model flow] [--sequence NAME ...]

`--data` holds one folder a sequence, each with `frames/*.jpg` and `masks/*.png` (0 and 255) of the
same names. The first frame's mask is the prompt. J is the mean over frames, the first and the last
left out, of the intersection over union with the truth at the truth's size, as DAVIS 2016 defines
it (Perazzi et al., CVPR 2016). The segmenter runs in a process of its own; frames travel as the
JPEG files they are; fps counts from the first frame sent to the last mask received.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import kinemask
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import service_process

_WINDOW = 8
BoolMask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sequence:
    """One clip: its frames as files, and the truth for each."""

    name: str
    frames: list[bytes]
    truths: list[BoolMask]

    @classmethod
    def read(cls, folder: Path) -> Sequence:
        """Read a folder.

        Raises:
            ValueError: frames and masks do not go together.
        """
        frames = sorted((folder / "frames").glob("*.jpg"))
        masks = sorted((folder / "masks").glob("*.png"))
        if not frames or [f.stem for f in frames] != [m.stem for m in masks]:
            raise ValueError(
                f"{folder}: expected one mask for each frame, found {len(frames)} frames and "
                f"{len(masks)} masks"
            )
        return cls(folder.name, [f.read_bytes() for f in frames], [_truth(m) for m in masks])


def _truth(path: Path) -> BoolMask:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError(f"{path}: not a picture")
    return np.asarray(grey > 127)


def similarity(mask: BoolMask, truth: BoolMask) -> float:
    """Intersection over union; 1 if both are empty."""
    union = int(np.count_nonzero(mask | truth))
    return int(np.count_nonzero(mask & truth)) / union if union else 1.0


async def run_sequence(address: str, sequence: Sequence, model: str) -> tuple[float, float]:
    """`(J, fps)` of one sequence over one stream."""
    options = kinemask.StreamOptions(window=_WINDOW)
    async with (
        kinemask.AsyncClient(address) as client,
        client.segment_video(kinemask.VideoConfig(model=model), options=options) as stream,
    ):
        accepted = stream.prompt(1, mask=sequence.truths[0], frame_id=0)
        begun_s = time.perf_counter()
        sender = asyncio.create_task(_send(stream, sequence.frames))
        answers = [answer async for answer in stream]
        spent_s = time.perf_counter() - begun_s
        await sender
        await accepted
    masks = [_mask_of(answer, sequence.truths[0].shape) for answer in answers]
    scores = [similarity(m, t) for m, t in zip(masks, sequence.truths, strict=True)][1:-1]
    return float(np.mean(scores)), len(masks) / spent_s


async def _send(stream: kinemask.AsyncVideoStream, frames: list[bytes]) -> None:
    for encoded in frames:
        await stream.send(encoded)
    await stream.finish()


def _mask_of(answer: kinemask.SegmentedFrame, shape: tuple[int, ...]) -> BoolMask:
    if answer.error is not None:
        raise answer.error
    for entry in answer.objects:
        if entry.object_id == 1 and entry.mask is not None:
            return entry.mask
    return np.zeros(shape, np.bool_)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of sequences")
    parser.add_argument("--model", default="flow", help="the segmenter's model (default: flow)")
    parser.add_argument("--sequence", action="append", help="only this one; may be repeated")
    options = parser.parse_args()
    folders = sorted(p.parent for p in options.data.glob("*/frames"))
    chosen = [f for f in folders if not options.sequence or f.name in options.sequence]
    if not chosen:
        print(
            f"no sequence in {options.data}: expected NAME/frames and NAME/masks", file=sys.stderr
        )
        return 2
    found = {}
    with service_process("kinemask_segmenter") as (address, _):
        for folder in chosen:
            sequence = Sequence.read(folder)
            j, fps = asyncio.run(run_sequence(address, sequence, options.model))
            found[sequence.name] = {"j": round(j, 4), "fps": round(fps, 2)}
            print(
                f"{sequence.name:24} J {j:.3f}  {fps:6.1f} frames/s  {len(sequence.frames)} frames"
            )
    total = {
        "mean_j": round(float(np.mean([s["j"] for s in found.values()])), 4),
        "fps": round(float(np.mean([s["fps"] for s in found.values()])), 2),
        "sequences": found,
    }
    print(json.dumps(total))
    return 0


if __name__ == "__main__":
    sys.exit(main())
