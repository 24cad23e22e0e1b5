"""Which engines a captioner has, and which of them a request gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kinemask_chassis import errors
from kinemask_chassis.weights.absent import AbsentModel, absent_error

from kinemask_captioner.engines.base import CaptionEngine

AUTO = "auto"

# Each engine has its own prepared and raw types; whoever holds several knows none of them.
AnyEngine: TypeAlias = CaptionEngine[Any, Any]


@dataclass(frozen=True)
class Choice:
    """The engine a request gets."""

    engine: AnyEngine
    notice: str
    """What the client should know of a choice made for it; empty if it chose itself."""


class EngineSet:
    """The engines of one service, the default first, and models that are not here.

    Invariants: names differ; there may be no engine at all, but never no name.
    """

    def __init__(
        self, engines: Sequence[AnyEngine] = (), absent: Sequence[AbsentModel] = ()
    ) -> None:
        """`absent` has first what `auto` would rather have taken.

        Raises:
            ValueError: nothing at all, or two of one name.
        """
        names = [*(engine.info.name for engine in engines), *(model.name for model in absent)]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected models of different names, at least one, got {names}")
        self._by_name = {engine.info.name: engine for engine in engines}
        self.absent = tuple(absent)

    def __iter__(self) -> Iterator[AnyEngine]:
        return iter(self._by_name.values())

    @property
    def default(self) -> AnyEngine | None:
        """What `auto` takes; None if no model is here."""
        return next(iter(self), None)

    def choose(self, model: str) -> Choice:
        """The engine of that name; the default for nothing or `auto`.

        Raises:
            ServiceError: NOT_FOUND, reason UNKNOWN_MODEL: names those there are;
                FAILED_PRECONDITION, reason MODEL_ABSENT: known, but it lacks something.
        """
        if model in ("", AUTO):
            if self.default is None:
                raise absent_error(self.absent[0])
            return Choice(self.default, f"auto chose {self.default.info.name}")
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
