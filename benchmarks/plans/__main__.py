"""``python -m benchmarks.plans``: train every pair from every start with every treatment, print the tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.detection.__main__ import included
from benchmarks.plans.measured import Kept, measure
from benchmarks.plans.page import details, summary
from benchmarks.plans.pairs import PAIRS

BEGIN, END = "<!-- plans: made by make bench-plans -->", "<!-- end of plans -->"


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the whole page of Markdown here")
    parser.add_argument("--docs", type=Path, help="put the summary between the marks of this page, too")
    parser.add_argument("--only", action="append", help="part of a pair's name; may be repeated")
    parser.add_argument("--state", type=Path, help="keep losses here, and train only what is not in it")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each (2)")
    options = parser.parse_args()
    if (options.out or options.docs) and options.only:
        parser.error("--out and --docs hold every pair, so neither goes with --only.")
    pairs = [pair for pair in PAIRS if any(part in pair.name for part in options.only or [""])]
    if not pairs:
        parser.error(f"--only {options.only!r} matches no pair; there are: {', '.join(pair.name for pair in PAIRS)}.")
    rows = measure(
        pairs,
        Kept(options.state),
        options.jobs,
        lambda done, of: print(f"\r{done}/{of} trainings", end="", file=sys.stderr, flush=True),
    )
    print(file=sys.stderr)
    print(summary(rows), details(rows), sep="\n\n")
    if options.out:
        options.out.write_text(
            f"# What a plan does to a training\n\n{summary(rows)}\n\n{details(rows)}\n", encoding="utf-8"
        )
    if options.docs:
        text = included(options.docs.read_text(encoding="utf-8"), summary(rows), BEGIN, END)
        options.docs.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
