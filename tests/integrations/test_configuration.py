"""The callback out of a configuration file (LightningCLI, Hydra), or out of the environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import pytest
import pytorch_lightning as pl
from models import Classifier, loader, mlp
from omegaconf import OmegaConf

import init_monitor
from init_monitor import InitMonitor, OptionError
from init_monitor.integrations.by_environment import VARIABLE, callbacks_asked_for
from init_monitor.sinks import ConsoleSink

if TYPE_CHECKING:
    from forked_programs import Forks

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "lightning_cli"
GROUPS = ("lightning.pytorch.callbacks_factory", "pytorch_lightning.callbacks_factory")


def run(forks: Forks, folder: Path, *words: str, **environment: str) -> str:
    known = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "COLUMNS": "100",
        **environment,
    }
    done = forks.run(*words, cwd=folder, env=known, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_project_trains_with_the_monitor_of_its_configuration(forks: Forks, tmp_path: Path) -> None:
    words = ("fit", "--config", str(PROJECT / "config.yaml"), "--trainer.enable_progress_bar", "false")
    text = run(forks, tmp_path, str(PROJECT / "train.py"), *words)
    assert "Signal propagation at step 9: 24 layers" in text
    assert "net.0 " not in text
    assert re.search(r"critical IM102 vanishing-activations at step 0", text)
    assert re.search(r"Init Monitor: .* in 96 steps \(14 of them measured\)", text)


def test_the_command_line_prints_and_explains_every_option(forks: Forks, tmp_path: Path) -> None:
    train = str(PROJECT / "train.py")
    config = run(forks, tmp_path, train, "fit", "--config", str(PROJECT / "config.yaml"), "--print_config")
    asked = config[config.index("- class_path: init_monitor.InitMonitor") :]
    for line in (
        "every_n_steps: 20",
        "measure: exact",
        "- net.0",
        "on_critical: warn",
        "sinks: null",
        "verbose: false",
    ):
        assert re.search(rf"^ +{line}$", asked, re.MULTILINE)
    explained = run(forks, tmp_path, train, "fit", "--trainer.callbacks.help", "init_monitor.InitMonitor")
    assert "on_critical {warn,stop,raise}" in explained
    assert "fnmatch pattern(s); only layers whose name matches are" in explained


def test_hydra_makes_the_callback_with_its_own_kinds_of_lists(tmp_path: Path) -> None:
    config = OmegaConf.create(
        {
            "_target_": "init_monitor.InitMonitor",
            "include": ["net.*"],
            "exclude": ["net.1"],
            "dense_steps": 2,
            "rules": [{"_target_": "init_monitor.rules.dead_relu.DeadReLU"}],
            "sinks": [{"_target_": "init_monitor.sinks.RunStoreSink"}],
        }
    )
    monitor = hydra.utils.instantiate(config)
    assert isinstance(monitor, InitMonitor)
    trainer = pl.Trainer(
        max_steps=3, callbacks=[monitor], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Classifier(mlp(2, 16)), loader(16, samples=64, batch=16))
    assert monitor.records[0].names == ("net.0", "net.2", "net.3", "net.4")
    assert monitor.report.settings["include"] == ["net.*"]
    (stored,) = tmp_path.rglob("run.jsonl")
    assert '"include":["net.*"],"exclude":["net.1"],"rules":["IM301"]' in stored.read_text(encoding="latin-1")


def test_hydra_gives_a_console_of_ones_own() -> None:
    sink = hydra.utils.instantiate({"_target_": "init_monitor.sinks.ConsoleSink", "verbose": True})
    assert isinstance(sink, ConsoleSink)
    assert sink.verbose


@pytest.mark.parametrize(
    ("value", "count"), [(None, 0), ("", 0), ("0", 0), ("off", 0), ("1", 1), ("True", 1), (" yes ", 1)]
)
def test_the_environment_adds_a_monitor_where_it_asks_for_one(
    value: str | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    made = callbacks_asked_for()
    assert len(made) == count
    assert all(isinstance(one, InitMonitor) for one in made)


def test_another_value_is_an_error_that_says_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "please")
    with pytest.raises(OptionError, match=r"INIT_MONITOR must be 1 .* or 0, got 'please'"):
        callbacks_asked_for()


def test_both_packages_of_lightning_are_given_the_entry_point() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for group in GROUPS:
        target = project.partition(f'[project.entry-points."{group}"]\ninit_monitor = "')[2].partition('"')[0]
        module, _, name = target.partition(":")
        assert getattr(import_module(module), name) is callbacks_asked_for


PROGRAM = """
import sys
import torch
import {package} as pl

class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))

    def training_step(self, batch, index):
        return self.net(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

own = {own}
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = pl.Trainer(max_steps=3, callbacks=own, **quiet)
trainer.fit(Line(), torch.utils.data.DataLoader(torch.randn(12, 4), batch_size=4))
print("imported", "init_monitor.integrations.lightning" in sys.modules)
"""


@pytest.mark.parametrize("package", ["pytorch_lightning", "lightning.pytorch"])
def test_a_program_that_knows_nothing_of_it_is_watched_where_the_environment_asks(
    package: str, forks: Forks, tmp_path: Path
) -> None:
    where = tmp_path / "site"
    (where / "init_monitor_entry_points-0.dist-info").mkdir(parents=True)
    (where / "init_monitor_entry_points-0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: x\nVersion: 0\n"
    )
    missing = [
        group for group in GROUPS if not [one for one in entry_points(group=group) if one.name == "init_monitor"]
    ]
    points = (
        f"[{group}]\ninit_monitor = init_monitor.integrations.by_environment:callbacks_asked_for\n" for group in missing
    )
    (where / "init_monitor_entry_points-0.dist-info" / "entry_points.txt").write_text("\n".join(points))
    path = os.pathsep.join([str(ROOT), str(where)])
    plain = PROGRAM.format(package=package, own="[]")
    assert run(forks, tmp_path, "-c", plain, PYTHONPATH=path).splitlines() == ["imported False"]
    watched = run(forks, tmp_path, "-c", plain, PYTHONPATH=path, **{VARIABLE: "1"})
    assert "Init Monitor: no findings in 3 steps" in watched
    if package == "lightning.pytorch":  # once is enough
        return
    own = PROGRAM.format(package=package, own="[__import__('init_monitor').InitMonitor()]")
    twice = run(forks, tmp_path, "-c", own, PYTHONPATH=path, **{VARIABLE: "1"})
    assert twice.count("Init Monitor:") == 1


def test_a_word_that_is_no_option_fails_in_the_type_checker(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from init_monitor import InitMonitor\n"
        'InitMonitor(on_critical="stop", measure="staged", include=["a", "b"])\n'
        'InitMonitor(on_critical="stopp")\n'
        'InitMonitor(measure="all")\n'
    )
    # With the settings of the project, whose cache makes it a matter of seconds.
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"), str(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    wrong = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [int(line.split(":")[1]) for line in wrong] == [3, 4], done.stdout
    assert "Literal['warn', 'stop', 'raise']" in wrong[0]


def test_what_is_raised_is_exported_by_the_name_that_the_docstring_says() -> None:
    documented = re.findall(r"``(\w+Error)``|^ +(\w+Error):", str(InitMonitor.__doc__), re.MULTILINE)
    names: set[Any] = {name for pair in documented for name in pair if name}
    assert names == {"OptionError", "CriticalFindingError", "InitMonitorError"}
    assert all(issubclass(getattr(init_monitor, name), init_monitor.InitMonitorError) for name in names)
