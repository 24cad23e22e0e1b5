"""What the segmenter reads from its environment."""

from __future__ import annotations

import os

from kinemask_chassis.settings import ChassisSettings
from pydantic import Field


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

    @property
    def threads(self) -> int:
        """Threads that decode and encode: at least 1."""
        return self.segmenter_threads or os.cpu_count() or 1
