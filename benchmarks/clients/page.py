"""Writes what the clients showed as a page of benchmarks/results."""

from __future__ import annotations

import datetime as dt
import os
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.clients.judging import Verdict
    from benchmarks.clients.program import Program

PREAMBLE = """\
{steps} optimizer steps of a small network on synthetic data, each library in an environment
of its own, default options (the first ten steps are measured, then step 50). Found / counted by hand from the library's
source; the counts and their reasons stand in `benchmarks/clients/programs`. CPU time is that of the whole training with
the monitor over that without it: a fifth of these steps is measured, of tiny networks; see overhead-cpu.md for networks
of real size."""

COLUMNS = (
    "library",
    "version",
    "kind",
    "loop",
    "equal to the bit",
    "weight layers",
    "inputs known",
    "residuals",
    "rows not the network's",
    "findings",
    "unjustified",
    "loss fell",
    "CPU time",
)


def page(
    judged: Mapping[str, tuple[Program, Verdict]], versions: Mapping[str, str], failed: Mapping[str, str], steps: int
) -> str:
    """Return the page: a summary, a row per program, and below what is wrong in each."""
    verdicts = [verdict for _, verdict in judged.values()]
    cost = statistics.median(v.cost for v in verdicts)
    summary = (
        f"{len(verdicts)} trained, {len(failed)} did not run; {sum(v.neutral for v in verdicts)} equal to the bit (losses,"
        f" parameters, random states); structure right in {sum(v.right for v in verdicts)};"
        f" {sum(len(v.unjustified) for v in verdicts)} unjustified findings (warnings and worse without a reason in the program). CPU time: {cost:.2f} × (median)."
    )
    lines = [
        "# Real libraries, trained without the monitor and with it",
        "",
        f"{dt.datetime.now(dt.timezone.utc).date()}, {os.cpu_count()} CPU cores: {PREAMBLE.format(steps=steps)}",
        "",
        summary,
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|:--" * 5 + "|--:" * 4 + "|:--" * 2 + "|--:" * 2 + "|",
        *(_row(name, program, verdict, versions[name]) for name, (program, verdict) in judged.items()),
        "",
        *(line for name, (_, verdict) in judged.items() for line in _details(name, verdict)),
        *(f"- `{name}` did not run: {why}" for name, why in failed.items()),
        "",
    ]
    return "\n".join(lines)


def _row(name: str, program: Program, verdict: Verdict, version: str) -> str:
    equal = "yes" if verdict.neutral else "**no**: " + ", ".join(_differences(verdict))
    cells = (
        name,
        version,
        program.kind,
        program.loop,
        equal if verdict.repeatable else "not repeatable without the monitor",
        "{} / {}".format(*verdict.weights),
        f"{verdict.weights[0] - len(verdict.unknown)} / {verdict.weights[1]}",
        "{} / {}".format(*verdict.residuals),
        f"{len(verdict.foreign)} of {verdict.rows}",
        "; ".join(verdict.findings),
        "; ".join(verdict.unjustified),
        "yes" if verdict.fell else "**no**",
        f"{verdict.cost:.2f} ×",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _differences(verdict: Verdict) -> Sequence[str]:
    found = [word for word, equal in (("losses", verdict.losses), ("parameters", verdict.parameters)) if not equal]
    return [*found, *(f"state of `{name}`" for name in verdict.random)]


def _details(name: str, verdict: Verdict) -> Sequence[str]:
    said = (
        ("weight layers found, of those counted", verdict.missed),
        ("weight layers that were not counted", verdict.surplus),
        ("input unknown", verdict.unknown),
        ("input wrong", verdict.wrong),
        ("rows that are not the network's", verdict.foreign),
        ("notices", verdict.notices),
        ("own monitor", () if verdict.reachable else ("its findings are not those shown",)),
        ("stored", verdict.files or ("nothing",)),
    )
    return [f"- `{name}`, {what}: {_listed(items)}" for what, items in said if items]


def _listed(items: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(f"`{item}`" for item in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
