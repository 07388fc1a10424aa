"""``init-monitor check MODULE:FACTORY``: a network that a function makes, looked at before it trains."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from init_monitor.before_training import check
from init_monitor.errors import InitMonitorError
from init_monitor.factories import not_run, subject_of
from init_monitor.plan import recommend
from init_monitor.records import Severity

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 100
"""Columns where the output is no terminal (a CI log)."""

HEALTHY, CRITICAL = 0, 1
"""Exit status without and with a critical finding."""


def main(factory: str, *, seed: int = 0, code: bool = False, json: Path | None = None) -> int:
    """Print signal propagation, findings and plan of the network that ``factory`` makes.

    Args:
        factory: ``package.module:function``; the current directory is searched, too.
        seed: torch's seed before the function is called.
        code: print the plan as a function to paste as well.
        json: where to write the report as JSON.

    Returns:
        1 if there is a critical finding, else 0.

    Raises:
        InitMonitorError: there is no such function, it raises or returns something else, its model does not run on its
            batch, or the report cannot be written. The status is then 2.
    """
    # rich itself reads COLUMNS, for a CI log of another width.
    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH, highlight=False)
    subject = subject_of(factory, "check", seed)
    try:
        report = check(subject.model, subject.batch, subject.loss_fn)
        plan = recommend(subject.model, subject.batch, subject.loss_fn)
    except InitMonitorError:
        raise
    except Exception as error:
        # Uncaught, it would end with status 1, which means a critical finding.
        raise not_run(factory, error) from error
    console.print(report)
    console.print()
    console.print(plan)
    if code:
        console.print()
        console.print(plan.to_code(), markup=False, soft_wrap=True)
    if json is not None:
        try:
            report.to_json(json)
        except OSError as error:
            message = f"cannot write --json {json}: {error.strerror or error}. Give a file in a directory that exists."
            raise InitMonitorError(message) from error
    return CRITICAL if any(finding.severity is Severity.CRITICAL for finding in report.findings) else HEALTHY
