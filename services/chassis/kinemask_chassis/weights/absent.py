"""Models that could be here and are not, and the command that changes it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kinemask.models import known_models

from kinemask_chassis import errors
from kinemask_chassis.weights.checkpoints import Checkpoint


@dataclass(frozen=True)
class AbsentModel:
    """A model that could be here and is not."""

    name: str
    engine: str
    license: str
    reason: str
    """What it lacks, and the command that changes it."""


def install_hint(packages: Sequence[str], extra: str) -> str:
    """What to install if one of the packages is missing, such as for `kinemask-x[extra]`; or ''."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed: pip install '{extra}'" if missing else ""


def absent_models(
    service: str, engine: str, found: Sequence[Checkpoint], install: str = ""
) -> list[AbsentModel]:
    """The service's known models that are not among those found; all, if something is missing.

    `install` is what `install_hint` says.
    """
    here = {one.name for one in found}
    missing = [
        AbsentModel(one.name, engine, one.license, _pull(one.name, install))
        for one in known_models(service)
        if one.name not in here
    ]
    if install:
        missing += [AbsentModel(one.name, engine, one.license, install) for one in found]
    return in_order(service, missing)


def damaged_model(found: Checkpoint, engine: str, error: Exception) -> AbsentModel:
    """A checkpoint that cannot be used."""
    return AbsentModel(found.name, engine, found.license, f"its files are damaged: {error}")


def in_order(service: str, absent: Iterable[AbsentModel]) -> list[AbsentModel]:
    """What `auto` would rather take first."""
    order = [one.name for one in known_models(service)]
    return sorted(absent, key=lambda one: (*order, one.name).index(one.name))


def absent_error(model: AbsentModel) -> errors.ServiceError:
    """FAILED_PRECONDITION, reason MODEL_ABSENT: what a request for it gets."""
    why = f"{model.name}: {model.reason}"
    return errors.failed_precondition(why, reason="MODEL_ABSENT", model=model.name)


def _pull(name: str, install: str) -> str:
    before = f"{install}; " if install else ""
    return f"{before}no weights on this machine: kinemask models pull {name}"
