"""What to do where steps are too large because the loss itself is: its targets, a term, a factor, a temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from init_monitor.records import History

OUTSIZED = 30.0
"""A first loss above this is not that of an untrained network: guessing among a million classes costs 14, the squared
error of standardised targets is about 1."""


def first_loss(history: History) -> float:
    """Return the size of the loss at step 0 if it is far above what any guess costs; 0 if it is not, or is not known."""
    losses = history.losses
    if not len(losses) or losses.steps[0] != 0 or history.records[0].step != 0:
        return 0.0
    size = abs(float(losses.values[0]))
    return size if size > OUTSIZED else 0.0


def before_the_rate(history: History) -> str:
    """Return what to look at before the learning rate, in sentences; empty where the loss began at a usual size."""
    size = first_loss(history)
    if not size:
        return ""
    return (
        f"The first loss was {phrases.number(size)}, where guessing among ten classes costs 2.3 and standardised targets about 1:"
        " look at what makes it so large. Standardise the targets (rewards, returns) to mean 0 and variance 1, give a loss term"
        " that outweighs the rest a smaller weight, take the mean over the batch and not the sum (reduction), raise a temperature"
        " that the output is divided by. "
    )
