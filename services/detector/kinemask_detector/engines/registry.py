"""The engines of a service, and which of them a request gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kinemask_chassis import errors
from kinemask_chassis.weights.absent import AbsentModel, absent_error

from kinemask_detector.engines.base import (
    BadPromptError,
    DetectorEngine,
    Specialist,
    UnknownPromptError,
)

AUTO = "auto"

# Each engine has its own prepared and raw types; whoever holds several knows none of them.
AnyEngine: TypeAlias = DetectorEngine[Any, Any]


@dataclass(frozen=True)
class Choice:
    """The engine a request gets."""

    engine: AnyEngine
    notice: str
    """What the client should know of a choice made for it; empty if it chose itself."""


class EngineSet:
    """The engines of one service, the default first, and models that are not here.

    Invariant: there is at least one engine, and all names differ.
    """

    def __init__(self, engines: Sequence[AnyEngine], absent: Sequence[AbsentModel] = ()) -> None:
        """`absent` has first what `auto` would rather have taken.

        Raises:
            ValueError: no engine, or two of one name.
        """
        names = [*(engine.info.name for engine in engines), *(model.name for model in absent)]
        if not engines or len(set(names)) != len(names):
            raise ValueError(f"expected engines of different names, at least one, got {names}")
        self._by_name = {engine.info.name: engine for engine in engines}
        self.absent = tuple(absent)

    def __iter__(self) -> Iterator[AnyEngine]:
        return iter(self._by_name.values())

    @property
    def default(self) -> AnyEngine:
        """What `auto` takes where the words do not ask for another."""
        return next(iter(self))

    def choose(
        self, model: str, prompts: Sequence[str] = (), classes: Sequence[str] = ()
    ) -> Choice:
        """The engine of that name; for nothing or `auto` one that can look for these words.

        A named engine is not asked whether it can. Blocking: engines may read a tokenizer's files.

        Raises:
            ServiceError: NOT_FOUND, reason UNKNOWN_MODEL: names those there are;
                FAILED_PRECONDITION, reason MODEL_ABSENT: known, but it lacks something.
        """
        if model in ("", AUTO):
            return self._auto(prompts, classes)
        if model in self._by_name:
            return Choice(self._by_name[model], "")
        for lacking in self.absent:
            if model == lacking.name:
                raise absent_error(lacking)
        available = ", ".join((AUTO, *self._by_name, *(one.name for one in self.absent)))
        raise errors.not_found(
            f"expected a model among {available}, found {model!r}",
            reason="UNKNOWN_MODEL",
            available=available,
        )

    def _auto(self, prompts: Sequence[str], classes: Sequence[str]) -> Choice:
        """One made for just these prompts, else the first that can; the default says why not."""
        for engine in self:
            if isinstance(engine, Specialist) and engine.is_best_for(prompts):
                if engine is self.default:
                    break
                why = f"auto chose {engine.info.name}: it is made for what the prompts name"
                return Choice(engine, why)
        for engine in self:
            if _can(engine, prompts, classes):
                return Choice(engine, self._why(engine))
        return Choice(self.default, self._why(self.default))

    def _why(self, engine: AnyEngine) -> str:
        """Why `auto` came to it."""
        chose = f"auto chose {engine.info.name}"
        if len(self._by_name) == 1:
            return f"{chose}: no other engine can run here"
        if engine is self.default:
            return chose
        return f"{chose}: {self.default.info.name} cannot look for these words"


def _can(engine: AnyEngine, prompts: Sequence[str], classes: Sequence[str]) -> bool:
    try:
        engine.check(prompts, classes)
    except (UnknownPromptError, BadPromptError):
        return False
    return True
