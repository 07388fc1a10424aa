"""Every fit is stored in a folder of its own, with any logger or none, and the closing line says where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from watched import trainer_of

from init_monitor import InitMonitor
from init_monitor.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.untraced


class Small(pl.LightningModule):
    """Two layers; ``name`` is the first one's, so that runs can be told apart."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.body = nn.ModuleDict({name: nn.Linear(8, 8), "head": nn.Linear(8, 1)})
        self.first = name

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss: torch.Tensor = self.body["head"](self.body[self.first](batch[0]).relu()).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Elsewhere(Logger):
    """Sends what it gets to a service, which gives each run a number: it has no directory."""

    runs = 0

    def __init__(self) -> None:
        super().__init__()
        Elsewhere.runs += 1
        self.number = str(Elsewhere.runs)
        self.kept: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        return "elsewhere"

    @property
    def version(self) -> str:
        return self.number

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Keep nothing."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.kept.append(metrics)


def fit(name: str, **options: Any) -> pl.Trainer:
    torch.manual_seed(0)
    trainer = trainer_of(options.pop("directory"), callbacks=[InitMonitor()], **options)
    trainer.fit(Small(name), DataLoader(TensorDataset(torch.randn(32, 8)), batch_size=8))
    return trainer


def stored(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*.jsonl") if path.is_file())


def shown(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what ``init-monitor report`` says of the run in ``path``."""
    capsys.readouterr()
    assert main(["report", str(path)]) == 0
    return capsys.readouterr().out


WITHOUT_DIRECTORY: dict[str, Any] = {"no logger": lambda: False, "a logger without a directory": Elsewhere}


@pytest.mark.parametrize("case", WITHOUT_DIRECTORY)
def test_a_run_without_a_directory_of_its_own_is_stored_below_default_root_dir(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, here = tmp_path / "root", tmp_path / "here"
    root.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    fit("one", directory=root, logger=WITHOUT_DIRECTORY[case]())
    said = capsys.readouterr().out
    (run,) = stored(root)
    assert list(here.iterdir()) == []
    # The folder that `init-monitor report` is to be given, however the line was broken.
    assert any(str(parent) in "".join(said.split()) for parent in (run, *run.parents) if root in parent.parents)
    assert "body.one" in shown(run.parent, capsys)


@pytest.mark.parametrize("case", WITHOUT_DIRECTORY)
def test_two_models_are_stored_in_two_folders(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        fit(name, directory=tmp_path, logger=WITHOUT_DIRECTORY[case]())
    first, second = stored(tmp_path)
    assert first.parent != second.parent
    said = [shown(path.parent, capsys) for path in (first, second)]
    assert sorted(("body.one" in text, "body.two" in text) for text in said) == [(False, True), (True, False)]


def test_one_trainer_that_fits_twice_stores_two_runs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(32, 8)), batch_size=8)
    monitor = InitMonitor()
    for _ in range(2):
        trainer_of(tmp_path, callbacks=[monitor], logger=False).fit(Small("one"), loader)
    assert len({path.parent for path in stored(tmp_path)}) == 2


def test_the_closing_line_says_where_a_run_with_a_logger_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = fit("one", directory=tmp_path, logger=CSVLogger(tmp_path / "logs"))
    said = "".join(capsys.readouterr().out.split())
    (run,) = stored(tmp_path)
    assert str(trainer.log_dir) in str(run)
    assert str(trainer.log_dir) in said
