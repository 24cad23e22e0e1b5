"""The clients and their streams. Use them as `kinemask.Client`, `kinemask.AsyncClient`."""

from kinemask.client._async_client import AsyncClient
from kinemask.client._async_streams import (
    AsyncLiveStream,
    AsyncPendingEdit,
    AsyncTrackStream,
    AsyncVideoStream,
)
from kinemask.client._inbox import EditAck
from kinemask.client._propagation import AsyncPropagation, Propagation
from kinemask.client._sync_client import Client
from kinemask.client._sync_streams import LiveStream, PendingEdit, TrackStream, VideoStream

__all__ = [
    "AsyncClient",
    "AsyncLiveStream",
    "AsyncPendingEdit",
    "AsyncPropagation",
    "AsyncTrackStream",
    "AsyncVideoStream",
    "Client",
    "EditAck",
    "LiveStream",
    "PendingEdit",
    "Propagation",
    "TrackStream",
    "VideoStream",
]
