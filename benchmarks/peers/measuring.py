"""Runs one monitor in its environment, in a process of its own: ``python -m benchmarks.peers.measuring NAME OUT``."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.clients.newer_torch import supply
from benchmarks.peers.networks import NETWORKS
from benchmarks.peers.peer import PEERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Fit = Callable[[bool, str, int], list[float]]

WARM = 2
"""Steps at the start of a training that are not counted: memory is allocated in them, and hooks are put on."""

WAITS_SEEN = (2, 4)
"""Steps of the two trainings whose difference gives what one step waits."""


def ratio(plain: Sequence[float], watched: Sequence[float]) -> float:
    """Return the median step of one training over that of another, both without their first steps.

    >>> ratio([9, 9, 1.0, 1.0, 1.2], [9, 9, 2.0, 2.4, 2.0])
    2.0
    """
    return statistics.median(watched[WARM:]) / statistics.median(plain[WARM:])


def measured(fit: Fit, steps: int, rounds: int) -> dict[str, list[float]]:
    """Return the ratio of each round, by network; in a round each training is followed by the watched one."""
    found: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for _ in range(rounds):
        for name, ratios in found.items():
            plain = fit(False, name, steps)  # noqa: FBT003 - first without
            ratios.append(ratio(plain, fit(True, name, steps)))  # noqa: FBT003
    return found


@contextlib.contextmanager
def counted() -> Iterator[list[int]]:
    """Count what on a GPU makes the host wait: numbers read out of tensors, and copies to the CPU; in a list's only element."""
    count = [0]
    originals = {name: getattr(torch.Tensor, name) for name in ("cpu", "tolist", "to")}

    def moves_to_host(*args: Any, **options: Any) -> bool:  # noqa: ANN401
        # By its name: a device that is handed on is the network's own, on a GPU another one.
        return any(isinstance(place, str) and place == "cpu" for place in (*args[1:2], options.get("device")))

    def wrapped(name: str) -> Callable[..., Any]:
        def method(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            count[0] += name != "to" or moves_to_host(*args, **options)
            return originals[name](*args, **options)

        return method

    for name in originals:
        setattr(torch.Tensor, name, wrapped(name))
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            yield count
        count[0] += sum(event.name == "aten::_local_scalar_dense" for event in profiler.events() or ())
    finally:
        for name, original in originals.items():
            setattr(torch.Tensor, name, original)


def waits(fit: Fit, name: str) -> int:
    """Return how often a watched step makes the host wait, beyond an unwatched one."""

    def per_step(*, watched: bool) -> float:
        counts = []
        for steps in WAITS_SEEN:
            with counted() as count:
                fit(watched, name, steps)
            counts.append(count[0])
        return (counts[1] - counts[0]) / (WAITS_SEEN[1] - WAITS_SEEN[0])

    return round(per_step(watched=True) - per_step(watched=False))


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of a monitor of benchmarks.peers.peer")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    supply()
    (peer,) = (one for one in PEERS if one.name == arguments.name)
    program = import_module(f"benchmarks.peers.programs.{peer.program}")

    def fit(watched: bool, network: str, steps: int) -> list[float]:  # noqa: FBT001 - see Fit
        times: list[float] = program.fit(network, steps, peer.option, watched=watched)
        return times

    result = {
        "version": version(peer.distribution),
        "torch": torch.__version__,
        "ratios": measured(fit, arguments.steps, arguments.rounds),
        "waits": waits(fit, "ResNet-18"),
    }
    arguments.out.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
