"""``python -m benchmarks.field``: train every program under the monitor, judge what it said, print the score."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.detection.__main__ import included
from benchmarks.field.measuring import chosen, kept, known_cases, measure
from benchmarks.field.table import before_of, page, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.field.judging import Judged
    from benchmarks.field.running import Outcome

BEGIN, END = "<!-- field: made by make bench-field -->", "<!-- end of field -->"
"""Between these lines the page of the documentation holds the score."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 if a program broke."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.field", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the page of Markdown here; its column 'before' is kept")
    parser.add_argument("--docs", type=Path, help="put the score between the marks of this page, too")
    parser.add_argument("--only", action="append", help="part or pattern of a case's name; may be repeated")
    parser.add_argument("--dir", default="", help="take the files case_*.py of this directory instead")
    parser.add_argument("--state", type=Path, help="keep outcomes here, and train only what is not in it")
    parser.add_argument("--show", action="store_true", help="print each case with what was said in full")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each (2)")
    options = parser.parse_args(arguments)
    if (options.out or options.docs) and (options.only or options.dir):
        parser.error("--out and --docs hold every case of the benchmark, so neither goes with --only or --dir.")
    cases = chosen(known_cases(options.dir), options.only or [""])
    if not cases:
        parser.error(f"--only {options.only!r} matches no case.")
    of = sum(len(case.versions) for case in cases)
    have = len(kept(options.state))
    if have:
        print(f"{options.state} holds {have} outcomes; these programs are not trained again.", file=sys.stderr)
    result = measure(
        cases,
        options.jobs,
        directory=options.dir,
        state=options.state,
        tell=lambda outcome, done: _progress(outcome, done, of),
    )
    for one in result.judged if options.show else ():
        _show(one)
    earlier = options.out.read_text(encoding="utf-8") if options.out and options.out.exists() else ""
    before = before_of(earlier)
    print(summary(result, before))
    if options.out:
        options.out.write_text(page(result, before), encoding="utf-8")
    if options.docs:
        text = included(options.docs.read_text(encoding="utf-8"), summary(result, before), BEGIN, END)
        options.docs.write_text(text, encoding="utf-8")
    broken = [run for one in result.judged for run in (one.faulty, one.fixed) if run is not None and run.failure]
    for run in broken:
        print(f"{run.case}, {run.version}, broke:\n{run.failure}", file=sys.stderr)
    return int(bool(broken))


def _progress(outcome: Outcome, done: int, of: int) -> None:
    print(f"\r{done}/{of} {outcome.case:50.50}", end="\n" if done == of else "", flush=True, file=sys.stderr)


def _show(one: Judged) -> None:
    mark = "not judged" if one.case.answer is None else "right" if one.right else f"WRONG: {'; '.join(one.wrong)}"
    print("=" * 100)
    print(f"{one.case.name}: {one.case.about}")
    for run, verdict in ((one.faulty, mark), (one.fixed, "; ".join(one.alarms) or "silent")):
        if run is None:
            continue
        print(
            f"  {run.version} ({verdict}): loss {run.first:.4g} -> {run.last:.4g} over {run.batches} batches,"
            f" score {run.score:.4g}, {run.seconds:.1f} s"
        )
        for told in run.told:
            layers = ", ".join(told.layers[:6]) + (f" … ({len(told.layers)})" if len(told.layers) > 6 else "")  # noqa: PLR2004 - as many as a line takes
            print(f"     [{told.severity}] {told.code} at step {told.step}: {layers}")
            print(f"        {told.message}")
            print(f"        -> {told.remedy}")
            for line in told.remedy_code.splitlines():
                print(f"           {line}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
