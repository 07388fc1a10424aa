"""Programs in processes of their own that need not import torch anew: forked from one that has, and nothing above it.

``python forked_programs.py`` imports what lies below Lightning and takes most of the time that its import takes: torch, its
compiler, torchmetrics. Neither Lightning nor this package is among them. :class:`Forks` tells it what to run, as ``python``
would be told; each program has its own folder, environment, arguments and output, and ends as Python itself ends.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Forks:
    """The process that imported torch, and what asks it for others."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def run(
        self, *words: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -W ignore *words``, words being ``-c PROGRAM`` or ``FILE`` with its arguments."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with tempfile.TemporaryDirectory() as directory:
            said = {name: str(Path(directory, name)) for name in ("stdout", "stderr")}
            asked = {"words": words, "cwd": str(cwd), "env": dict(os.environ if env is None else env), **said}
            self._server.stdin.write(json.dumps(asked) + "\n")
            self._server.stdin.flush()
            ready, _, _ = select.select([self._server.stdout], [], [], timeout)
            if not ready:
                self._server.kill()
            answer = self._server.stdout.readline()
            texts = {name: Path(path).read_text("utf-8") for name, path in said.items() if Path(path).exists()}
        assert answer, f"no end within {timeout} s: {texts}"
        return subprocess.CompletedProcess(words, int(answer), **texts)


@contextmanager
def started() -> Iterator[Forks]:
    """Start the process that others are forked from, and end it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__],
        env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as server:  # fmt: skip
        yield Forks(server)
        assert server.stdin is not None
        server.stdin.close()


def _asked() -> dict[str, Any]:
    """Fork for every line that arrives and answer how it ended; what is returned is what the fork shall run."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asked: dict[str, Any] = json.loads(line)
            return asked
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()
    sys.exit()


def _become(asked: dict[str, Any]) -> None:
    """Take folder, environment and outputs."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for stream, target in ((0, os.devnull), (1, asked["stdout"]), (2, asked["stderr"])):
        flags = os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(target, flags)
        os.dup2(opened, stream)
        os.close(opened)
    first = "" if asked["words"][0] == "-c" else str(Path(asked["words"][0]).parent)
    given = [path for path in asked["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [first, *given]


def _run(words: list[str]) -> None:
    """Run as ``python *words`` does."""
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        main = vars(sys.modules["__main__"])
        for name in [name for name in main if not name.startswith("__")]:
            del main[name]
        del main["__file__"]
        main["__doc__"] = None
        exec(compile(words[1], "<string>", "exec", dont_inherit=True), main)  # noqa: S102 - the program that was asked for
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    import torchmetrics  # noqa: F401 - imports much, and so does Lightning

    # Forks share what was imported: none of them has to look through it, or copy it by looking.
    gc.collect()
    gc.freeze()
    _words = _asked()
    _become(_words)
    _run(_words["words"])
