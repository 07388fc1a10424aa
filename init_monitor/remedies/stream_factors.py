"""What to say and do about a number, or a tensor, that the forward multiplies a residual stream by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.stream_factors import On
from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from init_monitor.analysis.stream_factors import StreamFactor


def told(found: StreamFactor) -> str:
    """Return the sentence that names the factor."""
    square = phrases.number(found.factor**2)
    if found.on is On.AGAIN:
        return (
            "The skip of each block is added twice, x + (x + F(x)): its sum holds the skip already, and adding that once more makes"
            f" the variance {square} times as large at every block, whatever the weights are."
        )
    one = len(found.residuals) == 1
    whose = f"of {found.residuals[0].name}" if one else "of each block"
    pace = "" if one or found.on is On.BRANCH else " at every block"
    by = f"a tensor of {phrases.number(found.factor)} (rms, measured)" if found.tensor else phrases.number(found.factor)
    return (
        f"The forward multiplies the {found.on.value} {whose} by {by}, {_formula(found)}, and so its"
        f" variance by {square}{pace}, whatever the weights of its layers are."
    )


def remedy(found: StreamFactor) -> str:
    """Return what to do about it."""
    owners = list(dict.fromkeys(one.owner for one in found.residuals))
    where = f"the forward of {phrases.names(owners)}" if all(owners) else "the model's forward"
    modest = ""
    if found.on is On.AGAIN:
        return (
            f"Add the skip once. Look in {where}, and at what calls it: what the block returns is x + F(x) already, and x is added"
            " to that again. A new initialisation leaves it there."
        )
    if found.tensor:
        begin = "near 0" if found.on is On.BRANCH else "at 1"
        return (
            f"Begin with that tensor {begin}: set the parameter (or buffer) that {where} multiplies the {found.on.value} by, where"
            f" {_place(found)}. A new initialisation of the layers leaves it as it is."
        )
    if found.on is On.SUM:
        modest = " 1/sqrt(2) is what keeps the variance of a sum of two."
    elif found.on is On.BRANCH:
        modest = " A branch needs none above 1; with 1/sqrt(L) for L blocks a deep stream keeps its size."
    return (
        f"Take the factor of {phrases.number(found.factor)} away. Look in {where}, where {_place(found)}: a new initialisation"
        f" leaves it there.{modest}"
    )


def _place(found: StreamFactor) -> str:
    if found.on is On.SUM:
        return "the sum is made, and at what happens to it before the next block"
    return f"the {found.on.value} enters the sum"


def _formula(found: StreamFactor) -> str:
    number = phrases.number(found.factor)
    return {
        On.SUM: f"(x + F(x)) · {number}",
        On.SKIP: f"{number} · x + F(x)",
        On.BRANCH: f"x + {number} · F(x)",
    }[found.on]
