"""Any captioning checkpoint of the known families, on transformers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from kinemask_chassis.weights.checkpoints import Checkpoint
from kinemask_chassis.weights.pretrained import Pretrained

from kinemask_captioner.engines.base import Caption, CaptionQuery, EngineInfo, Image
from kinemask_captioner.engines.hf.families import check_length, family_of
from kinemask_captioner.engines.hf.generation import Pen, Written, generate


@dataclass(frozen=True)
class Prepared:
    """A picture as the model wants it."""

    inputs: Mapping[str, torch.Tensor]
    """Each `(1, ...)`, on the CPU."""
    query: CaptionQuery

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return tuple((name, tuple(tensor.shape)) for name, tensor in self.inputs.items())


class TransformersEngine:
    """One checkpoint. Its tokenizer is read at the first query, its weights by `load`.

    Invariant: while it is loaded, the pen is the model's.
    """

    def __init__(self, checkpoint: Checkpoint, family: str, device: str = "auto") -> None:
        """`family` as in `family_of`; `device`: auto takes CUDA where there is some.

        Raises:
            ValueError: the weights are damaged.
        """
        self._family = family_of(family)
        self._pretrained = Pretrained(
            checkpoint,
            transformers.AutoModelForImageTextToText,
            device,
            cuda_dtype=self._family.cuda_dtype,
            pickles=True,
        )
        self._pen: Pen | None = None
        self.info = EngineInfo(
            name=checkpoint.name,
            engine="transformers",
            model=family,
            revision=checkpoint.revision,
            device=str(self._pretrained.device),
            license=checkpoint.license,
        )

    @property
    def loaded(self) -> bool:
        return self._pretrained.loaded

    @property
    def size_bytes(self) -> int:
        return self._pretrained.size_bytes

    def load(self) -> None:
        self._pretrained.load()
        self._pen = self._family.pen(self._pretrained.model)

    def unload(self) -> None:
        self._pretrained.unload()
        self._pen = None

    def warm_up(self) -> None:
        query = CaptionQuery(max_tokens=2)
        self.infer([self.preprocess(np.zeros((64, 64, 3), np.uint8), query)])

    def check(self, query: CaptionQuery) -> None:
        processor = self._pretrained.read(transformers.AutoProcessor)
        check_length(self._family, processor, self._pretrained.config, query)

    def preprocess(self, image: Image, query: CaptionQuery) -> Prepared:
        processor = self._pretrained.read(transformers.AutoProcessor)
        return Prepared(self._family.inputs(processor, image, query.text), query)

    def bucket(self, prepared: Prepared) -> Hashable:
        # Equal shapes, so that nothing is padded, and one search for all.
        return prepared.query, prepared.shapes

    def infer(self, batch: Sequence[Prepared]) -> list[Written | Exception]:
        model, pen, first = self._pretrained.model, self._pen, batch[0]
        if pen is None:
            raise RuntimeError(f"{self.info.name}: expected a pen with the model")
        given = self._family.given(first.inputs)
        at_once = max(1, self._family.max_rows // first.query.beams)
        written: list[Written | Exception] = []
        with torch.inference_mode():
            for begin in range(0, len(batch), at_once):
                part = batch[begin : begin + at_once]
                inputs = {name: self._stacked(part, name) for name in first.inputs}
                written += generate(model, pen, inputs, given, first.query)
        return written

    def postprocess(self, prepared: Prepared, raw: Written) -> Caption:
        processor = self._pretrained.read(transformers.AutoProcessor)
        text = self._family.words(processor, raw.ids)
        return Caption(text, len(raw.ids), raw.truncated, raw.score)

    def _stacked(self, batch: Sequence[Prepared], name: str) -> torch.Tensor:
        """`(B, ...)` on the device."""
        return self._pretrained.on_device(torch.cat([one.inputs[name] for one in batch]))
