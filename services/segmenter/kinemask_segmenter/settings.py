"""What the segmenter reads from its environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from kinemask_chassis.settings import ChassisSettings
from pydantic import Field, FilePath


class SegmenterSettings(ChassisSettings):
    """The segmenter's settings."""

    port: int = Field(
        default=50052, ge=0, le=65535, description="Port of the gRPC server; 0 picks a free one."
    )
    segmenter_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads that decode frames and encode masks; 0: one per CPU core.",
    )
    segmenter_max_objects: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Objects that one stream may follow where its client names no number.",
    )
    segmenter_max_images: int = Field(
        default=64,
        ge=1,
        description="Single pictures in work or waiting at once; more are told to come back.",
    )

    sam2_checkpoint: FilePath | None = Field(
        default=None,
        description="A SAM 2 checkpoint of your own; without it, those of `kinemask models pull`.",
    )
    sam2_config: str = Field(
        default="configs/sam2.1/sam2.1_hiera_t.yaml",
        description="The checkpoint's configuration: one that `sam2` carries, or an absolute path.",
    )
    sam2_device: str = Field(
        default="auto", description="Device of SAM 2: auto, cpu, cuda, cuda:1 ..."
    )
    sam2_input_size_px: int | None = Field(
        default=None,
        ge=128,
        le=2048,
        description="Side of the square that SAM 2 sees; smaller is quicker and coarser "
        "(default: the configuration's own, 1024).",
    )
    sam2_retained_frames: int = Field(
        default=4,
        ge=1,
        le=100_000,
        description="Recent frames of a stream that can be prompted late or propagated over.",
    )
    sam2_max_retained_frames: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="As many as a stream may ask for; 17 MB of memory each at 1024 px in fp32.",
    )
    sam2_device_frames: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="On a GPU, a stream that retains more keeps older ones in host memory.",
    )
    sam2_max_conditioning: int = Field(
        default=8, ge=2, le=1024, description="Prompted frames that SAM 2 attends to, per object."
    )
    sam2_tier: Literal["exact", "fast"] = Field(
        default="exact",
        description="What streams get that ask for none: the official bits, or the same sooner.",
    )
    sam2_precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Of the fast tier; bf16 is sooner still and less exact."
    )
    sam2_compile: Literal["off", "on"] = Field(
        default="off",
        description="Compile the fast tier at the start, as CUDA graphs on a GPU: takes minutes, "
        "and memory for each batch size.",
    )
    sam2_max_batch: int | None = Field(
        default=None, ge=1, le=256, description="Streams in one batch; unset: 16 on a GPU, else 4."
    )
    sam2_cached_pictures: int = Field(
        default=8, ge=0, le=10_000, description="Pictures whose embeddings wait for a second click."
    )

    @property
    def models_dir(self) -> Path:
        """Where weights lie."""
        return self.data_dir / "models"

    @property
    def threads(self) -> int:
        """Threads that decode and encode: at least 1."""
        return self.segmenter_threads or os.cpu_count() or 1
