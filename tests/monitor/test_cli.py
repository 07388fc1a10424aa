"""The command line: quick to start, clear when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import init_monitor
from init_monitor import cli

if TYPE_CHECKING:
    from pathlib import Path


def test_version_is_printed_and_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"init-monitor {init_monitor.__version__}\n"


def test_help_names_the_demo_and_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--fast" in shown
    assert "--log-dir DIR" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["demo", "--slow"], "unrecognized arguments: --slow"),
        (["demo", "--log-dir"], "argument --log-dir: expected one argument"),
    ],
)
def test_an_unknown_word_ends_with_status_2_and_says_which(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_log_dir_that_is_a_file_ends_with_status_2_and_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("")
    assert cli.main(["demo", "--log-dir", str(occupied)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"init-monitor: cannot write to --log-dir {occupied}: File exists.")
    assert error.count("\n") == 1


def test_a_log_dir_without_write_permission_ends_with_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere, whatever the mode says
    assert cli.main(["demo", "--log-dir", str(tmp_path)]) == 2
    assert "permission denied" in capsys.readouterr().err


def test_without_scikit_learn_the_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert cli.main(["demo", "--log-dir", str(tmp_path / "runs")]) == 2
    assert "pip install 'init-monitor[demo]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_ends_with_status_130_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from init_monitor import demo

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_train", interrupted)
    assert cli.main(["demo", "--log-dir", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "init-monitor: interrupted.\n"


def test_the_command_line_starts_without_importing_torch_or_lightning() -> None:
    code = (
        "import sys, init_monitor.cli\n"
        "heavy = {'torch', 'lightning', 'pytorch_lightning', 'rich', 'tensorboard', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
