"""Addresses, channel options and credentials."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from kinemask.config import TlsConfig

DEFAULT_ADDRESS = "127.0.0.1:50050"
MAX_MESSAGE_BYTES = 65 * 2**20
"""The servers' limit: a resume token of 64 MiB and a config around it."""

_Options = list[tuple[str, str | int]]


@dataclass(frozen=True)
class Target:
    """What to connect to."""

    target: str
    """In grpc's words."""
    authority: str | None
    """The name servers are called by, where the target names several."""


def target_of(address: str | Sequence[str]) -> Target:
    """The target of `HOST:PORT`, of a list of them, or of any grpc URI such as `dns:///HOST:PORT`.

    A list becomes one target whose calls take turns; its host names are looked up once, now.

    Raises:
        ValueError: no address, or one without a port, or IPv4 and IPv6 mixed.
        OSError: a host name that cannot be looked up.
    """
    if isinstance(address, str):
        if not address:
            raise ValueError("address: expected HOST:PORT, found nothing")
        if "," not in address:
            return Target(address, None)
        address = [part.strip() for part in address.split(",")]
    if not address:
        raise ValueError("address: expected one address or more, found none")
    if len(address) == 1:
        return Target(address[0], None)
    numeric = [_numeric(one) for one in address]
    families = {family for family, _ in numeric}
    if len(families) > 1:
        raise ValueError(f"address: expected all IPv4 or all IPv6, found both in {list(address)}")
    return Target(f"{families.pop()}:{','.join(one for _, one in numeric)}", address[0])


def _numeric(address: str) -> tuple[str, str]:
    """`("ipv4" | "ipv6", "IP:PORT")` of `HOST:PORT`."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ValueError(f"address: expected HOST:PORT, found {address!r}")
    host = host.strip("[]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        # IPv4 first: most servers of a list listen on it.
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        ip = ipaddress.ip_address(str(found[0][4][0]).partition("%")[0])
    return ("ipv4", f"{ip}:{port}") if ip.version == 4 else ("ipv6", f"[{ip}]:{port}")


def channel_options(target: Target, tls: TlsConfig | None) -> _Options:
    """How every channel is set up."""
    options: _Options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # Probing for bandwidth grows a hidden queue of seconds of stale video.
        ("grpc.http2.bdp_probe", 0),
        # A server that vanishes without a word is noticed within half a minute.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # A stream that lost its server looks for another at once, not when grpc feels like it.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.dns_min_time_between_resolutions_ms", 5_000),
        # Retries are this SDK's: it knows which calls are safe to repeat.
        ("grpc.enable_retries", 0),
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ]
    if target.authority is not None:
        options.append(("grpc.default_authority", target.authority))
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def credentials(tls: TlsConfig) -> grpc.ChannelCredentials:
    """Raises OSError for a PEM file that cannot be read."""
    return grpc.ssl_channel_credentials(
        root_certificates=_pem(tls.ca_pem),
        private_key=_pem(tls.key_pem),
        certificate_chain=_pem(tls.cert_pem),
    )


def tls_config(tls: bool | TlsConfig) -> TlsConfig | None:
    if isinstance(tls, TlsConfig):
        return tls
    return TlsConfig() if tls else None


def _pem(source: bytes | Path | None) -> bytes | None:
    return source.read_bytes() if isinstance(source, Path) else source
