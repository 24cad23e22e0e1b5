"""Where the faces service looks for weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from kinemask.models import Store
from kinemask.models.manifest import KNOWN
from kinemask_faces.engines.onnx_files import WrongWeightsError
from kinemask_faces.engines.registry import load_models
from kinemask_faces.settings import FacesSettings

SFACE = next(known for known in KNOWN if known.name == "sface")


def _pulled_into(data_dir: Path) -> Path:
    """A file where `kinemask models pull sface` puts it."""
    [name] = SFACE.sha256s
    path = Store(data_dir / "models").folder(SFACE) / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


def test_weights_that_were_pulled_are_found(tmp_path: Path) -> None:
    path = _pulled_into(tmp_path)
    assert FacesSettings(data_dir=tmp_path).files.sface == path


def test_a_file_that_is_named_goes_first(tmp_path: Path) -> None:
    _pulled_into(tmp_path)
    named = tmp_path / "own.onnx"
    assert FacesSettings(data_dir=tmp_path, faces_sface=named).files.sface == named


def test_nothing_is_found_where_nothing_was_pulled(tmp_path: Path) -> None:
    assert FacesSettings(data_dir=tmp_path).files.sface is None


def test_a_damaged_pull_refuses_to_start_and_says_both_hashes(tmp_path: Path) -> None:
    _pulled_into(tmp_path)
    with pytest.raises(WrongWeightsError) as caught:
        load_models(FacesSettings(data_dir=tmp_path).files)
    [expected] = SFACE.sha256s.values()
    assert expected in str(caught.value) and "found " in str(caught.value)
