"""Where a run is stored: beside its logger, in a folder of its own, and told apart from the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from models import Classifier, fit, loader, mlp
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

import init_monitor
from init_monitor import InitMonitor
from init_monitor.store import read_run, run_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class KnownByName(Logger):
    """A logger like those of Weights & Biases and MLflow: no ``log_dir``; ``save_dir`` is the same for all runs."""

    def __init__(self, save_dir: object, name: str | None, version: str | int | None) -> None:
        super().__init__()
        self._where, self._name, self._version = save_dir, name, version

    @property
    def save_dir(self) -> Any:
        return self._where

    @property
    def name(self) -> Any:
        return self._name

    @property
    def version(self) -> Any:
        return self._version

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Take them."""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Take them."""


class Broken(KnownByName):
    """A logger whose directory cannot be asked for."""

    @property
    def save_dir(self) -> Any:
        message = "no connection"
        raise RuntimeError(message)


def trained(root: Path, loggers: Sequence[Logger] = (), steps: int = 2, **options: Any) -> None:
    monitor = InitMonitor(strict=True)
    chosen: Any = list(loggers) or False
    fit(Classifier(mlp(2, 8)), loader(8), monitor, steps=steps, root=root, logger=chosen, **options)


def stored(root: Path) -> list[str]:
    return sorted(str(one.relative_to(root).parent.parent) for one in root.rglob("run.jsonl"))


def test_without_a_logger_every_fit_has_a_folder_and_the_closing_line_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    root = tmp_path / "my runs"
    for number in range(3):
        trained(root, steps=number + 1)
        (line,) = re.findall(r"^Stored: init-monitor report (.*)$", capsys.readouterr().out, flags=re.MULTILINE)
        assert line == f"'{root / f'init_monitor_logs/version_{number}'}'"
    assert stored(root) == [f"init_monitor_logs/version_{number}" for number in range(3)]
    assert [len(read_run(root / name).records) for name in stored(root)] == [1, 2, 3]
    assert list(elsewhere.iterdir()) == []
    monkeypatch.chdir(root)
    trained(root)
    assert "Stored: init-monitor report init_monitor_logs/version_3\n" in capsys.readouterr().out


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("logger", [None, CSVLogger, TensorBoardLogger])
def test_the_last_line_but_one_says_where_whatever_was_found(
    logger: type[CSVLogger | TensorBoardLogger] | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    wrong: bool,
    verbose: bool,
) -> None:
    torch.manual_seed(0)
    net = mlp(6, 64, torch.nn.init.normal_ if wrong else torch.nn.init.kaiming_normal_)
    monitor = InitMonitor(dense_steps=2, verbose=verbose)
    loggers = logger and logger(str(tmp_path))
    fit(Classifier(net, lr=1e-30), loader(64), monitor, steps=4, root=tmp_path, logger=loggers or False)
    assert bool(monitor.findings) is wrong
    *_, place, verdict = capsys.readouterr().out.splitlines()
    assert verdict.startswith("Init Monitor: ")
    (folder,) = stored(tmp_path)
    tab = " | TensorBoard, tab Init Monitor" if logger is TensorBoardLogger else ""
    assert (
        place.partition(" | More: init-monitor explain IM")[0]
        == f"Stored: init-monitor report {tmp_path / folder}{tab}"
    )


@pytest.mark.parametrize(
    ("name", "version", "place"),
    [
        ("project", "x7f3", "project/x7f3"),
        ("project", 4, "project/version_4"),
        (None, "x7f3", "x7f3"),
        ("project", None, "init_monitor_logs/version_0"),
    ],
)
def test_a_logger_that_knows_its_run_by_name_has_it_where_its_checkpoints_are(
    tmp_path: Path, name: str | None, version: str | int | None, place: str
) -> None:
    for save_dir, root in ((tmp_path / "saved", tmp_path / "other"), (None, tmp_path / "root")):
        trained(root, [KnownByName(save_dir, name, version)])
        assert stored(save_dir or root) == [place]


def test_two_runs_of_such_a_logger_are_two_runs(tmp_path: Path) -> None:
    for version in ("a", "b"):
        trained(tmp_path, [KnownByName(tmp_path, "project", version)])
    assert stored(tmp_path) == ["project/a", "project/b"]


def test_two_runs_in_one_folder_are_told_apart_and_a_resumed_one_is_not(tmp_path: Path) -> None:
    logger = [KnownByName(tmp_path, "project", "same")]
    trained(tmp_path, logger, steps=4)
    trained(tmp_path, logger, steps=3)
    newest, first = read_run(tmp_path / "project/same"), read_run(f"{tmp_path / 'project/same'}@1")
    assert [one.step for one in newest.records] == [0, 1, 2]
    assert [one.step for one in first.records] == [0, 1, 2, 3]
    assert newest.count == 2
    assert "holds 2 runs" in newest.notices[0]

    trainer = fit(Classifier(mlp(2, 8)), loader(8), InitMonitor(), steps=2, root=tmp_path / "more")
    trainer.fit_loop.epoch_loop.max_steps = 4
    trainer.fit_loop.max_epochs = 50
    trainer.should_stop = False
    trained_on = InitMonitor()
    trainer.callbacks[:] = [trained_on]  # type: ignore[attr-defined]
    trainer.loggers = [CSVLogger(tmp_path, "resumed", version=0)]
    trainer.fit(Classifier(mlp(2, 8)), loader(8))
    (header,) = read_run(tmp_path / "resumed/version_0").headers
    assert header.first_step == 2


def test_the_first_folder_that_a_logger_names_counts(tmp_path: Path) -> None:
    known = KnownByName(tmp_path, "project", "x7f3")
    trained(tmp_path, [known, TensorBoardLogger(tmp_path, "tb", version=7)])
    assert stored(tmp_path) == ["tb/version_7"]


@pytest.mark.parametrize("save_dir", ["s3://bucket/runs", "", 7])
def test_a_folder_that_is_not_on_this_machine_is_none(tmp_path: Path, save_dir: object) -> None:
    trained(tmp_path, [KnownByName(save_dir, "project", "a")])
    assert stored(tmp_path) == ["project/a"]


def test_a_logger_that_cannot_be_asked_costs_nothing(tmp_path: Path) -> None:
    from init_monitor.integrations.places import RunPlace, run_place

    class Trainer:
        fast_dev_run = False
        default_root_dir = str(tmp_path)
        loggers = (Broken(None, "project", "a"),)

    assert run_place(Trainer()) == RunPlace(log_dir=tmp_path / "project/a")  # type: ignore[arg-type]


def test_a_trial_run_of_the_trainer_stores_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, fast_dev_run=True)
    assert stored(tmp_path) == []
    assert "Stored" not in capsys.readouterr().out


def test_a_root_that_cannot_be_written_is_one_warning_and_no_closing_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "init_monitor_logs").write_text("")
    with pytest.warns(init_monitor.InitMonitorWarning, match="cannot be stored in .*init_monitor_logs"):
        trained(tmp_path)
    assert "Stored" not in capsys.readouterr().out


def test_a_watched_loop_is_stored_where_it_was_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = mlp(2, 8)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for log_dir in (tmp_path / "a", str(tmp_path / "b"), None):
        with init_monitor.watch(model, opt, log_dir=log_dir) as m, m.step():
            model(torch.randn(8, 8)).square().mean().backward()
            opt.step()
        out = capsys.readouterr().out
        assert ("Stored: init-monitor report" in out) is (log_dir is not None)
        assert ("Not stored: watch(model, optimizer, log_dir=FOLDER) keeps" in out) is (log_dir is None)
    assert stored(tmp_path) == ["a", "b"]
    assert read_run(run_file(tmp_path / "a")).records[0].step == 0
