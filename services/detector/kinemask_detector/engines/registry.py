"""Which engines there are, and which of them a request gets.

An engine is added by naming a function that takes nothing and gives a `DetectorEngine` (its class,
say) in the entry-point group `kinemask_detector.engines` of any installed package. The entry's
name is the word that clients use, and must be the engine's `info.name`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeAlias

from kinemask_chassis import errors

from kinemask_detector.engines.base import DetectorEngine

GROUP = "kinemask_detector.engines"
AUTO = "auto"

# Each engine has its own prepared and raw types; whoever holds several knows none of them.
AnyEngine: TypeAlias = DetectorEngine[Any, Any]
EngineFactory: TypeAlias = Callable[[], AnyEngine]


@dataclass(frozen=True)
class Choice:
    """The engine a request gets."""

    engine: AnyEngine
    notice: str
    """What the client should know of a choice made for it; empty if it chose itself."""


class EngineSet:
    """The engines of one service, the default first.

    Invariant: there is at least one, and their names differ.
    """

    def __init__(self, engines: Sequence[AnyEngine], notice: str = "") -> None:
        """`notice` goes with every choice that is left to `auto`.

        Raises:
            ValueError: no engine, or two of one name.
        """
        self._by_name = {engine.info.name: engine for engine in engines}
        if not engines or len(self._by_name) != len(engines):
            names = [engine.info.name for engine in engines]
            raise ValueError(f"expected engines of different names, at least one, got {names}")
        self._notice = notice

    def __iter__(self) -> Iterator[AnyEngine]:
        return iter(self._by_name.values())

    @property
    def default(self) -> AnyEngine:
        """What `auto` takes."""
        return next(iter(self))

    def choose(self, model: str) -> Choice:
        """The engine of that name; the default for nothing or `auto`.

        Raises:
            ServiceError: NOT_FOUND, reason UNKNOWN_MODEL: names those there are.
        """
        if model in ("", AUTO):
            return Choice(self.default, self._notice)
        engine = self._by_name.get(model)
        if engine is None:
            available = ", ".join((AUTO, *self._by_name))
            raise errors.not_found(
                f"expected a model among {available}, found {model!r}",
                reason="UNKNOWN_MODEL",
                available=available,
            )
        return Choice(engine, "")


def installed_engines() -> EngineSet:
    """One engine of every registered factory; `classic` is there even in a plain source folder.

    Raises:
        ValueError: an entry's name is not its engine's.
    """
    engines = [_make(name, factory) for name, factory in _factories().items()]
    # Engines with weights come before the one that needs none.
    engines.sort(key=lambda engine: engine.info.name == "classic")
    notice = "" if len(engines) > 1 else "auto chose classic: no other engine is installed"
    return EngineSet(engines, notice)


def _factories() -> dict[str, EngineFactory]:
    # Imported here: a service that is given its engines loads no other's libraries.
    from kinemask_detector.engines.classic import ClassicEngine

    found: dict[str, EngineFactory] = {"classic": ClassicEngine}
    return found | {entry.name: entry.load() for entry in metadata.entry_points(group=GROUP)}


def _make(name: str, factory: EngineFactory) -> AnyEngine:
    engine = factory()
    made = engine.info.name
    if made != name:
        raise ValueError(f"expected entry point {name!r} to make {name!r}, got {made!r}")
    return engine
