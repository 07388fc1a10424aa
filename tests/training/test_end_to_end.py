"""The main job on a real training: what the callback measured is what every reader finds, and what a person sees."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from models import Classifier, fit, loader
from PIL import Image
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util
from torch import nn

from init_monitor import InitMonitor
from init_monitor.records.quantities import (
    FINDINGS_TAG,
    LAYER_VECTORS,
    LAYOUT_TAG,
    PARAMETER_VECTORS,
    RESIDUAL_VECTORS,
    vector_tag,
)
from init_monitor.sinks.headlines import headlines
from init_monitor.sinks.summary import summary_scalars
from init_monitor.store import read_run

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 25
SAMPLED = [0, 1, 2, 3, 4, 10, 20]


class Net(nn.Module):
    """Convolutions, a residual addition, two kinds of activation, a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 16), nn.Tanh(), nn.Linear(16, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        output: torch.Tensor = self.head(x + self.branch(x))
        return output


LAYERS = (
    "net.stem.0", "net.stem.1", "net.stem.2", "net.branch.0", "net.branch.1", "net.branch.2", "net.head.1",
    "net.head.2", "net.head.3",
)  # fmt: skip


def explosive() -> Net:
    """Weights far too large: every run has something to report."""
    torch.manual_seed(0)
    net = Net()
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, std=10.0)
    return net


class Logging(Classifier):
    """Logs something of its own, at every step."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.log("samples", float(len(batch[0])))
        return super().training_step(batch, batch_idx)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[InitMonitor, Path, str]:
    """One fit with the default sinks: the monitor, the log directory, and what was printed."""
    root = tmp_path_factory.mktemp("run")
    monitor = InitMonitor(verbose=True, dense_steps=5, every_n_steps=10, strict=True)
    logger = TensorBoardLogger(root)
    out, kept = io.StringIO(), sys.stdout
    sys.stdout = out
    try:
        module = Logging(explosive(), lr=1e-9)
        fit(module, loader(1, 6, 6, samples=16 * STEPS, batch=16), monitor, steps=STEPS, logger=logger)
    finally:
        sys.stdout = kept
    return monitor, root / "lightning_logs" / "version_0", out.getvalue()


def accumulated(log_dir: Path) -> EventAccumulator:
    everything = dict.fromkeys(("tensors", "scalars", "images"), 0)
    return EventAccumulator(str(log_dir), size_guidance=everything).Reload()


def test_every_vector_in_the_event_file_is_the_float32_of_what_was_recorded(run: tuple[InitMonitor, Path, str]) -> None:
    monitor, log_dir, _ = run
    records = monitor.records
    assert [record.step for record in records] == SAMPLED
    assert records[0].names == LAYERS
    assert len(records[0].residual_names) == 1
    reader, compared = accumulated(log_dir), 0
    for quantity in (*LAYER_VECTORS, *PARAMETER_VECTORS, *RESIDUAL_VECTORS):
        columns = [record.column(quantity) for record in records]
        if all(np.isnan(column).all() for column in columns):
            assert vector_tag(quantity) not in reader.Tags()["tensors"]
            continue
        tensors = reader.Tensors(vector_tag(quantity))
        assert [tensor.step for tensor in tensors] == SAMPLED
        for tensor, column in zip(tensors, columns, strict=True):
            read = tensor_util.make_ndarray(tensor.tensor_proto)
            assert read.dtype == np.float32
            np.testing.assert_array_equal(read, column.astype(np.float32), err_msg=str(quantity))
            compared += read.size
    assert compared > 1000


def test_the_summary_scalars_lie_beside_lightnings_own(run: tuple[InitMonitor, Path, str]) -> None:
    monitor, log_dir, _ = run
    reader = accumulated(log_dir)
    for record in monitor.records:
        for tag, value in summary_scalars(record, only=headlines()).items():
            (scalar,) = (one for one in reader.Scalars(tag) if one.step == record.step)
            assert scalar.value == np.float32(value)
    assert [scalar.step for scalar in reader.Scalars("samples")] == list(range(STEPS))
    assert [scalar.step for scalar in reader.Scalars("init_monitor_summary/variance/log10_max")] == SAMPLED


def test_findings_layout_text_and_pictures_are_in_the_event_file(run: tuple[InitMonitor, Path, str]) -> None:
    monitor, log_dir, _ = run
    reader = accumulated(log_dir)
    assert monitor.findings
    found = json.loads(reader.Tensors(FINDINGS_TAG)[-1].tensor_proto.string_val[0])["findings"]
    assert [(one["code"], one["step"], tuple(one["layers"])) for one in found] == [
        (one.code, one.step, one.layers) for one in monitor.findings
    ]
    layout = json.loads(reader.Tensors(LAYOUT_TAG)[-1].tensor_proto.string_val[0])
    assert tuple(layout["names"]) == LAYERS
    entries = [tag for tag in reader.Tags()["tensors"] if tag.startswith("init_monitor_findings/")]
    assert len(entries) == len(monitor.findings)
    assert all(any(one.code in tag for tag in entries) for one in monitor.findings)
    for quantity in ("variance", "gradient_variance"):
        (picture,) = reader.Images(f"init_monitor_heatmap/{quantity}")
        assert picture.step == SAMPLED[-1]
        image = Image.open(io.BytesIO(picture.encoded_image_string))
        assert image.format == "PNG"
        assert image.size == (picture.width, picture.height)
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10


def test_the_run_store_gives_back_the_records_and_findings(run: tuple[InitMonitor, Path, str]) -> None:
    monitor, log_dir, _ = run
    stored = read_run(log_dir)
    assert len(stored.records) == len(monitor.records)
    assert [(one.code, one.message) for one in stored.findings] == [(one.code, one.message) for one in monitor.findings]
    assert stored.structure == monitor.structure
    for read, record in zip(stored.records, monitor.records, strict=True):
        assert (read.step, read.time, read.names) == (record.step, record.time, record.names)
        assert (read.parameter_names, read.residual_names) == (record.parameter_names, record.residual_names)
        for quantity, column in {**record.columns, **record.parameter_columns, **record.residual_columns}.items():
            np.testing.assert_allclose(read.column(quantity), column, rtol=1e-8, err_msg=str(quantity))


def test_the_console_shows_the_table_the_findings_and_a_closing_line(run: tuple[InitMonitor, Path, str]) -> None:
    monitor, _, text = run
    lines = text.splitlines()
    assert sum(bool(re.fullmatch(r"Signal propagation at step 4: 9 layers( of net)?", line)) for line in lines) == 1
    for name in LAYERS:
        assert sum(bool(re.match(rf"(net\.)?{re.escape(name.removeprefix('net.'))} \w", line)) for line in lines) == 1
    for finding in monitor.findings:
        assert sum(f"{finding.code} {finding.rule}, step {finding.step}" in line for line in lines) == 1
    assert re.fullmatch(r"Init Monitor: .*critical finding.* in 25 steps \(7 of them measured\)\.", lines[-1])


def test_where_there_is_neither_bar_nor_terminal_the_text_is_plain(run: tuple[InitMonitor, Path, str]) -> None:
    text = run[2]
    assert "\x1b" not in text
    assert "\r" not in text
    # A path is not broken: it is there to be copied.
    lines = [line for line in text.splitlines() if not line.startswith("Stored: init-monitor report ")]
    assert len(lines) == len(text.splitlines()) - 1
    assert all(len(line) <= 100 for line in lines)


# --- progress bars on a real terminal --------------------------------------------------------------------------------

WIDTH, HEIGHT = 110, 50


class Screen:
    """A terminal of a few lines of code: what stands on each line after everything was written."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        for control, parameter, final, plain in re.findall(
            r"(\x1b\[([?0-9;]*)([A-Za-z])|[\r\n\x08])|([^\x1b\r\n\x08])", text
        ):
            if plain:
                self._put(plain)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self._down(1)
            elif final == "A":
                self.row = max(0, self.row - int(parameter or 1))
            elif final == "B":
                self._down(int(parameter or 1))
            elif final == "K":
                keep = 0 if parameter == "2" else self.column
                del self.lines[self.row][keep:]
            else:
                assert final in "mhl", control

    def _down(self, rows: int) -> None:
        self.row += rows
        while len(self.lines) <= self.row:
            self.lines.append([])

    def _put(self, plain: str) -> None:
        if self.column == WIDTH:
            self.column = 0
            self._down(1)
        line = self.lines[self.row]
        line.extend(" " * (self.column + 1 - len(line)))
        line[self.column] = plain
        self.column += 1

    def text(self) -> list[str]:
        return ["".join(line).rstrip() for line in self.lines]


def test_the_small_terminal_behaves_like_one() -> None:
    screen = Screen()
    screen.feed("one\r\ntwo\rT\r\nthree\x1b[A\x1b[31mup\x1b[0m\x1b[K\r\n\x1b[2Kend\x1b[?25l")
    assert screen.text() == ["one", "Two  up", "end"]
    screen.feed("\r\n" + "x" * (WIDTH + 1) + "\r\x1b[K")
    assert screen.text()[3:] == ["x" * WIDTH, ""]


class Terminal:
    """Standard output as a terminal of its own, whose every byte is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._master, slave = pty.openpty()
        if sys.platform != "win32":
            import fcntl
            import termios

            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        self._out = os.fdopen(slave, "w", encoding="utf-8")
        self._bytes = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        monkeypatch.setattr(sys, "stdout", self._out)
        monkeypatch.setenv("TERM", "xterm-256color")
        for name, value in (("COLUMNS", WIDTH), ("LINES", HEIGHT)):
            monkeypatch.setenv(name, str(value))

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._master, 1 << 16)
            except OSError:  # how a terminal says that its other end was closed
                return
            self._bytes += read

    def close(self) -> str:
        self._out.flush()
        self._out.close()
        self._reader.join(10)
        os.close(self._master)
        return self._bytes.decode()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [TQDMProgressBar, RichProgressBar], ids=["tqdm", "rich"])
def test_a_live_progress_bar_and_the_monitor_do_not_tear_each_other(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    terminal = Terminal(monkeypatch)
    try:
        bar = make(refresh_rate=1)
        monitor = InitMonitor(verbose=True, dense_steps=5, every_n_steps=10, strict=True)
        module = Classifier(explosive(), lr=1e-9)
        trainer = pl.Trainer(
            max_steps=STEPS, logger=False, enable_checkpointing=False, enable_model_summary=False, accelerator="cpu",
            callbacks=[bar, monitor],
        )  # fmt: skip
        trainer.fit(module, loader(1, 6, 6, samples=16 * STEPS, batch=16))
    finally:
        raw = terminal.close()
    screen = Screen()
    screen.feed(raw)
    lines = screen.text()
    assert "\x1b[" in raw
    assert any("it/s" in line and f"{STEPS}/{STEPS}" in line for line in lines), lines
    (title,) = (i for i, line in enumerate(lines) if "Signal propagation" in line)
    assert re.fullmatch(r"Signal propagation at step 4: 9 layers( of net)?", lines[title])
    rows = lines[title + 4 : title + 4 + len(LAYERS)]
    for name, row in zip(LAYERS, rows, strict=True):
        assert re.match(rf"(net\.)?{re.escape(name.removeprefix('net.'))} \w+ ", row), rows
        assert re.search(r"  (healthy|exploding|[a-z -]+)( !)?$", row), rows
        assert "it/s" not in row
    for finding in monitor.findings:
        (head,) = (line for line in lines if f"{finding.code} {finding.rule}, step" in line)
        assert re.fullmatch(rf"{finding.severity}: {finding.code} {finding.rule}, step \d+ ─+ ?", head)
    (closing,) = (line for line in lines if "Init Monitor:" in line)
    assert re.fullmatch(r"Init Monitor: .* in 25 steps \(7 of them measured\)\.", closing)
