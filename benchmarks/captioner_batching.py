"""What the captioner's batcher loses: many clients, against one offline batch of the same pictures.

    python -m benchmarks.captioner_batching [--clients 8] [--rounds 5] [--size mid] [--threads 1]

BLIP with random weights describes 640x480 JPEG pictures in `--tokens` tokens each. `offline` is a
program of one's own: transformers' processor and one `generate` over all pictures, decoding and
words included; `model` is its `generate` alone. `service` is a captioner in a process of its own
with `--clients` clients, each of which asks for its picture, waits, and asks again. The model has
`--threads` threads on both sides. Rounds alternate; figures are medians in pictures/s. Needs
`kinemask-captioner[transformers]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
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
from kinemask.v1 import captioner_pb2, captioner_pb2_grpc, media_pb2

from benchmarks.caption_models import SIZES, save_blip
from benchmarks.harness import service_process
from benchmarks.moving import moving_frames

_WIDTH, _HEIGHT = 640, 480
_BATCHES_A_ROUND = 6
_NAME = "random-blip"


class Offline:
    """The same pictures in one batch, in this process."""

    def __init__(self, folder: Path, tokens: int) -> None:
        self._processor: Any = transformers.AutoProcessor.from_pretrained(folder)
        loaded: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = torch.float16 if self._device == "cuda" else torch.float32
        self._model = loaded.to(self._device, self._dtype).eval()
        self._tokens = tokens

    def run(self, pictures: Sequence[bytes]) -> tuple[float, float, list[str]]:
        """`(pictures/s in all, pictures/s of the model alone, captions)`."""
        begun_s = time.perf_counter()
        decoded = [images.decode(picture) for picture in pictures]
        prepared = self._processor(images=decoded, return_tensors="pt")["pixel_values"]
        model_s = time.perf_counter()
        with torch.inference_mode():
            made = self._model.generate(
                prepared.to(self._device, self._dtype),
                num_beams=1,
                do_sample=False,
                min_new_tokens=self._tokens,
                max_new_tokens=self._tokens,
            ).cpu()
        words_s = time.perf_counter()
        words: list[str] = self._processor.batch_decode(made, skip_special_tokens=True)
        total_s = time.perf_counter() - begun_s
        return len(pictures) / total_s, len(pictures) / (words_s - model_s), words


async def run_service(
    address: str, pictures: Sequence[bytes], tokens: int, asks: int
) -> tuple[float, list[str]]:
    """`(pictures/s, captions)` with one client a picture, each asking `asks` times."""
    options = captioner_pb2.CaptionOptions(max_tokens=tokens, min_tokens=tokens)

    async def client(picture: bytes) -> str:
        image = media_pb2.Image(encoded=picture)
        request = captioner_pb2.CaptionRequest(images=[image], options=options)
        pooled = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
        async with grpc.aio.insecure_channel(address, options=pooled) as channel:
            stub = captioner_pb2_grpc.CaptionerServiceStub(channel)
            for _ in range(asks):
                result = (await stub.Caption(request)).results[0]
                if result.HasField("error"):
                    raise RuntimeError(result.error.message)
        return str(result.caption)

    begun_s = time.perf_counter()
    words = await asyncio.gather(*(client(picture) for picture in pictures))
    return asks * len(pictures) / (time.perf_counter() - begun_s), words


def compare(
    address: str, folder: Path, pictures: Sequence[bytes], tokens: int, rounds: int
) -> dict[str, float]:
    """The figures, medians over alternating rounds.

    Raises:
        RuntimeError: the two do not say the same.
    """
    offline = Offline(folder, tokens)
    _, _, expected = offline.run(pictures)  # first-call costs
    asyncio.run(run_service(address, pictures, tokens, 1))
    offline_per_s, model_per_s, service_per_s = [], [], []
    for _ in range(rounds):
        runs = [offline.run(pictures) for _ in range(_BATCHES_A_ROUND)]
        offline_per_s.append(statistics.harmonic_mean([run[0] for run in runs]))
        model_per_s.append(statistics.harmonic_mean([run[1] for run in runs]))
        per_s, words = asyncio.run(run_service(address, pictures, tokens, _BATCHES_A_ROUND))
        service_per_s.append(per_s)
        if words != expected:
            raise RuntimeError(f"expected {expected[0]!r}, the service said {words[0]!r}")
    ratios = [s / o for s, o in zip(service_per_s, offline_per_s, strict=True)]
    to_model = [s / m for s, m in zip(service_per_s, model_per_s, strict=True)]
    return {
        "service_per_s": round(statistics.median(service_per_s), 3),
        "offline_per_s": round(statistics.median(offline_per_s), 3),
        "model_per_s": round(statistics.median(model_per_s), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_to_model_alone": round(statistics.median(to_model), 3),
    }


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Build the model, start the service, compare."""
    frames = moving_frames(options.clients, _WIDTH, _HEIGHT)
    pictures = [images.encode_jpeg(frame) for frame in frames]
    with tempfile.TemporaryDirectory() as data:
        folder = save_blip(Path(data) / "models" / _NAME, SIZES[options.size])
        told = {
            "KINEMASK_DATA_DIR": data,
            "KINEMASK_CAPTIONER_MAX_BATCH": str(options.max_batch),
            "OMP_NUM_THREADS": str(options.threads),
        }
        with service_process("kinemask_captioner", told) as (address, _):
            figures = compare(address, folder, pictures, options.tokens, options.rounds)
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
    parser.add_argument("--max-batch", type=int, default=16, help="of the service (default: 16)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (default: 5)")
    parser.add_argument("--tokens", type=int, default=20, help="of each caption (default: 20)")
    parser.add_argument("--size", choices=SIZES, default="mid", help="of the model (default: mid)")
    parser.add_argument("--threads", type=int, default=1, help="of the model (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    main()
