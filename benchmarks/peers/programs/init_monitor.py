"""This project's callback, with the rules and the default sinks: console, logger, run store."""

from __future__ import annotations

from benchmarks.peers.loops import lightning


def fit(network: str, steps: int, option: str, *, watched: bool) -> list[float]:
    """Train, every step measured if ``watched``; the option is ``measure``."""
    if not watched:
        return lightning(network, steps, [])
    from init_monitor import InitMonitor  # noqa: PLC0415 - its base class is that of the Lightning in use

    return lightning(network, steps, [InitMonitor(dense_steps=steps, measure=option)])  # type: ignore[arg-type]
