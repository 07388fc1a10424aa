"""Programs of further public reports, re-made by somebody who had not seen the rules: each a file as its author might have written it.

They were held out: written, measured without the monitor, given their right answers and frozen before the rules were looked at.
``reports`` were so in the first round, ``later_reports`` in the second, when the rules had been changed for the first, and
``foreign_reports`` in the third.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.field.held_out import cases_in

FIELD = Path(__file__).parents[1]

CASES = (
    *cases_in(FIELD / "reports"),
    *cases_in(FIELD / "later_reports"),
    *cases_in(FIELD / "foreign_reports"),
)
