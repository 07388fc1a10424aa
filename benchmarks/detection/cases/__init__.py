"""All cases, by what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.detection.cases import attention, convolutional, generative, lookalikes, plain, practice, sequences, zoo

if TYPE_CHECKING:
    from benchmarks.detection.case import Case

MODULES = (plain, convolutional, sequences, attention, generative, practice, lookalikes, zoo)


def all_cases() -> tuple[Case, ...]:
    """Return every case, in the order of the modules.

    Raises:
        ValueError: two cases have one name, or a twin does not exist or is not healthy.
    """
    cases = [case for module in MODULES for case in module.CASES]
    by_name = {case.name: case for case in cases}
    if len(by_name) < len(cases):
        names = [case.name for case in cases]
        message = f"names must be unique, but these are used twice: {sorted({n for n in names if names.count(n) > 1})}."
        raise ValueError(message)
    for case in cases:
        twin = by_name.get(case.twin)
        if not case.healthy and (twin is None or not twin.healthy or twin.architecture != case.architecture):
            message = (
                f"{case.name}: its twin {case.twin!r} must be a healthy case of architecture {case.architecture!r}."
            )
            raise ValueError(message)
    return tuple(cases)
