"""Who is to run where: names, ports and environments, before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kinemask.cli.up.keeper import Replica, StackError
from kinemask.cli.up.ports import free_ports, is_free
from kinemask.cli.up.services import (
    DEFAULT_PORTS,
    GATEWAY,
    KNOWN_SERVICES,
    WORKER,
    installed_services,
    is_installed,
    module_of,
)

LOOPBACK = "127.0.0.1"
METRICS_OFFSET = 1000
MAX_REPLICAS = 64
NOT_INHERITED = (
    "KINEMASK_HOST",
    "KINEMASK_PORT",
    "KINEMASK_METRICS_HOST",
    "KINEMASK_METRICS_PORT",
    "KINEMASK_TLS_CERT",
    "KINEMASK_TLS_KEY",
    "KINEMASK_TLS_CLIENT_CA",
)
"""Meant for one server, they would make the processes of a stack clash; TLS is for services on
several machines."""
# An empty variable counts as unset and would mean the default address: this is a list of none.
_NO_ADDRESSES = ","


@dataclass(frozen=True)
class Plan:
    """What a stack is asked to be."""

    services: Sequence[str] | None = None
    """Names; None: all that are installed."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Processes of a service, where it is not 1."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings for every process, over those of this process."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """What starts a service, where it is not `kinemask_NAME`."""
    host: str = LOOPBACK
    """Address the gateway listens on; the others listen on loopback."""
    port: int = 0
    """The gateway's port; 0: any free one."""
    metrics: bool = False
    """True: each process serves Prometheus metrics on a port of its own."""

    def arranged(self) -> list[Replica]:
        """One entry a process, the gateway last.

        Raises:
            StackError: a service is unknown or not installed, a number of replicas is wrong, or
                the gateway's port is taken.
        """
        names = self._checked_names()
        counted = [(name, i + 1) for name in names for i in range(self.replicas.get(name, 1))]
        ports = self._ports([name for name, _ in counted])
        replicas = [
            self._replica(name, number, *chosen)
            for (name, number), chosen in zip(counted, ports, strict=True)
        ]
        inner = [entry for entry in replicas if entry.service != GATEWAY]
        told = [_with_addresses(e, inner) if e.service == WORKER else e for e in inner]
        return told + [_with_addresses(e, inner) for e in replicas if e.service == GATEWAY]

    def _checked_names(self) -> list[str]:
        names = list(
            dict.fromkeys(installed_services() if self.services is None else self.services)
        )
        if not names:
            raise StackError("no service to start: none was named, or none is installed here")
        _check_known([*names, *self.replicas])
        missing = [name for name in names if not is_installed(self._module(name))]
        if missing:
            raise StackError(f"not installed in this environment: {', '.join(missing)}")
        for name, count in self.replicas.items():
            _check_replicas(name, count, names)
        return names

    def _ports(self, names: Sequence[str]) -> list[tuple[int, int | None]]:
        """(port, metrics port) of each process."""
        if GATEWAY in names and self.port and not is_free(self.port, self.host):
            raise StackError(
                f"port {self.port} of {self.host} is taken, perhaps by another `kinemask up`; "
                "stop that, or take a free port with --port 0"
            )
        wishes = [self.port if name == GATEWAY else DEFAULT_PORTS[name] for name in names]
        if not self.metrics:
            return [(port, None) for port in free_ports(wishes)]
        # All at once, so that no two are the same.
        both = free_ports(wishes + [DEFAULT_PORTS[name] + METRICS_OFFSET for name in names])
        return list(zip(both[: len(names)], both[len(names) :], strict=True))

    def _module(self, name: str) -> str:
        return self.modules.get(name, module_of(name))

    def _replica(self, name: str, number: int, port: int, metrics_port: int | None) -> Replica:
        listens = self.host if name == GATEWAY else LOOPBACK
        reached = LOOPBACK if listens in ("0.0.0.0", "") else listens
        return Replica(
            service=name,
            source=f"{name}.{number}" if self.replicas.get(name, 1) > 1 else name,
            module=self._module(name),
            address=f"{reached}:{port}",
            metrics_port=metrics_port,
            environment=self._environment(listens, port, metrics_port),
        )

    def _environment(self, host: str, port: int, metrics_port: int | None) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
        metrics = {} if metrics_port is None else {"KINEMASK_METRICS_PORT": str(metrics_port)}
        return {
            "KINEMASK_LOG_FORMAT": "console",
            **inherited,
            **self.environment,
            "PYTHONUNBUFFERED": "1",
            "KINEMASK_HOST": host,
            "KINEMASK_PORT": str(port),
            **metrics,
        }


def _with_addresses(caller: Replica, inner: Iterable[Replica]) -> Replica:
    """The gateway or a worker, told where each service is, or that there is none."""
    callers = (GATEWAY, WORKER)
    addresses: dict[str, list[str]] = {name: [] for name in KNOWN_SERVICES if name not in callers}
    for entry in inner:
        if entry.service not in callers:
            addresses[entry.service].append(entry.address)
    told = {
        f"KINEMASK_{name.upper()}_ADDRESSES": ",".join(found) or _NO_ADDRESSES
        for name, found in addresses.items()
    }
    return replace(caller, environment={**caller.environment, **told})


def _check_known(names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in KNOWN_SERVICES]
    if unknown:
        raise StackError(f"no such service: {unknown[0]}; there are: {', '.join(KNOWN_SERVICES)}")


def _check_replicas(name: str, count: int, names: Sequence[str]) -> None:
    most = 1 if name == GATEWAY else MAX_REPLICAS
    if not 1 <= count <= most:
        raise StackError(f"replicas of {name}: expected 1 to {most}, got {count}")
    if name not in names:
        raise StackError(f"replicas of {name}: it is not among the services to start")
