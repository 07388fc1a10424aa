"""Write the drawn pictures of the documentation."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.pictures import charts, diagrams, terminals

DOCS = Path(__file__).parents[2] / "docs"


def pictures(docs: Path = DOCS) -> dict[str, str]:
    """Return every picture by the name of its file."""
    drawn = [
        diagrams.architecture,
        diagrams.storage,
        diagrams.distributed,
        diagrams.libraries,
        diagrams.integrations,
        diagrams.api,
        diagrams.measures,
        charts.training,
        charts.tutorial,
    ]
    made = {one.__name__: one().svg() for one in drawn}
    made |= {one.__name__: one(docs).svg() for one in (charts.detection, charts.cost, charts.theory)}
    shown = [
        terminals.rules,
        terminals.recipes,
        terminals.ci,
        terminals.notebooks,
        terminals.custom_rules,
    ]
    made |= {one.__name__: one() for one in shown}
    return {f"{name.replace('_', '-')}.svg": text for name, text in made.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DOCS / "images")
    out = parser.parse_args().out
    for name, text in pictures().items():
        (out / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(text) / 1000:.0f} kB")
