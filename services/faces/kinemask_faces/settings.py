"""What the faces service reads from its environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from kinemask_chassis.batching import BatchOptions
from kinemask_chassis.settings import ChassisSettings
from pydantic import Field

from kinemask_faces.engines.registry import SFACE_FILE, ModelFiles


class FacesSettings(ChassisSettings):
    """The faces service's settings."""

    port: int = Field(
        default=50054, ge=0, le=65535, description="Port of the gRPC server; 0 picks a free one."
    )
    faces_galleries: Literal["on", "off"] = Field(
        default="on",
        description="Keep galleries of people: on, or off to find and compare faces only.",
    )
    database_url: str = Field(
        default="",
        description="PostgreSQL with pgvector for the galleries, as "
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE; unset: one embedded in the data folder.",
    )
    faces_database_connections: int = Field(
        default=8, ge=2, le=200, description="Connections to the database at most."
    )
    faces_yunet: Path | None = Field(
        default=None, description="File of YuNet's weights; by default the packaged ones."
    )
    faces_sface: Path | None = Field(
        default=None,
        description="File of SFace's weights; by default the one that `kinemask models pull sface` "
        "has put into the models folder.",
    )
    faces_scrfd: Path | None = Field(
        default=None, description="File of SCRFD's weights (non-commercial use only)."
    )
    faces_arcface: Path | None = Field(
        default=None, description="File of ArcFace's weights (non-commercial use only)."
    )
    faces_accept_noncommercial_licence: bool = Field(
        default=False,
        description="Yes, SCRFD's and ArcFace's weights are used for non-commercial purposes only.",
    )
    faces_trusted_sha256s: str = Field(
        default="",
        description="SHA-256 of weights of your own, separated by commas, to trust beside those of "
        "the official releases.",
    )
    faces_device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="What ONNX models run on; dlib always runs on the CPU."
    )
    faces_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads that decode and judge pictures; 0: one per CPU core.",
    )
    faces_max_batch: int = Field(
        default=32, ge=1, le=1024, description="Pictures, or faces, that a model gets at once."
    )
    faces_max_delay_ms: float = Field(
        default=3.0,
        ge=0,
        le=1000,
        description="Milliseconds that a picture or a face waits for others to share its batch.",
    )
    faces_max_queue: int = Field(
        default=512,
        ge=1,
        description="Pictures, or faces, that wait for a model; more are told to come back.",
    )
    faces_max_in_work: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Pictures of one request that are in work at once: bounds its memory.",
    )

    @property
    def threads(self) -> int:
        """Threads that decode and judge: at least 1."""
        return self.faces_threads or os.cpu_count() or 1

    @property
    def files(self) -> ModelFiles:
        """Where the models are."""
        trusted = (part.strip().lower() for part in self.faces_trusted_sha256s.split(","))
        return ModelFiles(
            yunet=self.faces_yunet,
            sface=self.faces_sface or _pulled(self.data_dir / "models" / SFACE_FILE),
            scrfd=self.faces_scrfd,
            arcface=self.faces_arcface,
            accept_noncommercial_licence=self.faces_accept_noncommercial_licence,
            device=self.faces_device,
            trusted_sha256s=tuple(part for part in trusted if part),
        )

    @property
    def batching(self) -> BatchOptions:
        """How pictures, and faces, are put together."""
        return BatchOptions(
            max_batch=self.faces_max_batch,
            max_delay_ms=self.faces_max_delay_ms,
            max_queue=self.faces_max_queue,
        )


def _pulled(path: Path) -> Path | None:
    """A file of the models folder, if it is there."""
    return path if path.is_file() else None
