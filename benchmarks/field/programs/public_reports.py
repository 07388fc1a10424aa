"""Programs of further public reports, re-made by somebody who had not seen the rules: each a file as its author might have written it.

They were held out: written, measured without the monitor, given their right answers and frozen before the rules were looked at.
``reports`` were so in the first round, ``later_reports`` in the second, when the rules had been changed for the first, and
``strange_reports`` and ``foreign_reports`` in the third, when they had been changed for the second; ``found_reports`` in the
fourth, and with them ``practice_reports``: networks of practice with mistakes of their wiring and their start;
``plain_reports`` in the fifth: what beginners ask most often; ``daily_reports`` in the sixth: what people report every day, of beginners
and others.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.field.held_out import cases_in

FIELD = Path(__file__).parents[1]

FOLDERS = (
    "reports",
    "later_reports",
    "strange_reports",
    "foreign_reports",
    "found_reports",
    "practice_reports",
    "plain_reports",
    "daily_reports",
)
"""One for each round."""

CASES = tuple(case for folder in FOLDERS for case in cases_in(FIELD / folder))
"""All of them; the last round's are at the end."""
