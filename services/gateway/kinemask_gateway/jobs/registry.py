"""Which kinds of jobs there are bodies for. A kind is added by one line in `bodies`."""

from __future__ import annotations

from collections.abc import Mapping

from kinemask_gateway.following.body import TrackBody
from kinemask_gateway.jobs.body import JobBody, JobKind
from kinemask_gateway.settings import GatewaySettings

KINDS: tuple[JobKind, ...] = (JobKind.TRACK,)
"""What clients may ask for: the kinds that `bodies` gives."""


def bodies(settings: GatewaySettings) -> Mapping[JobKind, JobBody]:
    """One body a kind, made when a worker starts."""
    return {JobKind.TRACK: TrackBody(settings)}
