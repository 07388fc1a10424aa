"""The tab with runs of other kinds: one that grows, that is large, that is missing, that has odd names."""

from __future__ import annotations

import dataclasses
import math
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import tab_runs
from browser import MAP, Watched, hover, settled, tensorboard
from builders import linears, record
from test_tab import VIEWS
from torch.utils.tensorboard import SummaryWriter

from init_monitor.records.quantities import Quantity
from init_monitor.sinks import Run, TensorBoardSink

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


# --- where it runs --------------------------------------------------------------------------------------------------


def write_steps(sink: TensorBoardSink, writer: Any, steps: range) -> None:
    for step in steps:
        sink.emit(record(linears(3), {Quantity.VARIANCE: float(step + 1)}, step=step), (), linears(3))
    writer.flush()


def test_new_steps_appear_when_tensorboard_reloads(tmp_path: Path, page: Watched) -> None:
    writer, sink = SummaryWriter(str(tmp_path / "logs" / "run")), TensorBoardSink()

    class Logger:
        experiment = writer

    sink.open(Run(loggers=(Logger(),)))
    write_steps(sink, writer, range(3))
    with tensorboard(tmp_path / "logs", grows=True) as address:
        frame = page.open_tab(address)
        assert frame.get_attribute(".im", "data-step") == "2"
        write_steps(sink, writer, range(3, 6))
        for _ in range(20):
            page.page.click("[title*='eload'], .reload-button, plugin-selector ~ * [svgicon=refresh_24px]")
            page.page.wait_for_timeout(1000)
            if frame.get_attribute(".im", "data-step") == "5":
                break
        assert frame.get_attribute(".im", "data-step") == "5"
        # Who has chosen a step is not carried away from it.
        frame.focus(".main")
        page.page.keyboard.press("Home")
        frame.wait_for_selector(".im[data-step='0']")
        write_steps(sink, writer, range(6, 8))
        for _ in range(20):
            page.page.click("[title*='eload'], .reload-button, plugin-selector ~ * [svgicon=refresh_24px]")
            page.page.wait_for_timeout(1000)
            if "of 7" in frame.inner_text(".step"):
                break
        assert frame.inner_text(".step") == "step 0 of 7"
    sink.close()
    writer.close()


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
def test_it_works_under_a_path_prefix_with_either_loader(fast: bool, tmp_path: Path, page: Watched) -> None:  # noqa: FBT001
    tab_runs.large(tmp_path / "logs" / "run", layers=4, steps=5)
    with tensorboard(tmp_path / "logs", "--path_prefix=/board", fast=fast) as address:
        assert address.endswith("/board/")
        frame = page.open_tab(address)
        assert hover(page, frame, MAP.format("variance"), 0.5, 0.04)["title"] == "net.0"


def test_a_directory_without_runs_says_what_to_do(tmp_path: Path, page: Watched) -> None:
    (tmp_path / "logs").mkdir()
    with tensorboard(tmp_path / "logs") as address:
        frame = page.open_tab(address)
        text = frame.inner_text(".nothing")
        assert "No run here was watched yet" in text
        assert "callbacks=[InitMonitor()]" in text
        page.shot("empty")


def test_a_run_of_which_little_was_measured_says_what_is_missing(tmp_path: Path, page: Watched) -> None:
    writer, sink = SummaryWriter(str(tmp_path / "logs" / "run")), TensorBoardSink()

    class Logger:
        experiment = writer

    sink.open(Run(loggers=(Logger(),)))
    values = [1.0, math.inf, math.nan]
    for step in range(3):
        sink.emit(record(linears(3), {Quantity.VARIANCE: values}, step=step), (), linears(3))
    sink.close()
    writer.close()
    with tensorboard(tmp_path / "logs") as address:
        frame = page.open_tab(address)
        text = frame.inner_text(".view")
        assert "No gradient was measured yet" in text
        assert "Not measured in this run" in text
        assert hover(page, frame, MAP.format("variance"), 0.5, 0.75)["variance"] == "∞"
        for view in VIEWS[1:]:
            frame.click(f".tab[title^={view.capitalize()}]")
            settled(frame)
        page.shot("partial")


def test_any_character_may_be_in_a_name(tmp_path: Path, page: Watched) -> None:
    evil = "<img src=x onerror=alert(1)>, &\"'`%2C é"
    writer, sink = SummaryWriter(str(tmp_path / "logs" / "a,b & c")), TensorBoardSink()

    class Logger:
        experiment = writer

    net = dataclasses.replace(linears(2), layers=(dataclasses.replace(linears(1).layers[0], name=evil),))
    sink.open(Run(loggers=(Logger(),)))
    for step in range(2):
        sink.emit(record(net, {Quantity.VARIANCE: 2.0}, step=step), (), net)
    sink.close()
    writer.close()
    with tensorboard(tmp_path / "logs") as address:
        frame = page.open_tab(address, view="layer", layer=evil, runs="a%2Cb%20%26%20c")
        assert frame.locator(".layer-line select").input_value() == evil
        assert frame.locator("img").count() == 0
        assert frame.locator("canvas.plot").count() >= 1


# --- size -----------------------------------------------------------------------------------------------------------
FRAME_MS = 50
"""What an interaction may take, and still feels like one's own hand."""
MOVES = 15
MOVE = """async (moves) => {
  const slider = document.querySelector('.slider');
  for (let i = 0; i < moves; i += 1) {
    slider.value = String(i * 50);
    slider.dispatchEvent(new Event('input'));
    // The next frame draws; the one after it begins when that is done.
    await new Promise((done) => requestAnimationFrame(() => { requestAnimationFrame(() => done(null)); }));
  }
}"""


def test_three_runs_of_500_layers_and_1000_steps_move_without_a_jerk(tmp_path: Path, page: Watched) -> None:
    tab_runs.large(tmp_path / "logs" / "run0")
    for k in (1, 2):
        shutil.copytree(tmp_path / "logs" / "run0", tmp_path / "logs" / f"run{k}")
    with tensorboard(tmp_path / "logs", fast=True) as address:
        frame = page.open_tab(address)
        page.shot("large-overview")
        chrome = page.page.context.new_cdp_session(page.page)
        # The page's own time on a processor: how busy the machine is with other things does not count.
        chrome.send("Performance.enable", {"timeDomain": "threadTicks"})

        def worked() -> float:
            metrics = chrome.send("Performance.getMetrics")["metrics"]
            (seconds,) = (float(one["value"]) for one in metrics if one["name"] == "TaskDuration")
            return 1000 * seconds

        for view in ("overview", "propagation", "units"):
            frame.click(f".tab[title^={view.capitalize()}]")
            settled(frame)
            frame.wait_for_selector(".im[data-state=ready]")
            before = worked()
            frame.evaluate(MOVE, MOVES)
            assert 0 < (worked() - before) / MOVES <= FRAME_MS, view
        page.shot("large-units")
