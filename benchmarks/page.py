"""How quick the TensorBoard tab is with 500 layers × 1,000 steps × 3 runs, in a real TensorBoard and a real browser.

Run it with ``python benchmarks/page.py [--rounds 5] [--out FILE]``; it needs chromium. Every round reopens each page and
TensorBoard's own Time Series tab of the same runs next to it, so that other load on the machine affects all alike.
Two figures are given for each page: how long it takes from the opening of its frame until everything is drawn, as a share
of the two seconds allowed and of what the Time Series tab takes, and the page's processor time for one frame while the
pointer moves over a picture or the step slider is drawn, as a share of the 50 ms allowed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import conftest  # noqa: F401 - torchvision's operators have to be declared before Lightning looks for it
import tab_runs
from browser import Watched, browser, settled, tensorboard, watched

LAYERS, STEPS, RUNS = 500, 1_000, 3
VIEWS = ("overview", "propagation", "units", "layer", "findings", "compare")
LOAD_MS, FRAME_MS = 2_000.0, 50.0
MOVES = 30

SLIDE = """async (moves) => {
  const slider = document.querySelector('.slider');
  for (let i = 0; i < moves; i += 1) {
    slider.value = String(Math.floor(i * Number(slider.max) / moves));
    slider.dispatchEvent(new Event('input'));
    await new Promise((done) => requestAnimationFrame(() => { requestAnimationFrame(() => done(null)); }));
  }
}"""

POINT = """async (moves) => {
  const over = document.querySelector('.surface canvas.over');
  const box = over.getBoundingClientRect();
  for (let i = 0; i < moves; i += 1) {
    over.dispatchEvent(new PointerEvent('pointermove', {
      bubbles: true,
      clientX: box.left + box.width * (0.2 + 0.6 * i / moves),
      clientY: box.top + box.height * (0.1 + 0.8 * i / moves),
    }));
    await new Promise((done) => requestAnimationFrame(() => { requestAnimationFrame(() => done(null)); }));
  }
}"""

READY = """async () => {
  const root = document.querySelector('.im');
  const ready = () => root.dataset.state === 'ready';
  while (!ready()) await new Promise((done) => setTimeout(done, 5));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now();
}"""
"""Milliseconds since the frame began to load."""


class Times(NamedTuple):
    """Of one page in one round, in milliseconds."""

    load: float
    point: float
    slide: float


def _worked(chrome: Any) -> float:  # noqa: ANN401
    metrics = chrome.send("Performance.getMetrics")["metrics"]
    return 1_000 * next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")


def _per_move(page: Watched, frame: Any, script: str) -> float:  # noqa: ANN401
    chrome = page.page.context.new_cdp_session(page.page)
    chrome.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _worked(chrome)
    frame.evaluate(script, MOVES)
    return (_worked(chrome) - before) / MOVES


def of_view(running: Any, address: str, view: str) -> Times:  # noqa: ANN401
    """Open one page of the tab and move the pointer over it."""
    with watched(running) as page:
        words = f"#init_monitor&p.init_monitor.view={view}"
        page.page.goto(f"{address}{words}")
        handle = page.page.wait_for_selector("iframe[src*='name=init_monitor']", state="attached")
        frame = handle.content_frame()
        frame.wait_for_selector(".im")
        load = float(frame.evaluate(READY))
        settled(frame)
        pictures = frame.locator(".surface canvas.over").count()
        point = _per_move(page, frame, POINT) if pictures else 0.0
        return Times(load, point, _per_move(page, frame, SLIDE))


def of_time_series(running: Any, address: str) -> float:  # noqa: ANN401
    """Open TensorBoard's own tab of scalars until its first card is drawn."""
    with watched(running) as page:
        page.page.goto("about:blank")
        begin = time.perf_counter()
        page.page.goto(f"{address}#timeseries")
        page.page.wait_for_selector("card-view")
        return 1_000 * (time.perf_counter() - begin)


def measured(rounds: int) -> tuple[dict[str, list[Times]], list[float]]:
    """Return the times of each page, and of the Time Series tab, one for every round."""
    with tempfile.TemporaryDirectory() as name:
        logs = Path(name) / "logs"
        tab_runs.large(logs / "run0", LAYERS, STEPS)
        for k in range(1, RUNS):
            shutil.copytree(logs / "run0", logs / f"run{k}")
        times: dict[str, list[Times]] = {view: [] for view in VIEWS}
        beside: list[float] = []
        with tensorboard(logs, fast=True) as address, browser() as running:
            for _ in range(rounds):
                beside.append(of_time_series(running, address))
                for view in VIEWS:
                    times[view].append(of_view(running, address, view))
    return times, beside


def report(rounds: int) -> str:
    """Measure, and return a Markdown page."""
    times, beside = measured(rounds)
    reference = statistics.median(beside)
    lines = [
        "# How quick the tab is",
        "",
        f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}, {os.cpu_count()} CPU cores, headless Chromium that draws in",
        f"software. {RUNS} runs of {LAYERS} layers and {STEPS:,} steps; medians of {rounds} interleaved rounds, in brackets",
        f"the worst. Loading: of {LOAD_MS / 1000:.0f} s allowed. A frame (processor time of the page): of {FRAME_MS:.0f} ms",
        "allowed.",
        "",
        "| page | loading | beside Time Series | frame, pointing | frame, sliding |",
        "|:--|--:|--:|--:|--:|",
    ]
    for view, rows in times.items():
        load, point, slide = ([row[i] for row in rows] for i in range(3))

        def share(values: list[float], whole: float) -> str:
            return f"{statistics.median(values) / whole:.0%} ({max(values) / whole:.0%})" if any(values) else "–"

        lines.append(
            f"| {view} | {share(load, LOAD_MS)} | {statistics.median(load) / reference:.2f} |"
            f" {share(point, FRAME_MS)} | {share(slide, FRAME_MS)} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    page = report(arguments.rounds)
    print(page)
    if arguments.out is not None:
        arguments.out.write_text(page, encoding="utf-8")
