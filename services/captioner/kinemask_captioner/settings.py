"""What the captioner reads from its environment."""

from __future__ import annotations

import os
from pathlib import Path

from kinemask_chassis.batching import BatchOptions
from kinemask_chassis.settings import MIB, ChassisSettings
from pydantic import Field


class CaptionerSettings(ChassisSettings):
    """The captioner's settings."""

    port: int = Field(
        default=50055, ge=0, le=65535, description="Port of the gRPC server; 0 picks a free one."
    )
    captioner_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads that decode and prepare pictures; 0: one per CPU core.",
    )
    captioner_max_batch: int = Field(
        default=16, ge=1, le=256, description="Pictures that the model gets at once, at most."
    )
    # A caption takes tenths of a second at least: sharing its batch is worth some waiting.
    captioner_max_delay_ms: float = Field(
        default=25.0,
        ge=0,
        le=1000,
        description="Milliseconds that a picture waits for others to share its batch.",
    )
    captioner_max_queue: int = Field(
        default=128,
        ge=1,
        description="Pictures that wait for the model, at most; more are told to come back.",
    )
    captioner_max_in_work: int = Field(
        default=32,
        ge=1,
        le=64,
        description="Pictures of one request that are in work at once: bounds its memory.",
    )
    captioner_device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device of the models: auto, cpu, cuda, cuda:1 ...",
    )
    captioner_memory_mib: int = Field(
        default=4096,
        ge=1,
        description="Memory for loaded models; the one not used for longest makes room.",
    )

    @property
    def models_dir(self) -> Path:
        """Where weights lie."""
        return self.data_dir / "models"

    @property
    def memory_bytes(self) -> int:
        """What all loaded models may take together."""
        return self.captioner_memory_mib * MIB

    @property
    def threads(self) -> int:
        """Threads that decode and prepare: at least 1."""
        return self.captioner_threads or os.cpu_count() or 1

    @property
    def batching(self) -> BatchOptions:
        """How pictures are put into batches."""
        return BatchOptions(
            max_batch=self.captioner_max_batch,
            # Nobody to wait for.
            max_delay_ms=self.captioner_max_delay_ms if self.captioner_max_batch > 1 else 0.0,
            max_queue=self.captioner_max_queue,
            # A batch is hardly slower than a single picture: clients that ask again and again are
            # worth waiting for.
            regulars_ms=self.captioner_max_delay_ms if self.captioner_max_batch > 1 else 0.0,
        )
