"""What watching costs: in whole fits of three networks, and per layer on the host. Both pages of results are written here.

``python -m benchmarks.cost [--rounds 3] [--steps 40] [--long 400] [--only fits|host] [--out benchmarks/results]``
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import logging
import warnings
from pathlib import Path

import torch

from benchmarks import host, overhead

HOST = {40: 60, 160: 30, 480: 16, 2000: 10, 5000: 7}
"""Steps by layers: fewer where each takes longer."""


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="of a fit whose every step is measured")
    parser.add_argument("--long", type=int, default=400, help="steps of the whole fit with the default schedule")
    parser.add_argument("--long-rounds", type=int, default=4)
    parser.add_argument("--only", choices=("fits", "host"))
    parser.add_argument("--layers", type=int, nargs="+", choices=list(HOST), default=list(HOST))
    parser.add_argument("--out", type=Path, help="folder of the two pages")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    today = f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}"
    pages: dict[str, str] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        if arguments.only != "host":
            pages["overhead-cpu.md"] = overhead.report(
                today, arguments.steps, arguments.rounds, arguments.long, arguments.long_rounds
            )
        if arguments.only != "fits":
            pages["host-cpu.md"] = host.report(today, {count: HOST[count] for count in arguments.layers})
    for name, page in pages.items():
        print(page)
        if arguments.out is not None:
            (arguments.out / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
