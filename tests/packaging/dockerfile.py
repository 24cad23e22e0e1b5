"""Reads Dockerfiles far enough to hold them against the tree."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """What one FROM begins."""

    image: str
    copies: list[tuple[str, ...]] = field(default_factory=list)
    """Sources of each COPY from the build's context, its target last."""
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    """ARGs with their defaults."""
    ports: list[int] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    user: str = "root"
    command: list[str] = field(default_factory=list)
    health_command: list[str] = field(default_factory=list)


def read_dockerfile(path: Path) -> list[Stage]:
    """The stages, in order; an instruction that is not known here is an error."""
    stages: list[Stage] = []
    for instruction, rest in _instructions(path.read_text()):
        if instruction == "FROM":
            stages.append(Stage(rest.split()[0]))
        else:
            _take(stages[-1], instruction, rest)
    return stages


def _instructions(text: str) -> list[tuple[str, str]]:
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(kept).replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def _take(stage: Stage, instruction: str, rest: str) -> None:
    match instruction:
        case "COPY":
            if not rest.startswith("--from="):
                stage.copies.append(tuple(rest.split()))
        case "ENV" | "ARG":
            pairs = dict(word.split("=", 1) for word in shlex.split(rest))
            (stage.environment if instruction == "ENV" else stage.arguments).update(pairs)
        case "EXPOSE":
            stage.ports += [int(port) for port in rest.split()]
        case "RUN":
            stage.runs.append(rest)
        case "USER":
            stage.user = rest
        case "CMD":
            stage.command = json.loads(rest)
        case "HEALTHCHECK":
            stage.health_command = json.loads(rest.partition("CMD ")[2])
        case "WORKDIR":
            pass
        case _:
            raise AssertionError(f"an instruction that no test looks at: {instruction} {rest}")
