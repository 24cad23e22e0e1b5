"""The engines that can run here, as packages and weights allow."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import structlog

from kinemask_captioner.engines.checkpoints import KNOWN, Checkpoint, present
from kinemask_captioner.engines.registry import AbsentModel, AnyEngine, EngineSet
from kinemask_captioner.settings import CaptionerSettings

ENGINE = "transformers"
_NEEDS = ("torch", "torchvision", "transformers", "PIL")
_INSTALL = "pip install 'kinemask-captioner[transformers]'"

_log = structlog.get_logger(__name__)


def installed_engines(settings: CaptionerSettings) -> EngineSet:
    """One engine for each checkpoint in the models' folder, and what the known others lack."""
    found = present(settings.models_dir)
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        install = f"{', '.join(missing)} not installed: {_INSTALL}"
        here = [AbsentModel(one.name, ENGINE, one.license, install) for one in found]
        return EngineSet(absent=_in_order([*here, *_unfetched(found, f"{install}; ")]))
    engines, damaged = _engines(found, settings.captioner_device)
    return EngineSet(engines, _in_order([*damaged, *_unfetched(found)]))


def _engines(found: Sequence[Checkpoint], device: str) -> tuple[list[AnyEngine], list[AbsentModel]]:
    if not found:
        return [], []
    # Imported here: it loads torch, which takes seconds and may not be installed.
    from kinemask_captioner.engines.hf.engine import TransformersEngine

    engines: list[AnyEngine] = []
    damaged = []
    for one in found:
        try:
            engines.append(TransformersEngine(one, device))
        except ValueError as error:
            _log.error("model_damaged", model=one.name, why=str(error))
            why = f"its files are damaged: {error}"
            damaged.append(AbsentModel(one.name, ENGINE, one.license, why))
    return engines, damaged


def _unfetched(found: Sequence[Checkpoint], before: str = "") -> list[AbsentModel]:
    here = {one.name for one in found}
    return [
        AbsentModel(
            known.name,
            ENGINE,
            known.license,
            f"{before}no weights on this machine: kinemask models pull {known.name}",
        )
        for known in KNOWN
        if known.name not in here
    ]


def _in_order(absent: list[AbsentModel]) -> list[AbsentModel]:
    """What `auto` would rather take first."""
    order = [known.name for known in KNOWN]
    return sorted(absent, key=lambda one: (*order, one.name).index(one.name))
