"""What is known of the rows of tables (embeddings); they are listed in :mod:`init_monitor.records.quantities`."""

from __future__ import annotations

from init_monitor.records.facts import Facts, Form, Group, Of

# Three or four lines per entry, so that the table can be read at a glance.
# fmt: off

USED = Facts(
    of=Of.PARAMETER, group=Group.PARAMETER, title="Rows looked up", short="rows looked up", form=Form.SHARE,
    means="share of a table's rows (an embedding's) that the sampled steps have looked up so far: the others have learned nothing",
    explains="Share of an embedding's rows that were looked up in any sampled step so far. What is not looked up is not trained.",
    in_events=True,
)
COUNT = Facts(
    of=Of.PARAMETER, group=Group.PARAMETER, title="Rows of the table", unit="rows", form=Form.COUNT,
    means="rows of a table that was looked up",
)
FIRST = Facts(
    of=Of.PARAMETER, group=Group.PARAMETER, title="First row looked up", unit="row", form=Form.COUNT,
    means="smallest index of a table that the sampled steps have looked up so far",
)
LAST = Facts(
    of=Of.PARAMETER, group=Group.PARAMETER, title="Last row looked up", unit="row", form=Form.COUNT,
    means="largest index of a table that the sampled steps have looked up so far",
)
IN_ORDER = Facts(
    of=Of.PARAMETER, group=Group.PARAMETER, title="Rows in order", form=Form.SHARE,
    means="share of the lookups of a row that is the same as, or next to, the one looked up before: near 1 of positions and of types of tokens, near 0 of tokens",
)
PADDING_ALONE = Facts(
    of=Of.PARAMETER, group=Group.PARAMETER, title="Padding between tokens", form=Form.SHARE,
    means="share of the lookups of a table's padding_idx that stand between two other rows; padding itself comes in runs",
)
