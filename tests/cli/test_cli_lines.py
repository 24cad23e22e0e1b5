"""Lines that cannot be done as asked: told in a line, with exit code 2, before anything starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kinemask.cli import server as cli_server
from kinemask.cli import up as cli_up
from kinemask.cli.failures import CommandError, command, explained
from kinemask.cli.options import color_of, pointed
from kinemask.cli.track.request import Growth, effect_specs, growth_of
from kinemask.errors import ErrorInfo, FieldViolation, InvalidArgumentError, UnavailableError

from tests.cli.track_kit import box_option, kinemask, make_clip, make_sound

NO_SERVER = "127.0.0.1:1"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 10)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param([], "what is to be tracked?", id="nothing to find"),
        pytest.param(["--text", " "], "--text: expected words", id="no words"),
        pytest.param(["--box", "1,2,3"], "expected X1,Y1,X2,Y2", id="three numbers"),
        pytest.param(["--box", "1,2,3,x"], "expected X1,Y1,X2,Y2", id="no number"),
        pytest.param(["--box", "1,2,nan,9"], "expected X1,Y1,X2,Y2", id="not a number"),
        pytest.param(["--box", "9,2,3,9"], "expected X1 < X2", id="right of left"),
        pytest.param(["--box", "1,2,3,9@-1"], "X1,Y1,X2,Y2@FRAME", id="frame before the first"),
        pytest.param(["--box", "160,2,190,9"], "frame of 160x120", id="box outside"),
        pytest.param(["--box", "-9,2,0,9"], "frame of 160x120", id="box left of it"),
        pytest.param(["--point", "5"], "expected X,Y or", id="half a point"),
        pytest.param(["--point", "5,120"], "frame of 160x120", id="point outside"),
        pytest.param(["--point", "5,-1"], "frame of 160x120", id="point above"),
        pytest.param(["--point", "5,5@10"], "from 0 to 9", id="frame after the last"),
        pytest.param(["--point", "5,5@1", "--start", "2"], "from 2 to 9", id="frame left out"),
        pytest.param(["--point", "5,5", "--start", "10"], "has 10 frames", id="start too late"),
        pytest.param(
            ["--point", "5,5", "--start", "3", "--end", "3"], "after --start 3", id="nothing left"
        ),
        pytest.param(["--point", "5,5", "--color", "red"], "expected RRGGBB", id="color by name"),
        pytest.param(["--point", "5,5", "--grow", "3"], "from 0 to 2", id="grown too far"),
        pytest.param(["--point", "5,5", "--grow", "xpx"], "12px", id="no pixels"),
        pytest.param(["--point", "5,5", "--masks", "m.txt"], "ends in .json", id="masks' name"),
        pytest.param(["--point", "5,5", "--effect", "smear"], "smear", id="unknown effect"),
        pytest.param(["--point", "5,5", "--intensity", "2"], "intensity", id="too strong"),
        pytest.param(["--point", "5,5", "--server", "nohost"], "expected HOST:PORT", id="no port"),
        pytest.param(["--txt", "face"], "--txt", id="unknown option"),
    ],
)
def test_a_line_that_cannot_be_exits_2(
    clip: Path, tmp_path: Path, line: list[str], complaint: str
) -> None:
    with_server = line if "--server" in line else [*line, "--server", NO_SERVER]
    ran = kinemask("track", clip, "-o", tmp_path / "out.mp4", *with_server)
    assert ran.exit_code == 2, ran.stderr
    assert complaint in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        pytest.param("out.avi", "ends in .mp4", id="another container"),
        pytest.param("none/out.mp4", "there is no folder", id="no folder"),
        pytest.param("taken.mp4", "taken.mp4 exists already", id="exists"),
        pytest.param("clip.mp4", "it is the input", id="the input itself"),
    ],
)
def test_an_output_that_cannot_be_exits_2(tmp_path: Path, name: str, complaint: str) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 2)
    (tmp_path / "taken.mp4").write_bytes(b"precious")
    line = ["track", clip, "--point", "5,5", "-o", tmp_path / name, "--server", NO_SERVER]
    ran = kinemask(*line, *(["-y"] if name == "clip.mp4" else []))
    assert ran.exit_code == 2, ran.stderr
    assert complaint in ran.stderr
    assert (tmp_path / "taken.mp4").read_bytes() == b"precious"


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    text, sound = tmp_path / "text.mp4", make_sound(tmp_path / "sound.m4a", 0.5)
    text.write_text("not a video")
    rest = ["--point", "5,5", "-o", tmp_path / "out.mp4"]
    missing = kinemask("track", tmp_path / "none.mp4", *rest)
    assert missing.exit_code == 2 and "none.mp4: no such file" in missing.stderr
    damaged = kinemask("track", text, *rest)
    assert damaged.exit_code == 1 and "text.mp4: cannot be opened as a video" in damaged.stderr
    audio = kinemask("track", sound, *rest)
    assert audio.exit_code == 1 and "expected a video stream, found audio" in audio.stderr


def test_without_a_server_and_without_services_it_says_what_to_do(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_up, "installed_services", lambda: ("gateway",))
    monkeypatch.delenv("KINEMASK_SERVER", raising=False)
    ran = kinemask("track", clip, "--box", box_option(), "-o", tmp_path / "out.mp4")
    assert ran.exit_code == 1
    assert "these services are not installed here: segmenter" in ran.stderr
    assert "try: --server HOST:PORT" in ran.stderr


def test_the_server_may_stand_in_the_environment(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_server, "_ANSWERS_WITHIN_S", 0.3)
    monkeypatch.setenv("KINEMASK_SERVER", NO_SERVER)
    ran = kinemask("track", clip, "--box", box_option(), "-o", tmp_path / "out.mp4")
    assert ran.exit_code == 1
    assert f"no Kinemask gateway answers at {NO_SERVER}" in ran.stderr


def test_every_box_and_point_is_an_object_of_its_own() -> None:
    shown = pointed(["1,2,3,4", "5,6,7,8@9"], ["1.5,2@3"])
    assert [(s.name, s.box_xyxy, s.point_xy, s.frame) for s in shown] == [
        ("box 1", (1, 2, 3, 4), None, None),
        ("box 2", (5, 6, 7, 8), None, 9),
        ("point 1", None, (1.5, 2), 3),
    ]


def test_a_box_may_reach_over_the_edge() -> None:
    [shown] = pointed(["-5,-5,200,10"], None)
    shown.check_inside(160, 120)


@pytest.mark.parametrize(
    ("name", "asked", "fraction", "px"),
    [
        pytest.param("blur", None, 0.1, 0, id="privacy reaches beyond"),
        pytest.param("solid", "0", 0, 0, id="unless told not to"),
        pytest.param("pixelate", "12px", 0, 12, id="pixels"),
        pytest.param("outline", None, 0, 0, id="marks do not"),
        pytest.param("overlay", "0.5", 0.5, 0, id="unless told to"),
    ],
)
def test_effects_that_hide_grow_unless_told(
    name: str, asked: str | None, fraction: float, px: float
) -> None:
    [spec] = effect_specs([name], None, None, growth_of(asked), "mask")
    assert (spec.grow_fraction, spec.grow_px) == (fraction, px)
    assert growth_of("12px") == Growth(px=12)


def test_colors_are_hexadecimal() -> None:
    assert color_of("#FF8000") == color_of("ff8000") == (255, 128, 0)


def test_errors_of_the_services_say_what_to_do_next() -> None:
    violations = (FieldViolation("a", "expected 1"), FieldViolation("b", "expected 2"))
    wrong = explained(InvalidArgumentError("wrong", info=ErrorInfo(violations=violations)))
    assert (str(wrong), wrong.code) == ("wrong (a: expected 1; b: expected 2)", 2)
    gone = explained(UnavailableError("nobody is there"))
    assert (gone.code, gone.hint) == (1, "kinemask engines shows which services are there")


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_a_line_unless_debug(
    debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def broken(debug: bool) -> int:
        raise RuntimeError("boom")

    if debug:
        with pytest.raises(RuntimeError, match="boom"):
            broken(debug=True)
        return
    with pytest.raises(Exception) as ended:
        broken(debug=False)
    assert getattr(ended.value, "exit_code", None) == 1
    assert "kinemask: error: RuntimeError: boom\n" in capsys.readouterr().err


def test_a_failure_keeps_its_code_and_hint() -> None:
    error = CommandError("no", hint="yes", code=3)
    assert explained(error) is error


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from kinemask.cli.app import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'cv2', 'av', 'numpy', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for name in ("track", "detect", "segment", "up", "engines", "version"):
        assert name in ran.stdout
