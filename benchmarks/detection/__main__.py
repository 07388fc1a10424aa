"""``python -m benchmarks.detection``: train every case, judge the monitor, print the table."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.detection.measuring import chosen, measure, repeated_cases
from benchmarks.detection.table import page
from benchmarks.detection.variation import VARIATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.detection.measuring import Result
    from benchmarks.detection.running import Outcome

BEGIN, END = "<!-- results: made by make bench-detection -->", "<!-- end of results -->"
"""Between these lines the page of the documentation holds the result."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 if a case broke or the monitor changed a training."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the page of Markdown here")
    parser.add_argument("--docs", type=Path, help="put the page between the marks of this one, too")
    parser.add_argument("--json", type=Path, help="write every case with its losses and findings here")
    parser.add_argument("--only", action="append", help="part or pattern of a case's name; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each (2)")
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        choices=range(1, len(VARIATIONS) + 1),
        help="how often each case is run: after the first time with another seed, batch size, optimizer and number of steps (1)",
    )
    parser.add_argument("--no-remedies", action="store_true", help="do not try the remedies")
    parser.add_argument("--verbose", action="store_true", help="print each case with its findings")
    options = parser.parse_args(arguments)
    cases = chosen(repeated_cases(options.seeds), options.only or [""])
    if not cases:
        parser.error(f"--only {options.only!r} matches no case.")
    result = measure(
        cases,
        options.jobs,
        remedies=not options.no_remedies,
        tell=lambda outcome, done: _progress(outcome, done, len(cases), verbose=options.verbose),
    )
    if options.verbose:
        _print_labels(result)
    text = page(result)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    if options.docs:
        options.docs.write_text(included(options.docs.read_text(encoding="utf-8"), text), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(_plain(result), indent=1), encoding="utf-8")
    everything = (*result.judged, *result.dropped)
    for run in everything:
        for notice in run.outcome.notices:
            print(f"{run.case.name}: {notice}", file=sys.stderr)
        if run.outcome.failure:
            print(f"{run.case.name} broke:\n{run.outcome.failure}", file=sys.stderr)
    return int(any(run.outcome.failure or run.outcome.changed for run in everything))


def included(document: str, text: str, start: str = BEGIN, stop: str = END) -> str:
    """Return a document with the result between its marks, one level of headings deeper.

    Args:
        document: a page of Markdown.
        text: the result, another.
        start: the line before the place of the result.
        stop: the line after it.

    Raises:
        ValueError: the document has no marks.
    """
    before, begin, rest = document.partition(start)
    _, end, after = rest.partition(stop)
    if not begin or not end:
        message = f"the page needs the lines {start!r} and {stop!r} to know where the result goes."
        raise ValueError(message)
    body = "\n".join(f"#{line}" if line.startswith("#") else line for line in text.strip().splitlines())
    return f"{before}{start}\n\n{body}\n\n{stop}{after}"


def _progress(outcome: Outcome, done: int, of: int, *, verbose: bool) -> None:
    if not verbose:
        print(f"\r{done}/{of} {outcome.case:60.60}", end="\n" if done == of else "", flush=True, file=sys.stderr)
        return
    mark = "broke" if outcome.failure else "flagged" if outcome.flagged else "quiet"
    print(f"{done}/{of} {outcome.case}: {mark}, {outcome.seconds:.1f} s, loss {outcome.start:.3g} to {outcome.end:.3g}")
    for told in outcome.told:
        layers = ", ".join(told.layers[:4]) + (f" … ({len(told.layers)})" if len(told.layers) > 4 else "")  # noqa: PLR2004 - as many as a line takes
        print(f"    {told.code} {told.severity} at step {told.step} [{layers}] {told.message}")
    if outcome.changed:
        print("    THE MONITOR CHANGED THE LOSSES")
    sys.stdout.flush()


def _print_labels(result: Result) -> None:
    for run in sorted((*result.judged, *result.dropped), key=lambda one: one.case.name):
        mark = "verified" if run.evidence.holds else "DROPPED"
        right = "" if run.case.healthy == (not run.outcome.flagged) else "  <-- WRONG"
        print(f"{run.case.name} ({run.half}): {mark}, {run.evidence.figure}{right}")
    for remedied, reached in result.remedied:
        print(
            f"remedy of {remedied.code} for {remedied.case}: {'reached' if reached else 'NOT reached'}, {remedied.end:.3g}"
            f" ({remedied.confirmed or 'no aim'})"
        )


def _plain(result: Result) -> dict[str, object]:
    """Return everything as JSON values; what is not finite becomes a word."""
    return {
        "seconds": result.seconds,
        "cases": [
            {
                "name": run.case.name,
                "architecture": run.case.architecture,
                "seed": run.case.seed,
                "half": str(run.half),
                "fault": run.case.fault,
                "symptoms": sorted(run.case.symptoms),
                "culprits": list(run.case.culprits),
                "twin": run.case.twin,
                "verified": run.evidence.holds,
                "evidence": run.evidence.figure,
                "losses": [loss if math.isfinite(loss) else str(loss) for loss in run.outcome.losses],
                "told": [asdict(told) for told in run.outcome.told],
                "baseline": sorted(check.name for check in run.outcome.baseline),
                "culprit_share": run.outcome.culprit_share,
                "changed": run.outcome.changed,
                "notices": list(run.outcome.notices),
                "failure": run.outcome.failure,
                "seconds": run.outcome.seconds,
            }
            for run in (*result.judged, *result.dropped)
        ],
        "remedies": [
            {
                "case": tried.case,
                "code": tried.code,
                "kind": tried.kind.name,
                "end": str(tried.end),
                "reached": reached,
                "confirmed": None if tried.confirmed is None else tried.confirmed.holds,
                "shown": None if tried.confirmed is None else str(tried.confirmed),
                "failure": tried.failure,
                "anew": [str(share) for share in result.anew.get(tried.case, ())],
            }
            for tried, reached in result.remedied
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
