"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from init_monitor import __version__
from init_monitor.errors import InitMonitorError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BAD_INPUT = 2
"""Exit status for what the caller can put right; argparse uses the same."""
_INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 plus the number of the signal, as shells count."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``init-monitor`` and return its exit status.

    Args:
        arguments: the words after the program's name; ``None`` takes them from the process.

    Returns:
        0 if all went well, 1 if ``check`` made a critical finding, 2 if something the caller can put right is wrong, 130 after Ctrl-C.

    Raises:
        SystemExit: from argparse, after ``--help``, ``--version`` or an unknown argument.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except InitMonitorError as error:
        sys.stderr.write(f"init-monitor: {error}\n")
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
    return parser


def _check(options: argparse.Namespace) -> int:
    command = import_module("init_monitor.check_command")
    return int(command.main(options.factory, seed=options.seed, code=options.code, json=options.json))


def _demo(options: argparse.Namespace) -> int:
    # By name: `init-monitor --version` must not wait for torch.
    demo = import_module("init_monitor.demo")
    return int(demo.main(options.log_dir, fast=options.fast))
