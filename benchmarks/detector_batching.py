"""What the detector's batcher loses: many clients, against one offline batch of the same pictures.

    python -m benchmarks.detector_batching [--clients 8] [--rounds 5] [--size small] [--threads 1]

D-FINE with random weights looks for everything in 640x480 JPEG pictures. `offline` is a program of
one's own: transformers' processor, one forward over all pictures and transformers' postprocessing,
decoding included; `model` is its forward alone. `service` is a detector in a process of its own
with `--clients` clients, each of which asks for its picture, waits, and asks again. The model has
`--threads` threads on both sides. Rounds alternate; figures are medians in pictures/s. Needs
`kinemask-detector[transformers]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import torch
import transformers
from kinemask import images
from kinemask.v1 import detector_pb2, detector_pb2_grpc, media_pb2

from benchmarks.detection_models import SIZES, save_dfine
from benchmarks.harness import service_process
from benchmarks.moving import moving_frames

_WIDTH, _HEIGHT = 640, 480
_BATCHES_A_ROUND = 6
_NAME = "random-dfine"
_TOP_K = 20
_TOLERANCE = 1e-3

Scores = list[list[float]]
"""The best of each picture, best first."""


class Offline:
    """The same pictures in one batch, in this process."""

    def __init__(self, folder: Path) -> None:
        self._processor: Any = transformers.AutoImageProcessor.from_pretrained(folder)
        loaded: Any = transformers.AutoModelForObjectDetection.from_pretrained(folder)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = loaded.to(self._device).eval()

    def run(self, pictures: Sequence[bytes]) -> tuple[float, float, Scores]:
        """`(pictures/s in all, pictures/s of the model alone, scores)`."""
        begun_s = time.perf_counter()
        decoded = [images.decode(picture) for picture in pictures]
        prepared = self._processor(images=decoded, return_tensors="pt")["pixel_values"]
        model_s = time.perf_counter()
        with torch.inference_mode():
            output = self._model(prepared.to(self._device))
            output.logits.cpu()  # waits for the device
        seen_s = time.perf_counter()
        found = self._processor.post_process_object_detection(
            output, threshold=0.0, target_sizes=[image.shape[:2] for image in decoded]
        )
        scores = [one["scores"].sort(descending=True).values[:_TOP_K].tolist() for one in found]
        total_s = time.perf_counter() - begun_s
        return len(pictures) / total_s, len(pictures) / (seen_s - model_s), scores


async def run_service(address: str, pictures: Sequence[bytes], asks: int) -> tuple[float, Scores]:
    """`(pictures/s, scores)` with one client a picture, each asking `asks` times."""
    options = detector_pb2.DetectOptions(
        model=_NAME, score_threshold=0.0, overlap_threshold=1.0, top_k=_TOP_K
    )

    async def client(picture: bytes) -> list[float]:
        image = media_pb2.Image(encoded=picture)
        request = detector_pb2.DetectRequest(images=[image], options=options)
        pooled = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
        async with grpc.aio.insecure_channel(address, options=pooled) as channel:
            stub = detector_pb2_grpc.DetectorServiceStub(channel)
            for _ in range(asks):
                result = (await stub.Detect(request)).results[0]
                if result.HasField("error"):
                    raise RuntimeError(result.error.message)
        return [one.score for one in result.detections]

    begun_s = time.perf_counter()
    scores = await asyncio.gather(*(client(picture) for picture in pictures))
    return asks * len(pictures) / (time.perf_counter() - begun_s), scores


def compare(address: str, folder: Path, pictures: Sequence[bytes], rounds: int) -> dict[str, float]:
    """The figures, medians over alternating rounds.

    Raises:
        RuntimeError: the two do not find the same.
    """
    offline = Offline(folder)
    _, _, expected = offline.run(pictures)  # first-call costs
    asyncio.run(run_service(address, pictures, 1))
    offline_per_s, model_per_s, service_per_s = [], [], []
    for _ in range(rounds):
        runs = [offline.run(pictures) for _ in range(_BATCHES_A_ROUND)]
        offline_per_s.append(statistics.harmonic_mean([run[0] for run in runs]))
        model_per_s.append(statistics.harmonic_mean([run[1] for run in runs]))
        per_s, found = asyncio.run(run_service(address, pictures, _BATCHES_A_ROUND))
        service_per_s.append(per_s)
        _same(expected, found)
    ratios = [s / o for s, o in zip(service_per_s, offline_per_s, strict=True)]
    to_model = [s / m for s, m in zip(service_per_s, model_per_s, strict=True)]
    return {
        "service_per_s": round(statistics.median(service_per_s), 3),
        "offline_per_s": round(statistics.median(offline_per_s), 3),
        "model_per_s": round(statistics.median(model_per_s), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_to_model_alone": round(statistics.median(to_model), 3),
    }


def _same(expected: Scores, found: Scores) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        # The service leaves out boxes that lie outside the picture.
        if not ours or abs(ours[0] - theirs[0]) > _TOLERANCE:
            raise RuntimeError(f"expected {theirs[:3]}, the service found {ours[:3]}")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Build the model, start the service, compare."""
    frames = moving_frames(options.clients, _WIDTH, _HEIGHT)
    pictures = [images.encode_jpeg(frame) for frame in frames]
    with tempfile.TemporaryDirectory() as data:
        folder = save_dfine(Path(data) / "models" / _NAME, SIZES[options.size])
        told = {
            "KINEMASK_DATA_DIR": data,
            "KINEMASK_DETECTOR_MAX_BATCH": str(options.max_batch),
            "OMP_NUM_THREADS": str(options.threads),
        }
        with service_process("kinemask_detector", told) as (address, _):
            figures = compare(address, folder, pictures, options.rounds)
    return {
        "clients": options.clients,
        "max_batch": options.max_batch,
        "threads": options.threads,
        **figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=8, help="pictures at once (default: 8)")
    parser.add_argument("--max-batch", type=int, default=8, help="of the service (default: 8)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (default: 5)")
    parser.add_argument("--size", choices=SIZES, default="small", help="of the model")
    parser.add_argument("--threads", type=int, default=1, help="of the model (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    main()
