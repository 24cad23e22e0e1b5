"""Which models are in memory: as many as fit; the one not used for longest leaves first."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import structlog

from kinemask_chassis import errors

_MIB = 1 << 20

_log = structlog.get_logger(__name__)


class Named(Protocol):
    """The part of an engine's facts that is told."""

    @property
    def name(self) -> str: ...


@runtime_checkable
class Loadable(Protocol):
    """An engine whose weights come and go, in the device's thread."""

    @property
    def info(self) -> Named: ...

    @property
    def loaded(self) -> bool: ...

    @property
    def size_bytes(self) -> int:
        """Memory that the weights take once they are loaded; an estimate before."""
        ...

    def load(self) -> None:
        """Bring the weights to the device. Blocking; nothing to do if they are there."""
        ...

    def unload(self) -> None:
        """Let the weights go. Idempotent."""
        ...


class Residency:
    """Loads and unloads engines. Not thread-safe: the device's thread alone uses it.

    Invariant: what is loaded through it takes at most the budget, going by each engine's own word.
    """

    def __init__(self, budget_bytes: int, setting: str) -> None:
        """`setting` is the variable that sets the budget, for whoever is refused."""
        self._budget_bytes = budget_bytes
        self._setting = setting
        self._loaded: dict[str, Loadable] = {}
        """By name, the least recently used first."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is loaded, the least recently used first."""
        return tuple(self._loaded)

    def hold(self, engine: Loadable) -> None:
        """Have an engine loaded, at the cost of others where it must be.

        Raises:
            ServiceError: FAILED_PRECONDITION, reason MODEL_TOO_LARGE: it alone is over the budget.
        """
        name = engine.info.name
        if name in self._loaded:
            self._loaded[name] = self._loaded.pop(name)  # now the most recently used
            return
        self._check(engine)
        self._make_room(engine.size_bytes)
        engine.load()
        try:
            # Loaded, it knows its size exactly.
            self._check(engine)
        except errors.ServiceError:
            engine.unload()
            raise
        self._make_room(engine.size_bytes)
        self._loaded[name] = engine
        _log.info("model_loaded", model=name, mib=engine.size_bytes // _MIB)

    def clear(self) -> None:
        """Unload everything."""
        for name in self.names:
            self._loaded.pop(name).unload()

    def _make_room(self, wanted_bytes: int) -> None:
        for name in self.names:
            taken = sum(engine.size_bytes for engine in self._loaded.values())
            if taken + wanted_bytes <= self._budget_bytes:
                return
            self._loaded.pop(name).unload()
            _log.info("model_unloaded", model=name)

    def _check(self, engine: Loadable) -> None:
        if engine.size_bytes <= self._budget_bytes:
            return
        raise errors.failed_precondition(
            f"{engine.info.name} takes {engine.size_bytes // _MIB + 1} MiB, and models may take "
            f"{self._budget_bytes // _MIB} MiB: set {self._setting}",
            reason="MODEL_TOO_LARGE",
            model=engine.info.name,
        )
