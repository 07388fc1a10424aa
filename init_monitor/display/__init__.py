"""Anything that is drawn: tables, panels, bars, heatmaps and the formatting of their numbers."""

from init_monitor.randomness import kept_randomness

with kept_randomness():
    import rich.console  # noqa: F401 - its first import draws a random number: not at the expense of a training
