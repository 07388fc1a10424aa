"""Names under which quantities are written: TensorBoard tags, and the version of every format."""

from __future__ import annotations

from functools import cache

PLUGIN_NAME = "init_monitor"
SCHEMA_VERSION = 1
"""Version of the run store, the JSON report and the TensorBoard payload; raised when a reader must change."""

LAYOUT_TAG = f"{PLUGIN_NAME}/layout"
FINDINGS_TAG = f"{PLUGIN_NAME}/findings"
LOSSES_TAG = f"{PLUGIN_NAME}/losses"
WIDTHS_TAG = f"{PLUGIN_NAME}/widths"
"""A coordinate check: a file of its own, beside the runs."""
LOSS_SCALAR_TAG = f"{PLUGIN_NAME}_summary/loss"


@cache
def vector_tag(quantity: str) -> str:
    """Return the TensorBoard tag of a quantity's vector.

    >>> vector_tag("variance")
    'init_monitor/variance'
    """
    return f"{PLUGIN_NAME}/{quantity}"


@cache
def scalar_tag(quantity: str, statistic: str) -> str:
    """Return the tag of one summary scalar, for instance the median over depth.

    >>> scalar_tag("variance", "median")
    'init_monitor_summary/variance/median'
    """
    return f"{PLUGIN_NAME}_summary/{quantity}/{statistic}"
