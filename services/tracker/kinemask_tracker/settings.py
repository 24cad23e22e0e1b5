"""What the tracker reads from its environment."""

from __future__ import annotations

from kinemask_chassis.settings import ChassisSettings
from pydantic import Field


class TrackerServiceSettings(ChassisSettings):
    """The tracker's settings."""

    port: int = Field(
        default=50053, ge=0, le=65535, description="Port of the gRPC server; 0 picks a free one."
    )
