"""Which hardware a benchmark ran on, and figures kept beside its name."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import torch

_RESULTS = Path(__file__).parent / "results"


def device_of(wished: str) -> str:
    """`cpu` or `cuda`; `auto` takes the card if there is one.

    Raises:
        SystemExit: `cuda` is wished, and there is none.
    """
    there = torch.cuda.is_available()
    if wished == "cuda" and not there:
        raise SystemExit("--device cuda: this machine has no card that PyTorch can use")
    return "cuda" if wished != "cpu" and there else "cpu"


def hardware_name(device: str) -> str:
    """The card's name, or the processor's with the threads in use."""
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{_processor()}, {torch.get_num_threads()} threads"


def save(name: str, report: Mapping[str, object]) -> Path:
    """Write a report under `benchmarks/results/`, named by the benchmark and `hardware` in it."""
    slug = re.sub(r"[^a-z0-9]+", "-", str(report["hardware"]).lower()).strip("-")
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"{name}-{slug}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
