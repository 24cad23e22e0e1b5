"""What `kinemask up` says of engines that were chosen and of those that were not."""

from __future__ import annotations

import pytest
from kinemask.cli.up.engines import _choice, choice_lines
from kinemask.v1.live_pb2 import ServiceStatus
from kinemask.v1.media_pb2 import ModelInfo

CLASSIC = ModelInfo(name="classic", engine="classic", revision="r1", ready=True, is_default=True)


def lacking(name: str, reason: str = "no weights: kinemask models pull ") -> ModelInfo:
    return ModelInfo(name=name, reason=f"{reason}{name}" if reason else "")


@pytest.mark.parametrize(
    ("others", "line"),
    [
        pytest.param([], "detector  classic (r1)  the only one it has", id="nothing else"),
        pytest.param(
            [lacking("big")],
            "detector  classic (r1)  not big: no weights: kinemask models pull big",
            id="one that lacks something",
        ),
        pytest.param(
            [lacking("big"), lacking("bigger"), ModelInfo(name="other", ready=True)],
            "detector  classic (r1)  also ready: other; "
            "not big, bigger: no weights: kinemask models pull NAME",
            id="two that lack the same",
        ),
        pytest.param(
            [lacking("big"), lacking("odd", "damaged: ")],
            "detector  classic (r1)  not big: no weights: kinemask models pull big; "
            "not odd: damaged: odd",
            id="two that lack other things",
        ),
        pytest.param(
            [lacking("slow", "")],
            "detector  classic (r1)  not slow: it is not ready",
            id="one that does not say",
        ),
    ],
)
def test_line_says_what_runs_and_what_the_others_lack(others: list[ModelInfo], line: str) -> None:
    status = ServiceStatus(service="detector", models=[CLASSIC, *others])
    assert choice_lines([_choice(status)]) == [line]
