"""``python -m benchmarks.clients --out PAGE.md [--only NAME]``: trains each client library and writes the page.

Finished results are kept next to the environments (``--state``), so that an interrupted run can continue.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clients.environments import ROOT, python_of
from benchmarks.clients.judging import Verdict, judge, same
from benchmarks.clients.page import page
from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

PROGRAMS = Path(__file__).with_name("programs")
LIMIT = 900
"""Seconds until a training is aborted; the slowest takes one minute on two busy cores."""


def names() -> list[str]:
    """Return the names of the programs."""
    return sorted(path.stem for path in PROGRAMS.glob("*.py") if path.stem != "__init__")


def program_of(name: str) -> Program:
    """Return a program's description without importing its library, which is not installed here."""
    tree = ast.parse((PROGRAMS / f"{name}.py").read_text())
    constants: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Assign)]
    scope: dict[str, Any] = {"Program": Program, "Expected": Expected, "train": None}
    exec(compile(ast.Module(constants, []), name, "exec"), scope)  # noqa: S102 - this project's own file
    program: Program = scope["PROGRAM"]
    return program


def train(name: str, environments: Path, *, watched: bool) -> dict[str, Any]:
    """Train a program in a process and a working directory of its own.

    Raises:
        RuntimeError: if the process fails; with the last lines of what it said.
    """
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "result.json"
        work = Path(directory) / "work"
        work.mkdir()
        command = [str(python_of(name, environments)), "-m", "benchmarks.clients.training", name, str(out)]
        # One thread and one seed of the hashes: sums and sets keep their order.
        settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        ended = subprocess.run(  # noqa: S603 - this project's own command
            command + ["--watched"] * watched,
            cwd=work,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError("\n".join((ended.stdout + ended.stderr).splitlines()[-20:]))
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def trained(runs: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the trainings of a program: without the monitor, with it, and once more without."""
    plain, watched, again = runs
    return plain, watched, again


def main() -> None:
    """Train what the arguments ask for and write the page of all that is finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=names(), help="train this one again (may be repeated)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "clients")
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "clients.json")
    arguments = parser.parse_args()
    state = json.loads(arguments.state.read_text()) if arguments.state.is_file() else {}
    failed: dict[str, str] = {}
    for name in arguments.only or [name for name in names() if name not in state]:
        print(f"{name} ...", flush=True)
        try:
            plain, watched = (train(name, arguments.environments, watched=watched) for watched in (False, True))
            # If nothing differs, repeatability need not be checked.
            again = plain if same(plain, watched) else train(name, arguments.environments, watched=False)
        except (RuntimeError, subprocess.SubprocessError) as error:
            print(error, flush=True)
            failed[name] = str(error).splitlines()[-1]
            continue
        state[name] = [plain, watched, again]
        arguments.state.write_text(json.dumps(state))
    programs = {name: program_of(name) for name in names() if name in state}
    judged: dict[str, tuple[Program, Verdict]] = {
        name: (program, judge(*trained(state[name]), program.expected)) for name, program in programs.items()
    }
    versions = {name: state[name][0]["library"] for name in programs}
    arguments.out.write_text(page(judged, versions, failed, STEPS))
    if arguments.only is None and set(names()) <= set(state):
        arguments.state.unlink(missing_ok=True)
    print(f"Written to {arguments.out}.")


if __name__ == "__main__":
    main()
