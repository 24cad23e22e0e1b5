"""What the gateway reads from its environment."""

from __future__ import annotations

from pydantic import Field, FilePath

from kinemask_gateway.library.settings import LibrarySettings


class GatewaySettings(LibrarySettings):
    """Addresses are comma-separated: `host:port`, or targets such as `dns:///name:port`."""

    port: int = Field(
        default=50050, ge=0, le=65535, description="Port of the gRPC server; 0 picks a free one."
    )
    detector_addresses: str = Field(
        default="127.0.0.1:50051", description="Detector replicas; `none`: there is none."
    )
    segmenter_addresses: str = Field(
        default="127.0.0.1:50052", description="Segmenter replicas; `none`: there is none."
    )
    tracker_addresses: str = Field(
        default="127.0.0.1:50053", description="Tracker replicas; `none`: there is none."
    )
    faces_addresses: str = Field(
        default="none", description="Faces replicas; `none`: there is none."
    )
    captioner_addresses: str = Field(
        default="none", description="Captioner replicas; `none`: there is none."
    )
    downstream_ca: FilePath | None = Field(
        default=None, description="PEM file with the CA of the services behind; turns TLS on."
    )
    downstream_cert: FilePath | None = Field(
        default=None, description="PEM file with the certificate to show them, for mutual TLS."
    )
    downstream_key: FilePath | None = Field(
        default=None, description="PEM file with that certificate's key."
    )
    detect_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds a detection may take before it is given up."
    )
    caption_timeout_s: float = Field(
        default=60.0, gt=0, description="Seconds a caption may take before it is given up."
    )
    picture_timeout_s: float = Field(
        default=120.0, gt=0, description="Seconds a service may take for one part of a picture."
    )
    open_timeout_s: float = Field(
        default=10.0, gt=0, description="Seconds a service may take to open a stream."
    )
    session_idle_s: float = Field(
        default=900.0,
        gt=0,
        description="Seconds until an annotation session that nobody uses leaves the memory.",
    )
    max_sessions_held: int = Field(
        default=128, ge=1, description="Annotation sessions in memory at a time."
    )
