"""The code that whole trainings of the detection benchmark print: each piece once, whole, and a program of its own."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.detection import running
from benchmarks.detection.cases import all_cases
from benchmarks.detection.efficacy import why_it_does_not_run
from benchmarks.detection.printed import copied
from benchmarks.detection.running import Told
from init_monitor import InitMonitor
from init_monitor.sinks.console import ConsoleSink

FAULTS = ("mlp8-relu/std-1e-3", "mlp10-tanh/normal-1", "prenorm-transformer/zero-weights", "mlp20-relu/xavier",
          "mlp10-tanh/std-1e-2", "mlp20-relu/normal-1", "gru/rate-too-high")  # fmt: skip
STEPS = 30
CASES = {case.name: case for case in all_cases()}


def bare(text: str) -> list[str]:
    """Return the lines of code without imports, comments and blank lines, which a console may leave out."""
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line and not line.lstrip().startswith(("import ", "from ", "#"))]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_code_is_printed_twice_and_all_of_it_runs(fault: str) -> None:
    running.quiet()
    case = replace(CASES[fault], steps=STEPS)
    out = io.StringIO()
    console = Console(file=out, width=100, color_system=None, force_terminal=False)
    monitor = InitMonitor(every_n_steps=5, sinks=[ConsoleSink(console=console)])
    running.train(case.make(), STEPS, [monitor])
    printed, codes = bare(out.getvalue()), {tuple(bare(one.remedy_code)) for one in monitor.findings} - {()}
    assert len(monitor.findings) > 1
    shown = Counter(
        code for code in codes for start in range(len(printed)) if tuple(printed[start : start + len(code)]) == code
    )
    assert max(shown.values(), default=0) <= 1
    # One that is a part of another (or of the same layers, in another order) is not printed beside it.
    heads = Counter(
        line for line in printed if line.startswith(("for ", "nn.init.", "recipes.", "optimizer = ", "trainer = "))
    )
    assert not [line for line, times in heads.items() if times > 1]
    for finding in monitor.findings:
        told = Told(finding.code, str(finding.severity), finding.layers, finding.step, "", "", copied(finding))
        assert why_it_does_not_run(case, told) == ""
