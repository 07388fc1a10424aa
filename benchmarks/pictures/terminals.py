"""Pictures of what the console prints, each from the very objects."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import torch
from rich._export_format import CONSOLE_SVG_FORMAT  # what rich writes, without the font that it would load
from rich.console import Console, RenderableType
from torch import nn

import init_monitor
from init_monitor import DEFAULT_RULES, Figure, Finding, Severity
from init_monitor.display.finding_panel import findings_panel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import History

WIDTH = 100
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def picture(title: str, *shown: RenderableType, width: int = WIDTH) -> str:
    """Return what a terminal shows as SVG, which loads nothing."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for one in shown:
        console.print(one)
    return console.export_svg(title=title, code_format=_FORMAT, unique_id="terminal")


def deep(depth: int = 12, width: int = 64) -> nn.Sequential:
    """Return ReLU layers with PyTorch's own initial weights, whose signal fades."""
    torch.manual_seed(0)
    return nn.Sequential(
        *[part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())], nn.Linear(width, 10)
    )


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return what such a network is trained on."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 64, generator=generator), torch.randint(10, (64,), generator=generator)


def trained(net: nn.Module, steps: int = 12, **options: Any) -> Any:  # noqa: ANN401 - the watch
    """Train a network for a moment and return its monitor."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    x, y = batch()
    with init_monitor.watch(net, optimizer, sinks=(), **options) as monitor:
        for _ in range(steps):
            with monitor.step():
                loss = nn.functional.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return monitor


def rules() -> str:
    """Show a finding as the console does."""
    (first, *_) = trained(deep(30)).findings
    return picture("a finding", findings_panel(first))


def recipes() -> str:
    """Show a plan."""
    return picture("print(plan)", init_monitor.recommend(deep(), batch(), nn.functional.cross_entropy))


def ci() -> str:
    """Show what a check prints in CI."""
    report = init_monitor.check(deep(30), batch(), nn.functional.cross_entropy)
    status = "1: a critical finding" if any(one.severity is Severity.CRITICAL for one in report.findings) else "0"
    return picture(
        "init-monitor check my_package.models:make",
        *map(findings_panel, report.findings[:1]),
        f"[dim]exit status {status}[/dim]",
    )


def notebooks() -> str:
    """Show what the last expression of a cell shows."""
    return picture("report", init_monitor.check(deep(6), batch(), nn.functional.cross_entropy), width=92)


class QuietHead:
    """The rule of the page."""

    code, name = "MY001", "quiet-head"

    def judge(self, history: History) -> Iterator[Finding]:
        """Return a finding where the head is nearly silent."""
        head, step = history.structure.layers[-1].name, history.last.step
        std = history.last.layers[head].forward.std
        if std < 0.01:  # noqa: PLR2004 - as on the page
            said = f"{head} gives nearly the same output for every input."
            yield Finding(self.name, self.code, Severity.WARNING, (head,), step, said, {"std": Figure(std)})


def custom_rules() -> str:
    """Show the finding of a rule of one's own."""
    net = deep(4)
    with torch.no_grad():
        for parameter in net[-1].parameters():
            parameter.mul_(1e-3)
    monitor = trained(net, rules=(*DEFAULT_RULES, QuietHead()))
    return picture("a rule of your own", *(findings_panel(one) for one in monitor.findings if one.code == "MY001"))
