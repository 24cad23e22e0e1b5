"""A service and the server around it: ports, TLS, health, reflection, metrics, warm-up, drain."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar, Generic

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from kinemask_chassis.interceptors import ServiceInterceptor
from kinemask_chassis.metrics import MetricsServer, ServiceMetrics
from kinemask_chassis.settings import ChassisSettings, SettingsT

# Watchers of health get this long to hear that it is over.
_LAST_NEWS_S = 0.1
# What is still on its way once every handler is done: a large response, say.
_FAREWELL_S = 5.0
# A client that never reads leaves its calls behind in the transport, with what it did not read.
_MAX_CALLS_A_CONNECTION = 1024
_PING_EVERY_MS = 20_000
_PING_ANSWER_MS = 10_000
_CLIENT_PING_AT_MOST_EVERY_MS = 5_000

_log = structlog.get_logger(__name__)


class StartError(Exception):
    """The server could not start; the message says what a person can do."""


class Service(ABC, Generic[SettingsT]):
    """One service: what it registers, how it warms up, how it leaves.

    Subclasses name themselves and their rpc services, and count in `metrics`.
    """

    name: ClassVar[str]
    """The word on logs and in replies, such as `detector`."""
    rpc_services: tuple[str, ...]
    """Full names, such as `kinemask.v1.DetectorService`: for health and reflection."""

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings
        self.metrics = ServiceMetrics()

    @abstractmethod
    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicers to the server, before it starts."""

    async def warm_up(self) -> None:
        """Load models and pay first-call costs; the service is NOT_SERVING until this returns."""
        return

    async def on_drain(self, grace_s: float) -> None:
        """Tell open streams to leave; return when they have, or when there is no more to say."""
        return

    async def close(self) -> None:
        """Free everything, after the last rpc has ended."""
        return


class RunningServer:
    """A service on its ports.

    Invariant: health says SERVING only between the end of the warm-up and the begin of the drain.
    """

    def __init__(self, service: Service[SettingsT]) -> None:
        self.service: Service[SettingsT] = service
        self.interceptor = ServiceInterceptor(service.metrics)
        self.port = 0
        self.metrics_port: int | None = None
        self._settings: ChassisSettings = service.settings
        self._server = grpc.aio.server(
            interceptors=[self.interceptor], options=server_options(service.settings)
        )
        self._health = health.aio.HealthServicer()
        self._metrics_server: MetricsServer | None = None

    @property
    def address(self) -> str:
        """`host:port` as it is listened on."""
        return f"{self._settings.host}:{self.port}"

    async def start(self) -> None:
        """Listen, NOT_SERVING.

        Raises:
            StartError: a port is taken, an address is not ours, or a certificate is bad.
        """
        await self._say(serving=False)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.service.register(self._server)
        names = (*self.service.rpc_services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.port = self._bind()
        self._start_metrics()
        await self._server.start()

    async def warm_up(self) -> None:
        """Warm the service up, then say SERVING."""
        await self.service.warm_up()
        await self._say(serving=True)

    async def drain(self, grace_s: float) -> None:
        """NOT_SERVING, then no new calls; what runs has `grace_s` to end or be handed over."""
        await self._health.enter_graceful_shutdown()
        _log.info("draining", grace_s=grace_s, active=self.interceptor.active)
        leaving = asyncio.create_task(self._leave(grace_s))
        # The first stop refuses new calls and ends what is left at the end of the grace.
        await asyncio.gather(leaving, self._server.stop(grace_s))

    async def close(self) -> None:
        """End every call at once, close the ports and the service. Idempotent after a drain."""
        await self._server.stop(None)
        await self.service.close()
        if self._metrics_server is not None:
            await asyncio.to_thread(self._metrics_server.close)
            self._metrics_server = None

    async def _leave(self, grace_s: float) -> None:
        """Hand streams over, wait for the last call, and cut the grace short."""
        try:
            async with asyncio.timeout(grace_s):
                await self._tell_service(grace_s)
                await self.interceptor.wait_idle()
        except TimeoutError:
            _log.warning("grace_over", still_active=self.interceptor.active)
        if self.interceptor.has_watchers:
            await asyncio.sleep(_LAST_NEWS_S)
            self.interceptor.dismiss_watchers()
        await self._server.stop(min(_FAREWELL_S, grace_s))

    async def _tell_service(self, grace_s: float) -> None:
        try:
            await self.service.on_drain(grace_s)
        except Exception:  # noqa: BLE001 - a service that fails here has to be drained all the same
            _log.exception("on_drain_failed")

    async def _say(self, *, serving: bool) -> None:
        word = health_pb2.HealthCheckResponse
        status = word.SERVING if serving else word.NOT_SERVING
        for name in ("", *self.service.rpc_services):
            await self._health.set(name, status)

    def _bind(self) -> int:
        wanted = f"{self._settings.host}:{self._settings.port}"
        credentials = server_credentials(self._settings)
        try:
            if credentials is None:
                return self._server.add_insecure_port(wanted)
            return self._server.add_secure_port(wanted, credentials)
        except RuntimeError as error:
            raise StartError(
                f"cannot listen on {wanted}: the port is taken or the address is not this "
                f"machine's; set KINEMASK_PORT or KINEMASK_HOST ({error})"
            ) from error

    def _start_metrics(self) -> None:
        host, port = self._settings.metrics_host, self._settings.metrics_port
        if port is None:
            return
        try:
            self._metrics_server = MetricsServer(self.service.metrics, host, port)
        except OSError as error:
            raise StartError(
                f"cannot serve metrics on {host}:{port}: {error.strerror}; "
                "set KINEMASK_METRICS_PORT"
            ) from error
        self.metrics_port = self._metrics_server.port


@asynccontextmanager
async def running(service: Service[SettingsT]) -> AsyncIterator[RunningServer]:
    """Run a service in this process until the block ends: started, warmed up, SERVING.

    Raises:
        StartError: see `RunningServer.start`.
    """
    server = RunningServer(service)
    try:
        await server.start()
        await server.warm_up()
        yield server
    finally:
        await server.close()


def server_options(settings: ChassisSettings) -> list[tuple[str, int]]:
    """The options of the grpc server."""
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Bandwidth probing grows a hidden queue of megabytes in front of the window's count.
        ("grpc.http2.bdp_probe", 0),
        # Without this a second server on the same port starts, and takes half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", _MAX_CALLS_A_CONNECTION),
        ("grpc.keepalive_time_ms", _PING_EVERY_MS),
        ("grpc.keepalive_timeout_ms", _PING_ANSWER_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _CLIENT_PING_AT_MOST_EVERY_MS),
    ]


def server_credentials(settings: ChassisSettings) -> grpc.ServerCredentials | None:
    """TLS from the settings, mutual where a client CA is set; None without a certificate."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    ca = settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_credentials(
        [pair], root_certificates=ca, require_client_auth=ca is not None
    )
