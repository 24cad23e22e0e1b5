"""A checkpoint on Hugging Face transformers, without anything from outside.

Nothing is fetched and nothing in a checkpoint is executed: files are local, weights are safetensors
(or, where an engine allows them, pickles of plain tensors that torch reads with `weights_only`),
remote code is off. Only engines import this module: it loads torch.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from kinemask_chassis.weights.checkpoints import Checkpoint, weights_bytes

_CONFIG = "config.json"
_LOCAL = {"local_files_only": True, "trust_remote_code": False}

transformers.utils.logging.disable_progress_bar()


class Pretrained:
    """One checkpoint. Tokenizers and the like are read when first wanted, weights by `load`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        auto_model: Any,
        device: str,
        *,
        cuda_dtype: torch.dtype = torch.float32,
        pickles: bool = False,
    ) -> None:
        """`auto_model` is one of transformers' `AutoModelFor...`; `device` as in `chosen_device`.

        Raises:
            ValueError: the weights are damaged.
        """
        self.checkpoint = checkpoint
        self.device = chosen_device(device)
        self.dtype: torch.dtype = torch.float32 if self.device.type == "cpu" else cuda_dtype
        self._auto_model = auto_model
        self._pickles = pickles
        self._size_bytes = weights_bytes(checkpoint.folder, self.dtype.itemsize)
        self._lock = threading.Lock()
        self._read: dict[str, Any] = {}
        self._model: Any = None

    @property
    def loaded(self) -> bool:
        return self._model is not None

    @property
    def size_bytes(self) -> int:
        """Memory that the weights take; an estimate by their files before they are loaded."""
        return self._size_bytes

    @property
    def model(self) -> Any:
        """The model on its device, for inference.

        Raises:
            RuntimeError: it is not loaded.
        """
        if self._model is None:
            raise RuntimeError(f"{self.checkpoint.name}: expected to be loaded")
        return self._model

    @property
    def config(self) -> Any:
        """The model's configuration, read once. Any thread.

        Raises:
            OSError, ValueError: it cannot be read, or names a part that is not in the checkpoint.
        """
        with self._lock:
            if _CONFIG not in self._read:
                self._read[_CONFIG] = _config_in(self.checkpoint.folder)
            return self._read[_CONFIG]

    def load(self, prepare: Callable[[Any], None] | None = None) -> None:
        """Bring the weights to the device, then let `prepare` change the model. Idempotent."""
        if self._model is not None:
            return
        model = self._auto_model.from_pretrained(
            self.checkpoint.folder,
            config=self.config,
            dtype=self.dtype,
            use_safetensors=None if self._pickles else True,
            **_LOCAL,
        )
        model = model.to(self.device).eval()
        # Tied weights count once: parameters() does not repeat them.
        self._size_bytes = sum(one.numel() * one.element_size() for one in model.parameters())
        if prepare is not None:
            prepare(model)
        self._model = model

    def unload(self) -> None:
        """Let the weights go. Idempotent."""
        self._model = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def read(self, auto_class: Any) -> Any:
        """What a class such as `AutoTokenizer` makes of the checkpoint, once. Any thread."""
        with self._lock:
            name = auto_class.__name__
            if name not in self._read:
                self._read[name] = auto_class.from_pretrained(self.checkpoint.folder, **_LOCAL)
            return self._read[name]

    def on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor where the model is, floats in the model's precision."""
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.device, dtype)


def chosen_device(device: str) -> torch.device:
    """The device of that name; `auto` takes CUDA where there is some."""
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _config_in(folder: Path) -> Any:
    """The checkpoint's configuration; transformers would ask the hub about a backbone's name."""
    facts: dict[str, Any] = json.loads((folder / _CONFIG).read_text())
    named, inner = facts.get("backbone"), facts.get("backbone_config")
    if not named or inner or (facts.get("use_timm_backbone") and not facts.get("backbone_kwargs")):
        return transformers.AutoConfig.from_pretrained(folder, **_LOCAL)
    if not facts.pop("use_timm_backbone", False):
        raise ValueError(f"expected a checkpoint that is whole, found one that needs {named!r}")
    facts["backbone_config"] = {
        "model_type": "timm_backbone",
        "backbone": facts.pop("backbone"),
        "use_pretrained_backbone": False,
        **facts.pop("backbone_kwargs"),
    }
    facts["use_timm_backbone"] = True
    config_class = type(transformers.AutoConfig.for_model(facts["model_type"]))
    return config_class.from_dict(facts)
