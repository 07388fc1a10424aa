"""``python -m benchmarks.peers --out PAGE.md --docs DOCS.md``: measure each monitor in its environment and write the page.

What is finished is kept (``--state``), so that an interrupted run goes on; ``--only NAME`` measures one again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.clients.environments import ROOT, python_of
from benchmarks.detection.__main__ import included
from benchmarks.peers.page import page
from benchmarks.peers.peer import PEERS

if TYPE_CHECKING:
    from benchmarks.peers.peer import Peer

BEGIN, END = "<!-- peers: made by make bench-peers -->", "<!-- end of peers -->"
"""Between these lines the page of the documentation holds the tables."""

REQUIREMENTS = Path(__file__).with_name("requirements")
STEPS, ROUNDS = 8, 3
LIMIT_S = 1_800
"""Until a process is ended; the slowest takes five minutes on a busy core."""


def measured(peer: Peer, environments: Path, steps: int, rounds: int) -> dict[str, Any]:
    """Measure a monitor in a process and a directory of its own.

    Raises:
        RuntimeError: if it fails; with the last lines of what it said.
    """
    python = python_of(peer.environment, environments, REQUIREMENTS)
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "result.json"
        arguments = (peer.name, str(out), "--steps", str(steps), "--rounds", str(rounds))
        ended = subprocess.run(  # noqa: S603 - this project's own command
            [str(python), "-m", "benchmarks.peers.measuring", *arguments],
            cwd=directory,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HOME": directory},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError("\n".join((ended.stdout + ended.stderr).splitlines()[-20:]))
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return result


def main() -> None:
    """Measure what the arguments ask for, and write the page of all that is finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", action="append", choices=names, help="measure this one again (may be repeated)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--docs", type=Path, help="put the tables between the marks of this page, too")
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "peers")
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "peers.json")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    state = json.loads(options.state.read_text(encoding="utf-8")) if options.state.is_file() else {}
    failed: dict[str, str] = {}
    for peer in PEERS:
        if peer.name not in options.only if options.only else peer.name in state:
            continue
        print(f"{peer.name} ...", flush=True)
        try:
            state[peer.name] = measured(peer, options.environments.resolve(), options.steps, options.rounds)
        except (RuntimeError, subprocess.SubprocessError) as error:
            print(error, flush=True)
            failed[peer.name] = str(error).splitlines()[-1]
            continue
        print(json.dumps(state[peer.name]), flush=True)
        options.state.write_text(json.dumps(state), encoding="utf-8")
    text = page(PEERS, state, failed, options.steps, options.rounds)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    if options.docs:
        document = options.docs.read_text(encoding="utf-8")
        options.docs.write_text(included(document, text, BEGIN, END), encoding="utf-8")
    if not failed and set(names) <= set(state) and not options.only:
        options.state.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
