"""The whole service with real checkpoints, random weights, on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from kinemask import wire
from kinemask.v1 import media_pb2

from tests.captioner.caption_calls import captioning_with, words_of
from tests.stream_kit import code_of, status_of

pytest.importorskip("transformers", reason="captioning models need transformers")

NAMES = ["blip-image-captioning-base", "florence-2-base", "smolvlm2-500m-video-instruct"]


def photo(seed: int) -> media_pb2.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return wire.image_to_message(np.repeat(np.repeat(small, 20, axis=0), 20, axis=1))


async def test_every_model_is_listed_and_blip_is_the_default(tiny_data: Path) -> None:
    async with captioning_with(tiny_data) as calls:
        models = await calls.models()
        assert [(model.name, model.ready, model.is_default) for model in models] == [
            (NAMES[0], True, True),
            (NAMES[1], True, False),
            (NAMES[2], True, False),
        ]
        answer = await calls.caption([photo(1)])
        assert (answer.service.model, answer.service.engine) == (NAMES[0], "transformers")
        assert answer.results[0].caption


async def test_many_clients_get_what_each_gets_alone(tiny_data: Path) -> None:
    async with captioning_with(tiny_data, captioner_max_batch=4) as calls:
        images = [photo(seed) for seed in range(6)]
        asked = [(image, model) for model in NAMES for image in images]
        at_once = await asyncio.gather(
            *(calls.caption([image], model=model, max_tokens=10) for image, model in asked)
        )
        for (image, model), answer in zip(asked, at_once, strict=True):
            alone = await calls.caption([image], model=model, max_tokens=10)
            assert words_of(answer) == words_of(alone)
            assert answer.service.model == model


async def test_small_memory_holds_one_model_at_a_time(tiny_data: Path) -> None:
    # The tiny models take 0.2 to 0.6 MB each.
    async with captioning_with(tiny_data, captioner_memory_mib=1) as calls:
        first = words_of(await calls.caption([photo(1)], model=NAMES[0]))
        for model in (NAMES[1], NAMES[2], NAMES[0], NAMES[1], NAMES[0]):
            answer = await calls.caption([photo(1)], model=model)
            assert not answer.results[0].HasField("error")
        assert words_of(await calls.caption([photo(1)], model=NAMES[0])) == first


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"model": NAMES[1], "text": "a cat"}, id="no task of Florence's"),
        pytest.param({"model": NAMES[0], "max_tokens": 1024}, id="longer than BLIP can"),
        pytest.param({"model": NAMES[2], "text": "<image>"}, id="a mark of the model's own"),
    ],
)
async def test_what_the_model_cannot_do_is_the_callers_error(
    tiny_data: Path, options: dict[str, Any]
) -> None:
    async with captioning_with(tiny_data) as calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls.caption([photo(1)], **options)
        assert code_of(status_of(refused.value)) is grpc.StatusCode.INVALID_ARGUMENT
