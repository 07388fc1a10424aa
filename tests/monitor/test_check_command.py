"""`init-monitor check`: what it prints, and the exit status that CI looks at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from init_monitor.cli import main

ROOT = Path(__file__).parents[2]

NETWORKS = """
import torch
from torch import nn
import pytorch_lightning as pl


def deep(init):
    torch.manual_seed(0)
    layers = [part for _ in range(12) for part in (nn.Linear(64, 64), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(64, 4))
    for layer in net:
        if isinstance(layer, nn.Linear):
            init(layer.weight)
            nn.init.zeros_(layer.bias)
    return net, torch.randn(128, 64)


def bad():
    return deep(nn.init.normal_)


def good():
    return *deep(lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu")), lambda out: out.square().mean()


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 2)

    def forward(self, x):
        return self.net(x)


def lightning():
    module = Module()
    module.example_input_array = torch.randn(4, 8)
    return module


def loading():
    module = Module()
    module.train_dataloader = lambda: [(torch.randn(4, 8), torch.zeros(4))]
    return module


def nothing():
    return Module()


def triple():
    return 1, 2, 3


def raising():
    return nn.Linear(8, 2)(torch.zeros(4, 9))


def unfit():
    return nn.Linear(8, 2), torch.zeros(4, 9)


def lossless():
    return nn.Linear(8, 2), torch.zeros(4, 8), 3


def demanding(width):
    return nn.Linear(width, 2), torch.zeros(4, width)


NUMBER = 3
"""
RAISING_LINE = NETWORKS.splitlines().index("    return nn.Linear(8, 2)(torch.zeros(4, 9))") + 1


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"networks_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(NETWORKS, encoding="utf-8")
    (tmp_path / "broken_import.py").write_text("import no_such_library_here", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_critical_finding_is_exit_status_1_with_table_finding_and_plan(
    networks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{networks}:bad"]) == 1
    out = capsys.readouterr().out
    for words in ("Signal propagation at step 0", "IM101", "critical", "Initialisation of 13 layers", "mirrored_"):
        assert words in out
    assert "def initialise" not in out


def test_a_healthy_network_is_exit_status_0(networks: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{networks}:good"]) == 0
    assert "No finding in 1 sampled step" in capsys.readouterr().out


@pytest.mark.parametrize("factory", ["lightning", "loading"])
def test_a_lightning_module_brings_its_own_batch(
    networks: str, factory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{networks}:{factory}"]) == 0
    assert "Signal propagation at step 0" in capsys.readouterr().out


def test_the_code_and_the_report_are_given_when_asked_for(
    networks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{networks}:bad", "--code", "--json", str(tmp_path / "report.json")]) == 1
    out = capsys.readouterr().out
    compile(out[out.index("import torch\n") :], "printed", "exec")
    assert json.loads((tmp_path / "report.json").read_text())["findings"][0]["code"] == "IM101"


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("no_colon", "check needs MODULE:FACTORY, for instance my_package.models:make, got 'no_colon'"),
        ("no_such_module_here:f", "there is no module 'no_such_module_here' to import"),
        ("{networks}:goood", "has no 'goood'. Did you mean 'good'?"),
        ("{networks}:NUMBER", "is a int, expected a function that returns (model, batch)"),
        ("{networks}:triple", "returned a tuple of 3, expected (model, batch), (model, batch, loss_fn) or"),
        ("{networks}:raising", "raising raised RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (
            "{networks}:raising",
            f"{{networks}}.py, line {RAISING_LINE}). It must run without arguments and return (model, b",
        ),
        (
            "{networks}:demanding",
            "raised TypeError: demanding() missing 1 required positional argument: 'width'. It must",
        ),
        ("{networks}:unfit", "unfit could not be run on its batch: RuntimeError: mat1 and mat2 shapes"),
        ("{networks}:lossless", "lossless returned a int as loss_fn, expected a function."),
        ("broken_import:make", "importing 'broken_import' raised ModuleNotFoundError: No module named"),
        ("broken_import:make", "(broken_import.py, line 1). Fix that first."),
        ("{networks}:nothing", "returned Module without a batch: it has no example_input_array"),
    ],
)
def test_what_the_caller_can_put_right_is_exit_status_2_and_a_sentence(
    networks: str, factory: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", factory.format(networks=networks)]) == 2
    said = capsys.readouterr().err
    assert words.format(networks=networks) in said
    assert said.count("\n") == 1


def test_a_report_that_cannot_be_written_is_exit_status_2(
    networks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{networks}:good", "--json", str(tmp_path / "absent" / "report.json")]) == 2
    assert "cannot write --json" in capsys.readouterr().err


@pytest.mark.parametrize(("columns", "width"), [(None, 100), ("80", 80), ("120", 120)])
def test_through_a_pipe_the_output_is_as_wide_as_columns_says_and_no_wider(
    networks: str,
    columns: str | None,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    main(["check", f"{networks}:bad"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) > width - 20


def test_the_installed_command_finds_modules_in_the_directory_it_is_started_in(tmp_path: Path) -> None:
    plain = NETWORKS.replace("import pytorch_lightning as pl", "").partition("class Module")[0]
    (tmp_path / "plain_networks.py").write_text(plain, encoding="utf-8")
    code = (
        f"import sys; sys.path[:] = [{str(ROOT)!r}, *(p for p in sys.path if p)];"
        "from init_monitor.cli import main; sys.exit(main(['check', 'plain_networks:bad']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "IM101" in done.stdout
