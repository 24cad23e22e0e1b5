"""Replicas of the services behind the gateway, taken in turns, the healthy ones first."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from kinemask_gateway.settings import GatewaySettings

SERVICES: Mapping[str, str] = {
    "detector": "kinemask.v1.DetectorService",
    "segmenter": "kinemask.v1.SegmenterService",
    "tracker": "kinemask.v1.TrackerService",
    "faces": "kinemask.v1.FacesService",
    "captioner": "kinemask.v1.CaptionerService",
}
"""The services behind the gateway and their full gRPC names."""

_MAX_BACKOFF_MS = 500
# Long enough for one more try at every replica that was not there yet at the last one.
_SETTLE_S = 1.0
_READY = grpc.ChannelConnectivity.READY
_DOWN = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class ReplicaPool:
    """One channel for each address of a service.

    An address is `host:port`, or a target such as `dns:///name:port` that stands for many
    replicas. Each channel balances round robin over what its target resolves to and watches the
    standard health service, so a replica that drains or hangs counts as down here.
    """

    def __init__(
        self, service: str, addresses: str, settings: GatewaySettings, full_name: str
    ) -> None:
        self.service = service
        named = [part.strip() for part in addresses.split(",")]
        self.addresses = [address for address in named if address not in ("", "none")]
        options = _channel_options(full_name, settings.max_message_bytes)
        credentials = _credentials(settings)
        self._channels = [
            grpc.aio.insecure_channel(address, options=options)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=options)
            for address in self.addresses
        ]
        self._turn = itertools.count()

    @property
    def configured(self) -> bool:
        return bool(self._channels)

    @property
    def serving(self) -> bool:
        """False if every replica is known to be down."""
        return any(channel.get_state() not in _DOWN for channel in self._channels)

    @property
    def ready(self) -> int:
        """How many addresses are connected and healthy."""
        return sum(channel.get_state() is _READY for channel in self._channels)

    def connect(self) -> None:
        """Begin to connect, so that health is known before the first call."""
        for channel in self._channels:
            channel.get_state(try_to_connect=True)

    async def settle(self) -> None:
        """Wait until a replica is ready, for no longer than one more try at connecting takes.

        A service that has just come up is otherwise refused for as long as the backoff lasts.
        """
        waiting = [asyncio.ensure_future(_until_ready(channel)) for channel in self._channels]
        if waiting:
            await asyncio.wait(waiting, timeout=_SETTLE_S, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    def next_channel(self) -> grpc.aio.Channel:
        """The next replica in turn; one that is known to be down only if all are.

        Raises:
            LookupError: no address was configured.
        """
        if not self._channels:
            raise LookupError(f"the gateway was given no {self.service} address")
        start = next(self._turn)
        count = len(self._channels)
        in_turn = [self._channels[(start + offset) % count] for offset in range(count)]
        states = [channel.get_state(try_to_connect=True) for channel in in_turn]
        best = next((c for c, state in zip(in_turn, states, strict=True) if state is _READY), None)
        if best is not None:
            return best
        up = (c for c, state in zip(in_turn, states, strict=True) if state not in _DOWN)
        return next(up, in_turn[0])

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


@dataclass(frozen=True)
class Downstream:
    """Every service behind the gateway."""

    pools: Mapping[str, ReplicaPool]

    @classmethod
    def from_settings(cls, settings: GatewaySettings) -> Downstream:
        """Channels for all configured addresses; needs a running event loop."""
        addresses = {
            "detector": settings.detector_addresses,
            "segmenter": settings.segmenter_addresses,
            "tracker": settings.tracker_addresses,
            "faces": settings.faces_addresses,
            "captioner": settings.captioner_addresses,
        }
        pools = {
            name: ReplicaPool(name, addresses[name], settings, full_name)
            for name, full_name in SERVICES.items()
        }
        for pool in pools.values():
            pool.connect()
        return cls(pools)

    async def close(self) -> None:
        for pool in self.pools.values():
            await pool.close()


async def _until_ready(channel: grpc.aio.Channel) -> None:
    while (state := channel.get_state(try_to_connect=True)) is not _READY:
        await channel.wait_for_state_change(state)


def _channel_options(full_name: str, max_message_bytes: int) -> list[tuple[str, int | str]]:
    service_config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": full_name},
    }
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # Without it HTTP/2 hides megabytes of stale video between two processes.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A replica that was restarted is to be found again quickly.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", _MAX_BACKOFF_MS),
        # Channels to one address must not share a connection's fate or its flow control.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def _credentials(settings: GatewaySettings) -> grpc.ChannelCredentials | None:
    if settings.downstream_ca is None:
        return None
    certificate, key = settings.downstream_cert, settings.downstream_key
    return grpc.ssl_channel_credentials(
        settings.downstream_ca.read_bytes(),
        key.read_bytes() if key else None,
        certificate.read_bytes() if certificate else None,
    )
