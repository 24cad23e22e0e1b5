"""Milliseconds of each effect on a 1280x720 frame with an object of 10% of it, on one core.

    python -m benchmarks.effects [--repeats 200]

Ends with one JSON line: {"median_ms": {EFFECT: ...}}.
"""

import argparse
import json
import statistics
import time

import cv2
import numpy as np
import numpy.typing as npt
from kinemask.effects import EFFECT_NAMES, EffectObject, make_effect, palette_color

HEIGHT, WIDTH, SHARE = 720, 1280, 0.10


def busy_frame() -> npt.NDArray[np.uint8]:
    """`(720, 1280, 3)` uint8 of coarse and fine noise, the same every time."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return np.asarray(cv2.addWeighted(cv2.GaussianBlur(noise, (0, 0), 9), 0.8, noise, 0.2, 0))


def person_like_object() -> EffectObject:
    """A ragged, upright blob that covers a tenth of the frame, with its box and a label."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    angle = np.arctan2(y - HEIGHT / 2, x - WIDTH / 2)
    distance = np.hypot((x - WIDTH / 2) * 1.6, y - HEIGHT / 2) / (1 + 0.15 * np.sin(7 * angle))
    mask = distance <= np.quantile(distance, SHARE)
    rows, columns = np.nonzero(mask)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return EffectObject(mask=mask, box_xyxy=box, color=palette_color(1), label="person 1")


def median_ms(name: str, repeats: int) -> float:
    """The median time of one `apply` that leaves its input alone."""
    image, objects, effect = busy_frame(), [person_like_object()], make_effect(name)
    times_ms = []
    for _ in range(repeats):
        start = time.perf_counter()
        effect.apply(image, objects)
        times_ms.append(1000 * (time.perf_counter() - start))
    return statistics.median(times_ms)


def main() -> None:
    """Print a line for each effect, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    cv2.setNumThreads(1)
    medians = {name: round(median_ms(name, repeats), 3) for name in EFFECT_NAMES}
    for name, median in medians.items():
        print(f"{name:10} {median:6.2f} ms")
    print(json.dumps({"median_ms": medians}))


if __name__ == "__main__":
    main()
