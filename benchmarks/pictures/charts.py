"""Pictures of numbers that stand on the pages, read from the pages themselves; and one of a training, made anew."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import torch
from torch import nn

import init_monitor
from benchmarks.pictures.drawing import BLUE, GREEN, INK, LINE, ORANGE, SOFT, Drawing

if TYPE_CHECKING:
    from pathlib import Path

_PERCENT = re.compile(r"([\d.]+) % \(([\d.]+)–([\d.]+) %")


def detection(docs: Path) -> Drawing:
    """Draw the first table of results: ours and the baseline's, with their intervals."""
    rows = _rows(docs / "detection.md", ("recall", "false-positive rate", "precision", "symptom accuracy"))
    page = Drawing(860, 60 + 56 * len(rows))
    _key(page, 240, [("init-monitor", BLUE), ("what other tools check, put together", ORANGE)])
    for i, row in enumerate(rows):
        y = 52 + i * 56
        page.words(225, y + 20, row[0], anchor="end")
        for k, (cell, colour) in enumerate(((row[1], BLUE), (row[4], ORANGE))):
            found = _PERCENT.match(cell)
            if found is None:
                continue
            share, low, high = (float(one) for one in found.groups())
            top = y + k * 20
            page.bar(240, top, 5 * share, 16, colour)
            page.line([(240 + 5 * low, top + 8), (240 + 5 * high, top + 8)], INK, 1.5)
            page.words(252 + 5 * max(share, high), top + 13, f"{share:g} %", size=12)
    return page


def cost(docs: Path) -> Drawing:
    """Draw how many times as long a measured step takes."""
    rows = _rows(docs / "how-to" / "cost.md", ("MLP", "ResNet", "transformer"), whole=False)
    page = Drawing(860, 84 + 58 * len(rows))
    _key(page, 340, [('measure="exact"', BLUE), ('measure="staged"', GREEN)])
    for i, row in enumerate(rows):
        y = 52 + i * 58
        page.words(325, y + 22, row[0].split(",")[0] + ", " + row[0].split(", ", 1)[1].split(",")[0], anchor="end")
        for k, (cell, colour) in enumerate(zip(row[1:3], (BLUE, GREEN), strict=True)):
            page.bar(340, y + k * 21, 300 * float(cell), 17, colour)
            page.words(350 + 300 * float(cell), y + k * 21 + 13, f"{cell}×", size=12)
    bottom = 52 + 58 * len(rows)
    page.line([(640, 44), (640, bottom)], INK, 1, dash="4 3")
    page.words(640, bottom + 18, "the same step unwatched", anchor="middle", size=12, colour=SOFT)
    return page


def theory(docs: Path) -> Drawing:
    """Draw measured over theory for every formula, and how far apart they may lie."""
    found = []
    for line in (docs / "theory.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)][1:-1]
        if len(cells) == 5 and cells[4].endswith("×") and float(cells[2]):  # noqa: PLR2004 - the table of formulas
            found.append((float(cells[3]) / float(cells[2]), float(cells[4].rstrip("×"))))
    found.sort(key=lambda one: one[1])
    page = Drawing(860, 300)
    left, right, middle, high = 60, 840, 140, 105
    reach = math.log(1.5)

    def y(ratio: float) -> float:
        return middle - high * max(-1.0, min(1.0, math.log(ratio) / reach))

    for ratio in (1 / 1.5, 0.8, 1, 1.25, 1.5):
        page.line([(left, y(ratio)), (right, y(ratio))], INK if ratio == 1 else LINE)
        page.words(left - 8, y(ratio) + 4, f"{ratio:.2g}×", anchor="end", size=12, colour=SOFT)
    for i, (ratio, within) in enumerate(found):
        x = left + (right - left) * (i + 0.5) / len(found)
        page.line([(x, y(1 / within)), (x, y(within))], LINE, 5)
        page.dot(x, y(ratio), BLUE, 3)
    page.words(
        450,
        272,
        f"{len(found)} formulas, each: measured over theory (dot), and how far it may be off (bar)",
        anchor="middle",
        size=12,
        colour=SOFT,
    )
    return page


def training() -> Drawing:
    """Draw the loss of one training with and without the monitor: the same bits."""

    def losses(*, watch: bool) -> list[float]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 4))
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        monitor = init_monitor.watch(net, optimizer, sinks=(), dense_steps=80)
        found = []
        for _ in range(80):
            x = torch.randn(32, 32)

            def step(x: torch.Tensor = x) -> None:
                loss = nn.functional.cross_entropy(net(x), x[:, :4].argmax(1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                found.append(loss.item())

            if watch:
                with monitor.step():
                    step()
            else:
                step()
        return found

    plain, watched = losses(watch=False), losses(watch=True)
    if plain != watched:
        message = "the monitor changed a training"
        raise AssertionError(message)
    page = Drawing(860, 280)
    low, high = min(plain) - 0.05, max(plain) + 0.05

    def place(i: int, value: float) -> tuple[float, float]:
        return 60 + 780 * i / 79, 30 + 200 * (high - value) / (high - low)

    for value in (0.5, 0.75, 1.0, 1.25, 1.5):
        if low < value < high:
            page.line([(60, place(0, value)[1]), (840, place(0, value)[1])])
            page.words(52, place(0, value)[1] + 4, f"{value:g}", anchor="end", size=12, colour=SOFT)
    page.line([place(i, value) for i, value in enumerate(plain)], ORANGE, 7)
    page.line([place(i, value) for i, value in enumerate(watched)], BLUE, 2)
    _key(page, 300, [("loss without the monitor", ORANGE), ("with every step measured: the same bits", BLUE)])
    page.words(450, 268, "80 optimizer steps, with dropout", anchor="middle", size=12, colour=SOFT)
    return page


def tutorial() -> Drawing:
    """Draw the signal of the tutorial's network as PyTorch initialises it, and as the plan does."""
    torch.manual_seed(0)
    layers = [part for _ in range(20) for part in (nn.Linear(64, 64), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(64, 10))
    batch = torch.randn(256, 64), torch.randint(10, (256,))
    page = Drawing(860, 300)

    def stds(*, backward: bool) -> list[float]:
        report = init_monitor.check(net, batch, nn.functional.cross_entropy, rules=())
        linear = {one.name for one in report.structure.layers if one.kind == "Linear"}
        layers = [one for one in report.records[0] if one.name in linear]
        sides = [one.backward if backward else one.forward for one in layers]
        return [math.log10(max(side.std, 1e-30)) for side in sides if side is not None]

    before = [stds(backward=False), stds(backward=True)]
    init_monitor.recommend(net, batch, nn.functional.cross_entropy).apply_(generator=torch.Generator().manual_seed(0))
    after = [stds(backward=False), stds(backward=True)]
    for side, title in enumerate(("forward: std of each layer's output", "backward: std of its gradient")):
        _over_layers(page, 60 + side * 420, title, ((before[side], ORANGE), (after[side], BLUE)))
    _key(page, 60, [("PyTorch's own initial weights", ORANGE), ("after plan.apply_()", BLUE)])
    return page


def _over_layers(page: Drawing, left: float, title: str, lines: tuple[tuple[list[float], str], ...]) -> None:
    """Draw logarithms over the layers."""
    logs = [log for values, _ in lines for log in values]
    low, top = math.floor(min(logs)), math.ceil(max(logs))

    def place(share: float, log: float) -> tuple[float, float]:
        return left + 360 * share, 80 + 190 * (top - log) / max(1, top - low)

    page.words(left, 62, title, bold=True)
    for decade in range(low, top + 1, max(1, (top - low) // 6)):
        page.line([place(0, decade), place(1, decade)])
        page.words(left - 6, place(0, decade)[1] + 4, f"1e{decade}", anchor="end", size=11, colour=SOFT)
    for values, colour in lines:
        page.line([place(i / (len(values) - 1), log) for i, log in enumerate(values)], colour, 2.5)
    page.words(left + 180, 290, "weight layer", anchor="middle", size=12, colour=SOFT)


def _key(page: Drawing, left: float, entries: list[tuple[str, str]]) -> None:
    for name, colour in entries:
        page.bar(left, 16, 14, 14, colour)
        page.words(left + 20, 28, name)
        left += 60 + 7.2 * len(name)


def _rows(file: Path, names: tuple[str, ...], *, whole: bool = True) -> list[list[str]]:
    """Return the first row of a page's tables that begins with each name and holds numbers."""
    lines = file.read_text(encoding="utf-8").splitlines()
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    numbers = [row for row in tables if any(re.match(r"\d", cell) for cell in row[1:])]
    return [next(row for row in numbers if (row[0] == name if whole else row[0].startswith(name))) for name in names]
