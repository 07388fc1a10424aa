"""What is known of the quantities of attention heads; they are listed in :mod:`init_monitor.records.quantities`."""

from __future__ import annotations

import math

from init_monitor.records.facts import Cell, Facts, Form, Group, Heading, Of, Page

# Three or four lines per entry, so that the table can be read at a glance.
# fmt: off

LOGIT_MAX = Facts(
    of=Of.HEAD, group=Group.ATTENTION, title="Largest attention logit", short="max |logit|",
    means="largest |q·k · scale| of the rows looked at, before masks and biases; masked keys do not count",
    explains="Largest attention logit of each head, before mask and bias. Beyond about 50 training tends to diverge.",
    healthy=(0.0, 50.0), summary=("median", "max"), pages=(Page.ATTENTION,),
    heading=Heading("max\n|logit|", gives_way=1), in_events=True, keeps_largest=True,
)
LOGIT_RMS = Facts(
    of=Of.HEAD, group=Group.ATTENTION, title="Attention logits, rms", short="logit rms",
    means="root mean square of q·k · scale over the rows looked at, before masks and biases",
    explains="Root mean square of each head's attention logits. About 1 or less at the start; √head_dim if the scale 1/√d is missing.",
    centre=1.0, summary=("median", "max"), pages=(Page.ATTENTION,),
    heading=Heading("logit\nrms", gives_way=0), in_events=True,
)
ENTROPY = Facts(
    of=Of.HEAD, group=Group.ATTENTION, title="Attention entropy", short="entropy", form=Form.SHARE,
    means="entropy of a row's weights over ln T, T the number of keys that the row may see; mean over rows",
    explains="How widely a head looks: 1 if all keys that it may see weigh the same, 0 if it looks at one.",
    summary=("min", "median"), pages=(Page.ATTENTION,),
    absent="This network has no attention, or none that can be read.",
    heading=Heading("entropy", Cell.PERCENT, gives_way=0), in_events=True, compared="attention entropy",
)
ONE_PLACE = Facts(
    of=Of.HEAD, group=Group.ATTENTION, title="Rows that look at one place", short="one place", form=Form.SHARE,
    means="share of rows with more than 0.9 of their weight on one key",
    explains="Share of a head's rows that give nearly all their weight to one key. No gradient reaches its logits there.",
    summary=("median", "max"), pages=(Page.ATTENTION,),
    heading=Heading("one\nplace", Cell.PERCENT, gives_way=0), in_events=True,
)
FIRST = Facts(
    of=Of.HEAD, group=Group.ATTENTION, title="Rows that look at the first key", short="first key", form=Form.SHARE,
    means="share of rows with more than half of their weight on the first key",
    explains="Share of a head's rows that look at the first token: where a head puts what it does not need.",
    pages=(Page.ATTENTION,), heading=Heading("first\nkey", Cell.PERCENT, gives_way=2), in_events=True,
)
KEYS = Facts(
    of=Of.HEAD, group=Group.ATTENTION, title="Keys per row", unit="keys", form=Form.COUNT,
    means="T, the number of keys that a row may see; mean over the rows looked at", healthy=(2.0, math.inf),
)
ROWS = Facts(
    of=Of.HEAD, group=Group.ATTENTION, title="Rows looked at", unit="rows", form=Form.COUNT,
    means="rows behind these numbers: those that were chosen and see at least two keys",
)

# fmt: on
