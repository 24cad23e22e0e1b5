"""Prometheus metrics: one registry a service, and the private port they are read from."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

# From a tracker's step to a stream of an hour.
_RPC_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600)
_BATCH_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class FrameCounts:
    """Counts the frames of one rpc; fits the stream runner's `StreamObserver`."""

    received: Counter
    answered: Counter
    failed: Counter
    dropped: Counter

    def frames_in(self, count: int) -> None:
        """So many frames came from clients."""
        self.received.inc(count)

    def frames_out(self, count: int) -> None:
        """So many were answered with a result."""
        self.answered.inc(count)

    def frames_failed(self, count: int) -> None:
        """So many were answered with an error."""
        self.failed.inc(count)

    def frames_dropped(self, count: int) -> None:
        """So many were skipped, and said so."""
        self.dropped.inc(count)


@dataclass(frozen=True)
class QueueMetrics:
    """What one batch queue shows."""

    depth: Gauge
    batch_size: Histogram
    batch_seconds: Histogram


class ServiceMetrics:
    """Everything a service counts, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.rpc_started = self._counter("rpc_started", "Rpcs begun.", "method")
        self.rpc_handled = self._counter("rpc_handled", "Rpcs ended, by code.", "method", "code")
        self.rpc_seconds = self._histogram("rpc_seconds", "How long.", _RPC_BUCKETS_S, "method")
        self.active_streams = self._gauge("active_streams", "Streams open now.", "method")
        self._frames = self._counter("frames", "Frames of streams.", "rpc", "outcome")
        self._depth = self._gauge("queue_depth", "Items that wait for a batch.", "queue")
        self._sizes = self._histogram("batch_size", "Items a batch.", _SIZE_BUCKETS, "queue")
        self._batch = self._histogram("batch_seconds", "A batch's time.", _BATCH_BUCKETS_S, "queue")

    def frames(self, rpc: str) -> FrameCounts:
        """The frame counters of one rpc, such as `DetectStream`."""
        outcomes = ("received", "answered", "failed", "dropped")
        return FrameCounts(*(self._frames.labels(rpc, outcome) for outcome in outcomes))

    def queue(self, name: str) -> QueueMetrics:
        """The metrics of one batch queue."""
        return QueueMetrics(
            self._depth.labels(name), self._sizes.labels(name), self._batch.labels(name)
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"kinemask_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"kinemask_{name}", meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"kinemask_{name}", meaning, labels, registry=self.registry, buckets=buckets
        )


class MetricsServer:
    """Answers `GET /metrics` from threads of its own until it is closed."""

    def __init__(self, metrics: ServiceMetrics, host: str, port: int) -> None:
        """Listen; port 0 picks a free one.

        Raises:
            OSError: the port is taken or the address is not ours.
        """
        self._server: WSGIServer
        self._thread: threading.Thread
        self._server, self._thread = start_http_server(port, host, metrics.registry)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening and end the thread. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
