"""The package as a whole: its public names, and what importing it brings."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import kinemask
import pytest

PROJECT = Path(kinemask.__file__).parent.parent / "pyproject.toml"

PUBLIC = """
AbortedError AlreadyExistsError AsyncClient AsyncLiveStream AsyncPendingEdit AsyncPropagation
AsyncTrackStream AsyncVideoStream Box Caption CaptionOptions CaptionStage Client DataLossError
DeadlineExceededError DetectStage Detection Detections EditAck Effect EffectStage EncodedMask
EverythingOptions FaceVotes FacesStage FailedPreconditionError FieldViolation InternalError
InvalidArgumentError KinemaskError LiveConfig LiveFrame LiveObject LiveStream ModelInfo
NotFoundError ObjectMask ObjectName Observation PendingEdit PermissionDeniedError Prompt
Propagation RequestCancelledError ResourceExhaustedError SegmentStage Segmentation SegmentedFrame
ServiceInfo ServiceStatus Services StageReport StreamClosedError StreamEvent StreamFrame
StreamInfo StreamOptions Timing TlsConfig TrackStage TrackState TrackStream TrackedBox
TrackedFrame TrackerParameters UnauthenticatedError UnavailableError UnimplementedError
VideoConfig VideoStream __version__
"""

LOADED = "import sys, json; {}; print(json.dumps([name.split('.')[0] for name in sys.modules]))"


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after a statement."""
    command = [sys.executable, "-c", LOADED.format(statement)]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return set(json.loads(printed))


def test_public_names_are_frozen() -> None:
    assert sorted(kinemask.__all__) == sorted(PUBLIC.split())


@pytest.mark.parametrize("name", sorted(kinemask.__all__))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(kinemask, name)
    assert name == "__version__" or value.__doc__
    assert name in dir(kinemask)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clint'"):
        getattr(kinemask, "Clint")  # noqa: B009 - mypy knows that it is not there


def test_importing_brings_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "cv2", "av", "grpc", "google", "supervision", "typer"}
    assert not heavy & modules_after("import kinemask")


def test_the_client_brings_neither_torch_nor_video() -> None:
    found = modules_after("import kinemask; kinemask.Client")
    assert {"grpc", "numpy"} <= found
    assert not {"torch", "av", "supervision", "typer"} & found


def test_version_and_dependencies_are_those_of_the_project() -> None:
    project = tomllib.loads(PROJECT.read_text())["project"]
    assert project["version"] == kinemask.__version__
    assert not [need for need in project["dependencies"] if need.startswith("torch")]
    assert project["scripts"] == {"kinemask": "kinemask.cli:main"}
