"""Which face models there are, which can run here, and which of them a request gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kinemask_chassis import errors

from kinemask_faces.engines.base import FaceModel
from kinemask_faces.engines.dlib_embedder import DlibEmbedder
from kinemask_faces.engines.model import ComposedModel
from kinemask_faces.engines.onnx_embedders import ARCFACE, SFACE, EmbedderKind, OnnxEmbedder
from kinemask_faces.engines.onnx_files import OnnxGraph, verified
from kinemask_faces.engines.scrfd import SCRFD_SHA256S, Scrfd
from kinemask_faces.engines.yunet import YUNET_SHA256S, YuNet, packaged_yunet

AUTO = "auto"
SFACE_FILE = Path("sface", "face_recognition_sface_2021dec.onnx")
"""Where `kinemask models pull sface` puts its weights, within the models folder."""
DLIB, YUNET_SFACE, SCRFD_ARCFACE = "dlib", "yunet-sface", "scrfd-arcface"


@dataclass(frozen=True)
class ModelFiles:
    """Where weights are, and on what they run. An unset file is not there."""

    yunet: Path | None = None
    """Default: OpenCV's release, which an installed package carries."""
    sface: Path | None = None
    scrfd: Path | None = None
    arcface: Path | None = None
    accept_noncommercial_licence: bool = False
    """SCRFD's and ArcFace's released weights are for non-commercial use: the operator's word."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`; dlib runs on the CPU whatever it says."""
    threads: int = 0
    """Of the CPU for one inference; 0: the runtime's choice."""
    trusted_sha256s: tuple[str, ...] = ()
    """Hashes of the operator's own weights, good beside those of the releases."""


@dataclass(frozen=True)
class Missing:
    """A model that cannot run here, and what would change that."""

    name: str
    reason: str
    """`WEIGHTS_MISSING` or `LICENCE_NOT_ACCEPTED`."""
    how: str


@dataclass(frozen=True)
class Chosen:
    """The model a request gets."""

    model: FaceModel
    notice: str
    """What the client should know of a choice made for it; empty if it chose itself."""


class FaceModels:
    """The loaded models of one service, the default first, and those that are missing."""

    def __init__(self, models: Mapping[str, FaceModel], missing: tuple[Missing, ...] = ()) -> None:
        """Raises ValueError if there is no model at all."""
        if not models:
            raise ValueError("expected at least one face model, got none")
        self.models = dict(models)
        self.missing = missing

    @property
    def default(self) -> FaceModel:
        """What `auto` takes."""
        return next(iter(self.models.values()))

    def choose(self, name: str) -> Chosen:
        """The model of that name; the default for nothing or `auto`.

        Raises:
            ServiceError: FAILED_PRECONDITION, the weights are not there or their licence was not
                accepted: says what to do; NOT_FOUND, reason UNKNOWN_MODEL: names those there are.
        """
        if name in ("", AUTO):
            return Chosen(self.default, self.default.info.notice)
        if name in self.models:
            return Chosen(self.models[name], self.models[name].info.notice)
        for missing in self.missing:
            if missing.name == name:
                message = f"{name} cannot run here: {missing.how}"
                raise errors.failed_precondition(message, reason=missing.reason, model=name)
        available = ", ".join((AUTO, *self.models))
        raise errors.not_found(
            f"expected a model among {available}, found {name!r}",
            reason="UNKNOWN_MODEL",
            available=available,
        )


def load_models(files: ModelFiles) -> FaceModels:
    """Every model whose weights are there, best first.

    Raises:
        WrongWeightsError: a file is not what it should be: says both hashes.
        FileNotFoundError: a file that was named, or a package, is not there.
        ValueError: an unknown device, CUDA asked for and not there, or a graph of another kind.
    """
    loaders: dict[str, Callable[[], FaceModel]] = {DLIB: lambda: _dlib(files)}
    missing = list(_missing(files))
    absent = {one.name for one in missing}
    if YUNET_SFACE not in absent:
        loaders = {YUNET_SFACE: lambda: _yunet_sface(files)} | loaders
    if SCRFD_ARCFACE not in absent:
        loaders = {SCRFD_ARCFACE: lambda: _scrfd_arcface(files)} | loaders
    return FaceModels({name: load() for name, load in loaders.items()}, tuple(missing))


def _missing(files: ModelFiles) -> list[Missing]:
    found = []
    if files.sface is None:
        how = (
            "fetch SFace's weights with `kinemask models pull sface`, or let KINEMASK_FACES_SFACE "
            "name their file"
        )
        found.append(Missing(YUNET_SFACE, "WEIGHTS_MISSING", how))
    if files.scrfd is None or files.arcface is None:
        how = "KINEMASK_FACES_SCRFD and KINEMASK_FACES_ARCFACE must name their weights' files"
        found.append(Missing(SCRFD_ARCFACE, "WEIGHTS_MISSING", how))
    elif not files.accept_noncommercial_licence:
        how = (
            "its weights are for non-commercial use only: if that is your use, set "
            "KINEMASK_FACES_ACCEPT_NONCOMMERCIAL_LICENCE=true"
        )
        found.append(Missing(SCRFD_ARCFACE, "LICENCE_NOT_ACCEPTED", how))
    return found


def _graph(files: ModelFiles, path: Path, sha256s: tuple[str, ...]) -> OnnxGraph:
    weights = verified(path, (*sha256s, *files.trusted_sha256s))
    return OnnxGraph(weights, files.device, files.threads)


def _yunet(files: ModelFiles) -> YuNet:
    return YuNet(_graph(files, files.yunet or packaged_yunet(), YUNET_SHA256S))


def _dlib(files: ModelFiles) -> FaceModel:
    # dlib's own detectors are not used: HOG sees no profile at all, and the network takes over a
    # second a frame on a CPU. The vectors of its faces and of YuNet's are equally good.
    return ComposedModel(
        DLIB,
        "dlib",
        "cpu",
        _yunet(files),
        DlibEmbedder(),
        # dlib's own distance of 0.6, at the length its vectors have before they are normalised.
        # Measured: one person 0.917 and more, also blurred, dark, mirrored or at 48 px; others up
        # to 0.907, and once 0.915 for a blurred profile.
        match_threshold=0.915,
        stranger_below=0.89,
    )


def _yunet_sface(files: ModelFiles) -> FaceModel:
    return _onnx_model(YUNET_SFACE, files, _yunet(files), files.sface, SFACE)


def _scrfd_arcface(files: ModelFiles) -> FaceModel:
    if files.scrfd is None:
        raise ValueError("expected the file of SCRFD's weights, got none")
    detector = Scrfd(_graph(files, files.scrfd, SCRFD_SHA256S))
    return _onnx_model(SCRFD_ARCFACE, files, detector, files.arcface, ARCFACE)


def _onnx_model(
    name: str,
    files: ModelFiles,
    detector: YuNet | Scrfd,
    embedder: Path | None,
    kind: EmbedderKind,
) -> FaceModel:
    if embedder is None:
        raise ValueError(f"expected the file of {name}'s embedder, got none")
    graph = _graph(files, embedder, kind.sha256s)
    return ComposedModel(
        name,
        "onnxruntime",
        graph.device,
        detector,
        OnnxEmbedder(graph, kind),
        match_threshold=kind.match_threshold,
        stranger_below=kind.stranger_below,
    )
