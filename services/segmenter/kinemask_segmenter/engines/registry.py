"""Which engines a segmenter has, and which of them a request gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kinemask_chassis import errors

from kinemask_segmenter.engines.base import SegmenterEngine

AUTO = "auto"


@dataclass(frozen=True)
class AbsentModel:
    """A model that could be here and is not."""

    name: str
    engine: str
    reason: str
    """What it lacks, and the command that changes it."""


@dataclass(frozen=True)
class Choice:
    """The engine a request gets."""

    engine: SegmenterEngine
    notice: str
    """What the client should know of a choice made for it; empty if it chose itself."""


class EngineSet:
    """The engines of one service, the default first.

    Invariant: there is at least one, and their names differ.
    """

    def __init__(
        self,
        engines: Sequence[SegmenterEngine],
        notice: str = "",
        absent: Sequence[AbsentModel] = (),
    ) -> None:
        """`notice` goes with every choice that is left to `auto`.

        Raises:
            ValueError: no engine, or two of one name.
        """
        self._by_name = {engine.info.name: engine for engine in engines}
        if not engines or len(self._by_name) != len(engines):
            names = [engine.info.name for engine in engines]
            raise ValueError(f"expected engines of different names, at least one, got {names}")
        self._notice = notice
        self.absent = tuple(absent)

    def __iter__(self) -> Iterator[SegmenterEngine]:
        return iter(self._by_name.values())

    @property
    def default(self) -> SegmenterEngine:
        return next(iter(self._by_name.values()))

    def choose(self, model: str) -> Choice:
        """The engine of that name; the default for nothing or `auto`.

        A family's name, such as `sam2`, means the first model of it.

        Raises:
            ServiceError: NOT_FOUND, reason UNKNOWN_MODEL: names those there are;
                FAILED_PRECONDITION, reason MODEL_ABSENT: known, but it lacks something.
        """
        if model in ("", AUTO):
            return Choice(self.default, self._notice)
        named = [engine for engine in self if model in (engine.info.name, engine.info.engine)]
        if named:
            exact = self._by_name.get(model)
            return Choice(exact or named[0], "" if exact else f"{model}: {named[0].info.name}")
        for lacking in self.absent:
            if model in (lacking.name, lacking.engine):
                raise errors.failed_precondition(
                    f"{lacking.name}: {lacking.reason}", reason="MODEL_ABSENT", model=lacking.name
                )
        available = ", ".join((AUTO, *self._by_name))
        raise errors.not_found(
            f"expected a model among {available}, found {model!r}",
            reason="UNKNOWN_MODEL",
            available=available,
        )
