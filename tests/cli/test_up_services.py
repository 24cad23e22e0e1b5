"""Which packages count as services that can be started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kinemask.cli.up import services


@pytest.mark.parametrize(
    ("files", "counts"),
    [
        pytest.param(("__init__.py", "__main__.py"), True, id="a package that starts"),
        pytest.param(("__init__.py",), False, id="engines without a service"),
        pytest.param((), False, id="a folder"),
    ],
)
def test_a_service_is_a_package_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], counts: bool
) -> None:
    package = tmp_path / "kinemask_pretended"
    package.mkdir()
    for name in files:
        (package / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(services, "KNOWN_SERVICES", ("pretended",))
    try:
        assert services.installed_services() == ("pretended",) * counts
    finally:
        sys.modules.pop("kinemask_pretended", None)
