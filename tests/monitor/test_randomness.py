"""Every public entry point leaves ``random``, numpy's and torch's generators alone, at its first use in a process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from init_monitor.randomness import kept_randomness

TESTS = Path(__file__).parent.parent
USES_RICH_OF_THE_USER = {"rich plan", "rich report", "rich structure", "InitMonitor"}


def test_no_entry_point_moves_a_generator_at_its_first_use_in_a_process() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(TESTS / "fresh_processes.py")],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seen) == 31
    assert {entry["entry"]: entry["moved"] for entry in seen if entry["moved"]} == {}
    # The first import is what draws: it has to have been before them for none but those who brought rich themselves.
    assert {entry["entry"] for entry in seen if not entry["fresh"]} == USES_RICH_OF_THE_USER


def test_the_import_of_rich_does_draw_a_number_so_that_the_test_above_can_fail() -> None:
    program = "import random; random.seed(1); s = random.getstate(); import rich.console; print(s == random.getstate())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_drawn_inside_is_put_back_also_after_an_error() -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 - that of the process is meant
    torch.manual_seed(3)
    expected = random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002, S311
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    try:
        with kept_randomness():
            random.random()  # noqa: S311
            np.random.rand(5)  # noqa: NPY002
            torch.rand(5)
            raise OSError  # noqa: TRY301 - that is what is looked at
    except OSError:
        pass
    assert (random.random(), float(np.random.rand()), float(torch.rand(()))) == expected  # noqa: NPY002, S311
