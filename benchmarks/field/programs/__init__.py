"""All programs, by what is wrong with them; the last modules hold those of which nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.field.programs import (
    connections,
    dead_ends,
    endings,
    healthy_games,
    healthy_networks,
    healthy_optimizers,
    healthy_parts,
    inputs,
    numbers,
    objectives,
    paces,
    public_reports,
    rates,
    reported_networks,
    reported_programs,
    representations,
    scales,
    schedules,
    silent_mistakes,
    unheld,
)

if TYPE_CHECKING:
    from benchmarks.field.case import Case

MODULES = (
    *(reported_networks, reported_programs, public_reports),
    *(connections, schedules, rates, inputs, numbers, dead_ends, scales, objectives, representations),
    *(unheld, paces, endings),
    *(silent_mistakes, healthy_optimizers, healthy_networks, healthy_parts, healthy_games),
)


def all_cases() -> tuple[Case, ...]:
    """Return every case, in the order of the modules.

    Raises:
        ValueError: two cases have one name.
    """
    cases = [case for module in MODULES for case in module.CASES]
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"names must be unique, but these are used twice: {twice}."
        raise ValueError(message)
    return tuple(cases)
