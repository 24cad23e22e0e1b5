"""Weights checked against their hash, and ONNX Runtime sessions made of them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Tensor = NDArray[np.float32]


class WrongWeightsError(ValueError):
    """A weights file that is not the one it should be."""


@dataclass(frozen=True)
class Weights:
    """A file whose content was checked."""

    path: Path
    sha256: str


def verified(path: Path, sha256s: Collection[str]) -> Weights:
    """The file, once its SHA-256 is one of those.

    Raises:
        FileNotFoundError: there is no such file.
        WrongWeightsError: its content is another; says both hashes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected face model weights at {path}, found no file")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found not in sha256s:
        expected = " or ".join(sorted(sha256s))
        raise WrongWeightsError(f"{path}: expected SHA-256 {expected}, found {found}")
    return Weights(path, found)


def packaged(package: str, *parts: str) -> Path:
    """A file that an installed package carries; the package's code is not run.

    Raises:
        FileNotFoundError: the package is not installed, or does not carry it.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder).joinpath(*parts)
        if path.is_file():
            return path
    raise FileNotFoundError(f"expected {'/'.join(parts)} in the package {package}: install it")


class OnnxGraph:
    """One ONNX file, loaded: pictures in, arrays out.

    `device` is `auto`, `cpu` or `cuda`; `auto` takes CUDA where the runtime can. Thread-safe.
    """

    def __init__(self, weights: Weights, device: str = "auto", threads: int = 0) -> None:
        """`threads` of the CPU for one inference; 0: the runtime's choice.

        Raises:
            ValueError: an unknown device, or CUDA was asked for and is not there.
        """
        self.weights = weights
        self._session = _session(weights.path, device, threads)
        [first] = self._session.get_inputs()[:1]
        self._input_name: str = first.name
        self._shape: list[Any] = list(first.shape)
        self.outputs: tuple[str, ...] = tuple(out.name for out in self._session.get_outputs())
        used = self._session.get_providers()[0]
        self.device = "cuda" if used == "CUDAExecutionProvider" else "cpu"

    @property
    def batches(self) -> bool:
        """True if the graph takes several pictures at once."""
        return not isinstance(self._shape[0], int)

    @property
    def side_px(self) -> int | None:
        """The only width and height it takes; None if it takes any."""
        height = self._shape[2]
        return height if isinstance(height, int) else None

    def run(self, batch: Tensor) -> dict[str, Tensor]:
        """`(N, 3, H, W)` float32 in; every output by name, its first axis the batch.

        A graph that takes one picture at a time is called once for each.
        """
        if self.batches or len(batch) == 1:
            return self._call(batch)
        single = [self._call(batch[index : index + 1]) for index in range(len(batch))]
        return {name: np.concatenate([one[name] for one in single]) for name in self.outputs}

    def _call(self, batch: Tensor) -> dict[str, Tensor]:
        values = self._session.run(None, {self._input_name: np.ascontiguousarray(batch)})
        arrays = (np.asarray(value, np.float32) for value in values)
        return dict(zip(self.outputs, arrays, strict=True))


def _session(path: Path, device: str, threads: int) -> InferenceSession:
    # Imported here: it costs a quarter of a second, and the dlib model may be asked for alone.
    import onnxruntime

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"expected device auto, cpu or cuda, got {device!r}")
    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not there:
        raise ValueError("expected a CUDA provider in onnxruntime, found none: use device cpu")
    cuda = ["CUDAExecutionProvider"] if there and device != "cpu" else []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # unused initialisers in official files are no news
    return onnxruntime.InferenceSession(
        str(path), options, providers=[*cuda, "CPUExecutionProvider"]
    )


def to_tensor(pictures: list[NDArray[np.uint8]], mean: float, std: float) -> Tensor:
    """`(N, H, W, 3)` uint8, all of one size, as `(N, 3, H, W)` float32 `(x - mean) / std`."""
    stacked = np.stack(pictures).astype(np.float32).transpose(0, 3, 1, 2)
    return np.ascontiguousarray((stacked - mean) / std)
