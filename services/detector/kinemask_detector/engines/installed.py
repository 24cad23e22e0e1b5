"""The engines that can run here, as packages and weights allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TypeAlias

import structlog
from kinemask_chassis.weights.absent import (
    AbsentModel,
    absent_models,
    damaged_model,
    in_order,
    install_hint,
)
from kinemask_chassis.weights.checkpoints import Checkpoint, present

from kinemask_detector.engines.architectures import architectures, engine_of
from kinemask_detector.engines.registry import AnyEngine, EngineSet
from kinemask_detector.settings import DetectorSettings

GROUP = "kinemask_detector.engines"
SERVICE, ENGINE, CLASSIC = "detector", "transformers", "classic"
EngineFactory: TypeAlias = Callable[[], AnyEngine]

_NEEDS = ("torch", "torchvision", "transformers", "timm", "PIL")
_BEST_ON_GPU = "llmdet-tiny"

_log = structlog.get_logger(__name__)


def installed_engines(settings: DetectorSettings) -> EngineSet:
    """Registered engines, one for each checkpoint in the models' folder, and `classic`.

    The order is that of `auto`: registered ones; those of fixed classes, which are quicker and more
    accurate for what they know; those of any words; `classic`, which needs no weights.

    Raises:
        ValueError: an entry's name is not its engine's.
    """
    registered = [_make(name, factory) for name, factory in _factories().items()]
    known = architectures()
    found = present(settings.models_dir, SERVICE, known)
    install = install_hint(_NEEDS, "kinemask-detector[transformers]")
    absent = absent_models(SERVICE, ENGINE, found, install)
    loaded: list[AnyEngine] = []
    if not install:
        loaded, damaged = _engines(found, settings.detector_device, known)
        absent = in_order(SERVICE, [*damaged, *absent])
    engines = [*registered, *loaded]
    engines.sort(key=_rank)
    return EngineSet(engines, absent)


def _rank(engine: AnyEngine) -> tuple[int, bool]:
    """Smaller is sooner; equals stay in the order of the known models."""
    info = engine.info
    if info.name == CLASSIC:
        return 3, False
    if info.engine != ENGINE:
        return 0, False
    slow_but_best = info.name == _BEST_ON_GPU and info.device.startswith("cuda")
    return (2 if info.classes is None else 1), not slow_but_best


def _factories() -> dict[str, EngineFactory]:
    """Registered by name; `classic` is there even in a plain source folder."""
    # Imported here: a service that is given its engines loads no other's libraries.
    from kinemask_detector.engines.classic import ClassicEngine

    found: dict[str, EngineFactory] = {CLASSIC: ClassicEngine}
    return found | {entry.name: entry.load() for entry in metadata.entry_points(group=GROUP)}


def _make(name: str, factory: EngineFactory) -> AnyEngine:
    engine = factory()
    made = engine.info.name
    if made != name:
        raise ValueError(f"expected entry point {name!r} to make {name!r}, got {made!r}")
    return engine


def _engines(
    found: Sequence[Checkpoint], device: str, known: dict[str, metadata.EntryPoint]
) -> tuple[list[AnyEngine], list[AbsentModel]]:
    engines: list[AnyEngine] = []
    damaged = []
    for one in found:
        try:
            engines.append(engine_of(one, device, known[one.architecture]))
        except (ValueError, OSError, KeyError) as error:
            _log.error("model_damaged", model=one.name, why=str(error))
            damaged.append(damaged_model(one, ENGINE, error))
    return engines, damaged
