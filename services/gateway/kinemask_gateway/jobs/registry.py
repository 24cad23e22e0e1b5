"""Which kinds of jobs there are bodies for. A kind is added by one line in `bodies`."""

from __future__ import annotations

from collections.abc import Mapping

from kinemask_gateway.exporting.body import ExportBody
from kinemask_gateway.following.body import TrackBody
from kinemask_gateway.jobs.body import JobBody, JobKind
from kinemask_gateway.rendering.body import RenderBody
from kinemask_gateway.settings import GatewaySettings

KINDS: tuple[JobKind, ...] = (JobKind.TRACK, JobKind.RENDER, JobKind.EXPORT)
"""What clients may ask for: the kinds that `bodies` gives."""


def bodies(settings: GatewaySettings) -> Mapping[JobKind, JobBody]:
    """One body a kind, made when a worker starts."""
    return {
        JobKind.TRACK: TrackBody(settings),
        JobKind.RENDER: RenderBody(settings.data_dir),
        JobKind.EXPORT: ExportBody(settings.data_dir),
    }
