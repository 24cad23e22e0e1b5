"""What the library and the jobs read from the environment: the gateway's and the workers' alike."""

from __future__ import annotations

from typing import Literal

from kinemask_chassis.settings import ChassisSettings
from pydantic import Field, field_validator

_GIB = 1024**3


class LibrarySettings(ChassisSettings):
    """Where videos and jobs are kept."""

    library: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Keep videos and run jobs: on, off, or auto (on where KINEMASK_DATABASE_URL is "
        "set). On without a URL, an embedded PostgreSQL starts in the data folder.",
    )
    database_url: str = Field(
        default="", description="PostgreSQL, as postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
    )
    object_store: str = Field(
        default="",
        description="Folder for videos and results, or s3://BUCKET/PREFIX with keys in AWS_ "
        "variables (default: the folder objects in the data folder).",
    )
    max_video_bytes: int = Field(
        default=64 * _GIB, ge=1, le=1024 * _GIB, description="Largest video that is taken."
    )
    upload_ttl_s: float = Field(
        default=24 * 3600.0,
        gt=0,
        description="Seconds until an upload that nothing comes for is discarded.",
    )
    max_queued_jobs: int = Field(
        default=1000, ge=1, description="Jobs that may wait for a worker; more are refused."
    )

    worker_stale_s: float = Field(
        default=8.0,
        ge=1,
        le=3600,
        description="Seconds without a sign of life after which a worker's jobs go to others.",
    )

    @field_validator("object_store")
    @classmethod
    def _known(cls, url: str) -> str:
        if "://" in url and not url.startswith(("file://", "s3://")):
            raise ValueError("expected a folder or s3://BUCKET/PREFIX")
        return url

    @property
    def has_library(self) -> bool:
        """Whether videos and jobs are to be served."""
        return self.library == "on" or (self.library == "auto" and bool(self.database_url))
