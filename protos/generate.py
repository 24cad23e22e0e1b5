"""Generate the Python stubs from the protos, or check that the committed ones are fresh.

python protos/generate.py            write clients/python/kinemask/v1
python protos/generate.py --check    compare; exit 1 and name what differs
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types

PROTOS = Path(__file__).resolve().parent
PACKAGE = Path("kinemask/v1")
STUBS = PROTOS.parent / "clients" / "python" / PACKAGE


def generate(target: Path) -> None:
    """Write every stub below `target` (which becomes the import root)."""
    google = str(files("grpc_tools") / "_proto")
    # protoc looks for the mypy plugin on the PATH; a virtual environment need not be on it.
    os.environ["PATH"] = os.pathsep.join(
        [sysconfig.get_path("scripts"), os.environ.get("PATH", "")]
    )
    protos = sorted((PROTOS / PACKAGE).glob("*.proto"))
    services = [path for path in protos if "\nservice " in path.read_text()]
    roots = ["protoc", f"-I{PROTOS}", f"-I{google}"]
    messages = [f"--python_out={target}", f"--mypy_out=quiet:{target}"]
    stubs = [f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}"]
    for outputs, sources in ((messages, protos), (stubs, services)):
        if protoc.main([*roots, *outputs, *map(str, sources)]) != 0:
            raise SystemExit("protoc failed; its message is above")


def differences(fresh: Path, committed: Path) -> list[str]:
    """What is missing, superfluous or different in `committed`, one line each."""
    wanted = {path.name: path.read_bytes() for path in fresh.glob("*_pb2*")}
    there = {path.name: path.read_bytes() for path in committed.glob("*_pb2*")}
    return (
        [f"missing: {name}" for name in sorted(wanted.keys() - there.keys())]
        + [f"superfluous: {name}" for name in sorted(there.keys() - wanted.keys())]
        + [f"stale: {n}" for n in sorted(wanted.keys() & there.keys()) if wanted[n] != there[n]]
    )


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = Path(scratch) / PACKAGE
        if arguments == ["--check"]:
            found = differences(fresh, STUBS)
            print("\n".join(found) or "stubs are fresh")
            return 1 if found else 0
        for stale in STUBS.glob("*_pb2*"):
            stale.unlink()
        for path in fresh.iterdir():
            (STUBS / path.name).write_bytes(path.read_bytes())
    (STUBS / "py.typed").touch()
    print(f"wrote {len(list(STUBS.glob('*_pb2*')))} stubs")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
