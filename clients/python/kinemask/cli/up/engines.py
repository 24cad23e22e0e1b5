"""Which engines a running gateway's services chose, and why not others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kinemask.v1.live_pb2 import ServiceStatus
    from kinemask.v1.media_pb2 import ModelInfo

_ANY_NAME = "NAME"


@dataclass(frozen=True)
class EngineChoice:
    """What one service runs where a request names no model."""

    service: str
    chosen: str
    """The default model with its engine and revision; empty if there is none."""
    reason: str
    """Why it is this one: what else there is and what that lacks; or why there is none."""


def engine_choices(address: str, timeout_s: float = 10.0) -> list[EngineChoice]:
    """Ask a gateway, one entry for each service that it was given.

    Raises:
        grpc.RpcError: the gateway cannot be asked.
    """
    from kinemask.v1.live_pb2 import ListServicesRequest
    from kinemask.v1.live_pb2_grpc import LiveServiceStub

    with grpc.insecure_channel(address) as channel:
        answer = LiveServiceStub(channel).ListServices(ListServicesRequest(), timeout=timeout_s)
    return [_choice(status) for status in answer.services if status.addresses]


def choice_lines(choices: list[EngineChoice]) -> list[str]:
    """One line a service, in columns."""
    service = max((len(choice.service) for choice in choices), default=0)
    chosen = max((len(choice.chosen) for choice in choices), default=0)
    return [
        f"{c.service:<{service}}  {c.chosen or 'nothing':<{chosen}}  {c.reason}".rstrip()
        for c in choices
    ]


def _choice(status: ServiceStatus) -> EngineChoice:
    default = next((model for model in status.models if model.is_default), None)
    if default is None:
        return EngineChoice(status.service, "", status.reason or "it has no model that can run")
    facts = [fact for fact in (default.engine, default.revision) if fact not in ("", default.name)]
    chosen = f"{default.name} ({', '.join(facts)})" if facts else default.name
    return EngineChoice(status.service, chosen, _why(status))


def _why(status: ServiceStatus) -> str:
    """A notice of the service's own, then what each other model lacks."""
    others = [model for model in status.models if not model.is_default]
    lacking = [f"not {', '.join(names)}: {reason}" for reason, names in _lacking(others).items()]
    ready = [model.name for model in others if model.ready]
    also = [f"also ready: {', '.join(ready)}"] if ready else []
    only = ["the only one it has"] if not others else []
    reasons = [*([status.reason] if status.reason else []), *only, *also, *lacking]
    return "; ".join(reasons)


def _lacking(models: Iterable[ModelInfo]) -> dict[str, list[str]]:
    """By what they lack, those that are not ready; `NAME` stands for each of several names."""
    names: dict[str, list[str]] = {}
    for model in models:
        if not model.ready:
            reason = model.reason or "it is not ready"
            names.setdefault(reason.replace(model.name, _ANY_NAME), []).append(model.name)
    alone = {reason: found[0] for reason, found in names.items() if len(found) == 1}
    return {
        reason.replace(_ANY_NAME, alone[reason]) if reason in alone else reason: found
        for reason, found in names.items()
    }
