"""What the detector reads from its environment."""

from __future__ import annotations

import os
from pathlib import Path

from kinemask_chassis.batching import BatchOptions
from kinemask_chassis.settings import MIB, ChassisSettings
from pydantic import Field

_REGULARS_MS = 25.0


class DetectorSettings(ChassisSettings):
    """The detector's settings."""

    port: int = Field(
        default=50051, ge=0, le=65535, description="Port of the gRPC server; 0 picks a free one."
    )
    detector_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads that decode and prepare pictures; 0: one per CPU core.",
    )
    detector_max_batch: int = Field(
        default=8, ge=1, le=256, description="Pictures that the model gets at once, at most."
    )
    detector_max_delay_ms: float = Field(
        default=3.0,
        ge=0,
        le=1000,
        description="Milliseconds that a picture waits for others to share its batch.",
    )
    detector_max_queue: int = Field(
        default=128,
        ge=1,
        description="Pictures that wait for the model, at most; more are told to come back.",
    )
    detector_max_in_work: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Pictures of one request that are in work at once: bounds its memory.",
    )
    detector_device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device of the models with weights: auto, cpu, cuda, cuda:1 ...",
    )
    detector_memory_mib: int = Field(
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
        return self.detector_memory_mib * MIB

    @property
    def threads(self) -> int:
        """Threads that decode and prepare: at least 1."""
        return self.detector_threads or os.cpu_count() or 1

    def batching(self, engine_max_batch: int) -> BatchOptions:
        """How to batch for an engine that makes use of so many pictures at once."""
        max_batch = min(self.detector_max_batch, engine_max_batch)
        return BatchOptions(
            max_batch=max_batch,
            # Nobody to wait for.
            max_delay_ms=self.detector_max_delay_ms if max_batch > 1 else 0.0,
            max_queue=self.detector_max_queue,
            # A batch costs less than its pictures: clients that ask again are worth waiting for.
            regulars_ms=_REGULARS_MS if max_batch > 1 else 0.0,
        )
