"""A whole set of services on this machine, started and stopped together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence

from kinemask.cli.up.keeper import Keeper, Replica
from kinemask.cli.up.logs import LogLine, LogSink
from kinemask.cli.up.plan import LOOPBACK, Plan
from kinemask.cli.up.services import GATEWAY

DEFAULT_GRACE_S = 20.0
_GRACE = "KINEMASK_DRAIN_GRACE_S"
# What a process may take beyond the grace it gives its calls, before it is killed.
_GRACE_SLACK_S = 7.0
_KILLED_WITHIN_S = 10.0


class Stack:
    """Services as processes: `with Stack() as stack: stack.gateway_address`.

    Entering starts every process and waits until each is SERVING, the gateway last. A process
    that ends later is started again, after 0.5 s and then ever longer. Leaving the block stops
    the gateway first and then the others, each within its grace. If this process dies, whatever
    the reason, they go too. Not for use from several threads, except `kill`.

    Raises:
        StackError: by `start`: something is not installed, a port is taken, a service did not
            get ready; the message holds the end of its log.
    """

    def __init__(
        self,
        services: Sequence[str] | None = None,
        *,
        replicas: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
        host: str = LOOPBACK,
        port: int = 0,
        metrics: bool = False,
        log: LogSink | None = None,
        start_timeout_s: float = 120.0,
        grace_s: float | None = None,
    ) -> None:
        """Plan the stack; nothing starts yet.

        Args:
            services: names, such as `["segmenter", "gateway"]`; None for all that are installed.
            replicas: processes of a service, where it is not 1.
            environment: settings for every process, over those of this one.
            modules: what starts a service, where it is not `kinemask_NAME`.
            host: where the gateway listens; the others listen on loopback.
            port: the gateway's; 0 for any free one.
            metrics: serve Prometheus metrics, on a port of each process.
            log: takes every line; called from several threads. None: lines are not shown.
            start_timeout_s: seconds until all must be ready.
            grace_s: seconds that running calls have to end; None: KINEMASK_DRAIN_GRACE_S or 20.
        """
        self._grace_s = _inherited_grace_s() if grace_s is None else grace_s
        told = {_GRACE: f"{self._grace_s:g}"}
        self._plan = Plan(
            services=services,
            replicas=dict(replicas or {}),
            environment={**(environment or {}), **told},
            modules=dict(modules or {}),
            host=host,
            port=port,
            metrics=metrics,
        )
        self._log: LogSink = log or _unheard
        self._start_timeout_s = start_timeout_s
        self._keepers: list[Keeper] = []

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """What runs where, the gateway last; empty before the start."""
        return tuple(keeper.replica for keeper in self._keepers)

    @property
    def gateway_address(self) -> str:
        """`host:port` for clients on this machine.

        Raises:
            LookupError: the stack has no gateway, or has not been started.
        """
        return self.addresses(GATEWAY)[0]

    def addresses(self, service: str) -> tuple[str, ...]:
        """`host:port` of each replica of a service.

        Raises:
            LookupError: the stack does not run it, or has not been started.
        """
        found = tuple(r.address for r in self.replicas if r.service == service)
        if not found:
            raise LookupError(f"this stack runs no {service}")
        return found

    def process_ids(self, service: str | None = None) -> list[int]:
        """The processes now running, of one service or of all."""
        ids = [k.pid for k in self._keepers if service in (None, k.replica.service)]
        return [number for number in ids if number is not None]

    def arrange(self) -> tuple[Replica, ...]:
        """Choose ports and addresses, without starting anything; `start` does it if need be.

        Raises:
            StackError: something is not installed, a number is wrong, or the port is taken.
        """
        if not self._keepers:
            self._keepers = [Keeper(entry, self._log) for entry in self._plan.arranged()]
        return self.replicas

    def start(self) -> None:
        """Start everything and wait until it is ready; on failure nothing stays behind."""
        self.arrange()
        deadline_s = time.monotonic() + self._start_timeout_s
        try:
            for group in (self._inner(), self._gateway()):
                self._start_group(group, deadline_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the gateway, then the others. Interrupted, it kills them all. Idempotent."""
        try:
            for group in (self._gateway(), self._inner()):
                self._stop_group(group)
        except BaseException:
            self.kill()
            raise
        finally:
            self._keepers = []

    def kill(self) -> None:
        """End every process at once."""
        for keeper in self._keepers:
            keeper.kill()
        for keeper in self._keepers:
            keeper.wait_gone(_KILLED_WITHIN_S)

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _gateway(self) -> list[Keeper]:
        return [keeper for keeper in self._keepers if keeper.replica.service == GATEWAY]

    def _inner(self) -> list[Keeper]:
        return [keeper for keeper in self._keepers if keeper.replica.service != GATEWAY]

    def _start_group(self, group: Iterable[Keeper], deadline_s: float) -> None:
        keepers = list(group)
        for keeper in keepers:
            keeper.start()
        for keeper in keepers:
            keeper.wait_ready(deadline_s)

    def _stop_group(self, group: Sequence[Keeper]) -> None:
        for keeper in group:
            keeper.leave()
        until_s = time.monotonic() + self._grace_s + _GRACE_SLACK_S
        for keeper in group:
            if not keeper.wait_gone(max(until_s - time.monotonic(), 0.0)):
                keeper.kill()
                keeper.wait_gone(_KILLED_WITHIN_S)


def _inherited_grace_s() -> float:
    try:
        return float(os.environ.get(_GRACE, ""))
    except ValueError:
        return DEFAULT_GRACE_S


def _unheard(line: LogLine) -> None:
    """The end of each log is kept for errors; nobody asked for more."""
