"""Which kinds of jobs there are bodies for. A kind is added by one line in `bodies`."""

from __future__ import annotations

from collections.abc import Mapping

from kinemask_gateway.jobs.body import JobBody, JobKind
from kinemask_gateway.settings import GatewaySettings

KINDS: tuple[JobKind, ...] = ()
"""What clients may ask for: the kinds that `bodies` gives."""


def bodies(settings: GatewaySettings) -> Mapping[JobKind, JobBody]:
    """One body a kind, made when a worker starts."""
    return {}
