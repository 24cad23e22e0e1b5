"""What a worker reads from its environment."""

from __future__ import annotations

from pydantic import Field

from kinemask_gateway.settings import GatewaySettings


class WorkerSettings(GatewaySettings):
    """A worker's: the same, for it calls the same services."""

    port: int = Field(
        default=50056, ge=0, le=65535, description="Port of its health; 0 picks a free one."
    )
    worker_jobs: int = Field(
        default=1, ge=1, le=64, description="Jobs that one worker runs at a time."
    )
