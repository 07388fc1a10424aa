"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from init_monitor import __version__
from init_monitor.errors import InitMonitorError
from init_monitor.randomness import kept_randomness

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from init_monitor.store import StoredRun

    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name

_BAD_INPUT = 2
"""Exit status for errors that the caller can correct; argparse uses the same."""
_INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 plus the number of the signal, as shells count."""

_EXPLORER_FILE = "init_monitor_explorer.html"

_RUN_HELP = "log directory of the run; DIRECTORY@2 is the second of several in one directory"

_STORE_PARTS = frozenset({"init_monitor", "run.jsonl"})
"""Ends of a path that lead to a run's store without naming the run."""


@kept_randomness()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``init-monitor`` and return its exit status.

    Args:
        arguments: the words after the program's name; ``None`` takes them from the process.

    Returns:
        0 if all went well, 1 if ``check`` made a critical finding, 2 if something the caller can correct is wrong (also
        if a run could only be read in part: that part is shown), 130 after Ctrl-C.

    Raises:
        SystemExit: from argparse, after ``--help``, ``--version`` or an unknown argument.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except InitMonitorError as error:
        _say(str(error))
        return _BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("init-monitor: interrupted.\n")
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="init-monitor",
        description="Watches how the signal flows through a PyTorch network while it trains, "
        "and says which layer is wrong and what to change.",
    )
    parser.add_argument("--version", action="version", version=f"init-monitor {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for add in (_add_demo, _add_check, _add_report, _add_compare, _add_explain, _add_explore):
        add(commands)
    return parser


def _add_demo(commands: _Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="train one network twice, badly and well initialised, and show what the monitor says",
        description="Trains a 30-layer ReLU network on handwritten digits twice: once with an initialisation that lets "
        "the signal vanish, once with He's. Needs scikit-learn and no network; takes about half a minute.",
    )
    demo.add_argument("--fast", action="store_true", help="fewer epochs: a few seconds, less to see")
    demo.add_argument(
        "--log-dir",
        type=Path,
        default=Path("init_monitor_demo"),
        metavar="DIR",
        help="where both runs are written (default: %(default)s)",
    )
    demo.set_defaults(run=_demo)


def _add_check(commands: _Commands) -> None:
    check = commands.add_parser(
        "check",
        help="look at a network before it trains: signal propagation, findings, and how to initialise it",
        description="Calls FACTORY of MODULE, runs the network it returns once forward and backward, and prints what the "
        "monitor says and what to change. Exit status 1 if there is a critical finding, for use in CI.",
    )
    check.add_argument(
        "factory",
        metavar="MODULE:FACTORY",
        help="a function without arguments that returns (model, batch), (model, batch, loss_fn) or a LightningModule",
    )
    check.add_argument(
        "--seed", type=int, default=0, help="torch's seed before FACTORY is called (default: %(default)s)"
    )
    check.add_argument("--code", action="store_true", help="print the function that initialises the network, to paste")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE as well")
    check.set_defaults(run=_check)


def _add_report(commands: _Commands) -> None:
    report = commands.add_parser(
        "report",
        help="show what a run's monitor saw: on the console, or as an HTML page, Markdown or JSON",
        description="Reads the run that init_monitor stored next to its logs; the run may still be in progress. "
        "Without an option it prints to the console.",
    )
    report.add_argument("run_directory", metavar="RUN", type=Path, help=_RUN_HELP)
    forms = report.add_mutually_exclusive_group()
    _html_option(forms, "init_monitor_report.html")
    forms.add_argument("--json", action="store_true", help="print as JSON")
    forms.add_argument("--md", action="store_true", help="print as Markdown, for a pull request")
    report.set_defaults(run=_report)


def _add_compare(commands: _Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="show what differs between two runs: settings, layers, findings, numbers",
        description="Reads two runs that init_monitor stored next to their logs and prints what differs.",
    )
    compare.add_argument("run_directories", metavar="RUN", type=Path, nargs=2, help=_RUN_HELP)
    _html_option(compare, "init_monitor_comparison.html")
    compare.set_defaults(run=_compare)


def _add_explain(commands: _Commands) -> None:
    explain = commands.add_parser(
        "explain",
        help="what a rule looks for, why, and what to do about it",
        description="Prints the page of a rule: what it fires on, why that matters, an example, the remedy, where the "
        "expectation comes from, and its thresholds with their reasons. Without CODE: of every rule.",
    )
    explain.add_argument("code", metavar="CODE", nargs="?", help="code or name of a rule, as a finding shows it: IM301")
    explain.add_argument("--md", action="store_true", help="print the Markdown itself")
    explain.set_defaults(run=_explain)


def _add_explore(commands: _Commands) -> None:
    explore = commands.add_parser(
        "explore",
        help="a page to play with: what initial weights do to signal, gradients and training",
        description="Writes one self-contained HTML page that computes networks in the browser: variance over depth, weight "
        "distributions, signal propagation and a training race, by recipe, activation and residual form.",
    )
    explore.add_argument(
        "factory",
        metavar="MODULE:FACTORY",
        nargs="?",
        help="a function as check takes it: the page then also shows its network, and what each recipe makes of it",
    )
    explore.add_argument(
        "--seed", type=int, default=0, help="torch's seed before FACTORY is called (default: %(default)s)"
    )
    _html_option(explore, _EXPLORER_FILE, always=True)
    explore.add_argument("--open", action="store_true", help="open the page in the browser")
    explore.set_defaults(run=_explore)


def _html_option(parser: argparse._ActionsContainer, default: str, *, always: bool = False) -> None:
    parser.add_argument(
        "--html",
        type=Path,
        nargs="?",
        const=Path(default),
        default=Path(default) if always else None,
        metavar="FILE",
        help=f"write one self-contained HTML page with all pictures (default FILE: {default})",
    )


def _demo(options: argparse.Namespace) -> int:
    # By name: `init-monitor --version` must not wait for torch.
    demo = import_module("init_monitor.demo")
    return int(demo.main(options.log_dir, fast=options.fast))


def _check(options: argparse.Namespace) -> int:
    command = import_module("init_monitor.check_command")
    return int(command.main(options.factory, seed=options.seed, code=options.code, json=options.json))


def _report(options: argparse.Namespace) -> int:
    from init_monitor.report import Report  # noqa: PLC0415 - numpy and rich only where they are needed
    from init_monitor.store import read_run  # noqa: PLC0415

    run = read_run(options.run_directory)
    status = _noticed([run])
    newest = run.headers[-1]
    report = Report(
        tuple(run.records), tuple(run.findings), run.structure, dict(newest.settings), dict(newest.versions)
    )
    if options.html is not None:
        _write(options.html, report.to_html(name=_run_names([options.run_directory])[0]))
    elif options.json:
        sys.stdout.write(report.to_json() + "\n")
    elif options.md:
        from init_monitor.display.formatting import spelled  # noqa: PLC0415

        # Not every terminal, nor every pipe on Windows, can encode mathematical signs.
        sys.stdout.write(spelled(report.to_markdown(), sys.stdout.encoding or "utf-8"))
    else:
        _print(report)
    return status


def _compare(options: argparse.Namespace) -> int:
    from init_monitor.comparison import RunComparison  # noqa: PLC0415 - numpy and rich only where they are needed
    from init_monitor.store import read_run  # noqa: PLC0415

    first, second = options.run_directories
    names = _run_names([first, second])
    runs = read_run(first), read_run(second)
    status = _noticed(runs)
    comparison = RunComparison((names[0], names[1]), runs)
    if options.html is not None:
        _write(options.html, comparison.to_html())
    else:
        _print(comparison)
    return status


def _explain(options: argparse.Namespace) -> int:
    command = import_module("init_monitor.explain_command")
    return int(command.main(options.code, markdown=options.md))


def _explore(options: argparse.Namespace) -> int:
    if options.factory is None:
        from init_monitor.page.explorer_page import explorer_page  # noqa: PLC0415 - only where it is needed

        page = explorer_page()
    else:
        # By name: without a network of one's own torch is not needed.
        page = str(import_module("init_monitor.explore_command").page_of(options.factory, seed=options.seed))
    _write(options.html, page)
    if options.open:
        import webbrowser  # noqa: PLC0415

        webbrowser.open(options.html.absolute().as_uri())
    return 0


def _noticed(runs: Sequence[StoredRun]) -> int:
    """Print to stderr what is odd about the files, and return the matching exit status."""
    for notice in dict.fromkeys(notice for run in runs for notice in run.notices):
        _say(notice)
    return _BAD_INPUT if any(run.skipped for run in runs) else 0


def _say(sentence: str) -> None:
    from init_monitor.records.quoting import printable  # noqa: PLC0415 - it brings numpy

    sys.stderr.write(f"init-monitor: {printable(sentence, lines=True)}\n")


def _print(shown: object) -> None:
    from rich.console import Console  # noqa: PLC0415 - only where it is needed

    Console().print(shown)


def _write(path: Path, page: str) -> None:
    from init_monitor.records.quoting import quoted_path  # noqa: PLC0415 - it brings numpy

    try:
        path.write_text(page, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        message = f"cannot write {quoted_path(path)}: {reason or error}; give another file with --html FILE"
        raise InitMonitorError(message) from error
    sys.stdout.write(f"Written to {quoted_path(path)}: open it in a browser.\n")


def _run_names(paths: Sequence[Path]) -> list[str]:
    """Return the end of each path, long enough to tell the runs apart."""
    from init_monitor.records.quoting import quoted_path  # noqa: PLC0415 - it brings numpy
    from init_monitor.store.places import named_run  # noqa: PLC0415

    named = [named_run(path) for path in paths]
    parts = [[part for part in path.absolute().parts if part not in _STORE_PARTS] for path, _ in named]
    ends = ["" if number is None else f"@{number}" for _, number in named]
    for length in range(1, max(map(len, parts)) + 1):
        names = [quoted_path("/".join(one[-length:]) + end) for one, end in zip(parts, ends, strict=True)]
        if len(set(names)) == len(names):
            return names
    # The same run twice: it is compared with itself.
    return [f"{name} ({k})" for k, name in enumerate(names, start=1)]
