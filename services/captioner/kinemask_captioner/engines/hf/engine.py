"""Any captioning checkpoint of the known families, on transformers.

Nothing is fetched and nothing in a checkpoint is executed: files are local, weights are safetensors
(or pickles of plain tensors, which torch reads with `weights_only`), remote code is off.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from kinemask_chassis.weights.checkpoints import Checkpoint, weights_bytes

from kinemask_captioner.engines.base import Caption, CaptionQuery, EngineInfo, Image
from kinemask_captioner.engines.hf.families import check_length, family_of
from kinemask_captioner.engines.hf.generation import Pen, Written, generate

_LOCAL = {"local_files_only": True, "trust_remote_code": False}

transformers.utils.logging.disable_progress_bar()


@dataclass(frozen=True)
class Prepared:
    """A picture as the model wants it."""

    inputs: Mapping[str, torch.Tensor]
    """Each `(1, ...)`, on the CPU."""
    query: CaptionQuery

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return tuple((name, tuple(tensor.shape)) for name, tensor in self.inputs.items())


@dataclass(frozen=True)
class _Loaded:
    """Invariant: the pen is the model's."""

    model: Any
    pen: Pen


class TransformersEngine:
    """One checkpoint. Its tokenizer is read at the first query, its weights by `load`."""

    def __init__(self, checkpoint: Checkpoint, family: str, device: str = "auto") -> None:
        """`family` as in `family_of`; `device`: auto takes CUDA where there is some.

        Raises:
            ValueError: the weights are damaged.
        """
        self._checkpoint = checkpoint
        self._family = family_of(family)
        self._device = torch.device(_chosen(device))
        on_cpu = self._device.type == "cpu"
        self._dtype = torch.float32 if on_cpu else self._family.cuda_dtype
        self._size_bytes = weights_bytes(checkpoint.folder, self._dtype.itemsize)
        self._lock = threading.Lock()
        self._processor_read: Any = None
        self._config_read: Any = None
        self._loaded: _Loaded | None = None
        self.info = EngineInfo(
            name=checkpoint.name,
            engine="transformers",
            model=family,
            revision=checkpoint.revision,
            device=str(self._device),
            license=checkpoint.license,
        )

    @property
    def loaded(self) -> bool:
        return self._loaded is not None

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def load(self) -> None:
        if self._loaded is not None:
            return
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            self._checkpoint.folder, dtype=self._dtype, **_LOCAL
        )
        model = model.to(self._device).eval()
        # Tied weights count once: parameters() does not repeat them.
        self._size_bytes = sum(one.numel() * one.element_size() for one in model.parameters())
        self._loaded = _Loaded(model, self._family.pen(model))

    def unload(self) -> None:
        self._loaded = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def warm_up(self) -> None:
        query = CaptionQuery(max_tokens=2)
        self.infer([self.preprocess(np.zeros((64, 64, 3), np.uint8), query)])

    def check(self, query: CaptionQuery) -> None:
        check_length(self._family, self._processor(), self._config(), query)

    def preprocess(self, image: Image, query: CaptionQuery) -> Prepared:
        return Prepared(self._family.inputs(self._processor(), image, query.text), query)

    def bucket(self, prepared: Prepared) -> Hashable:
        # Equal shapes, so that nothing is padded, and one search for all.
        return prepared.query, prepared.shapes

    def infer(self, batch: Sequence[Prepared]) -> list[Written | Exception]:
        loaded, first = self._loaded, batch[0]
        if loaded is None:
            raise RuntimeError(f"{self.info.name}: expected to be loaded")
        given = self._family.given(first.inputs)
        at_once = max(1, self._family.max_rows // first.query.beams)
        written: list[Written | Exception] = []
        with torch.inference_mode():
            for begin in range(0, len(batch), at_once):
                part = batch[begin : begin + at_once]
                inputs = {name: self._stacked(part, name) for name in first.inputs}
                written += generate(loaded.model, loaded.pen, inputs, given, first.query)
        return written

    def postprocess(self, prepared: Prepared, raw: Written) -> Caption:
        text = self._family.words(self._processor(), raw.ids)
        return Caption(text, len(raw.ids), raw.truncated, raw.score)

    def _stacked(self, batch: Sequence[Prepared], name: str) -> torch.Tensor:
        """`(B, ...)` on the device."""
        tensor = torch.cat([prepared.inputs[name] for prepared in batch])
        dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self._device, dtype)

    def _processor(self) -> Any:
        with self._lock:
            if self._processor_read is None:
                self._processor_read = transformers.AutoProcessor.from_pretrained(
                    self._checkpoint.folder, **_LOCAL
                )
            return self._processor_read

    def _config(self) -> Any:
        with self._lock:
            if self._config_read is None:
                self._config_read = transformers.AutoConfig.from_pretrained(
                    self._checkpoint.folder, **_LOCAL
                )
            return self._config_read


def _chosen(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
