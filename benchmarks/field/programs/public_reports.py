"""Programs of further public reports, re-made by somebody who had not seen the rules: each a file as its author might have written it.

They were held out: written, measured without the monitor, given their right answers and frozen before the rules were looked at.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.field.held_out import cases_in

CASES = cases_in(Path(__file__).parents[1] / "reports")
