"""The protocol of a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.records import Finding, History


@runtime_checkable
class Rule(Protocol):
    """Judges a window of records. Pure: it keeps nothing and changes nothing.

    ``code`` is stable (``"IM101"``); ``name`` is its plain name (``"exploding-activations"``). ``judge`` returns the
    findings that hold *now*: at most one per severity and group of layers. Repeats are suppressed for it.

    A rule judges for itself, as if it were the only one. Where another rule says the same thing better, it may have

    - ``yields_to``: codes of rules; where one of these has found something about a layer in the same judgement, at least as
      severe, this rule is silent about that layer (see :mod:`init_monitor.rules.yielding`).
    - ``speaks_for_all``: ``True`` if its findings are about the whole network, whatever layers they name: what yields to it
      then does so everywhere.
    - ``leaves(finding, other, structure)``: which layers of its ``finding`` are explained by the finding ``other`` of such a rule,
      where these are not simply the layers that both name.
    - ``follows``: codes of rules; where one of these was told at an earlier step, explains this and still stands, a finding of this
      rule is information (see :mod:`init_monitor.rules.following`); ``comes_of(finding, cause, structure)`` says whether it explains
      it, where that is not by the path between their layers.
    - ``whatever_the_loss``: ``True`` if its findings say that no answer depends on the input: that the loss has fallen then does not
      keep one from following from a case that is open still.
    - ``is_about_start(finding)``: whether a finding of its own is about how the network started. Once the loss has left the start
      behind, it is taken back to information; unless ``outlasts(finding, history)`` says that it holds however far the loss has fallen.
    - ``spreads``: ``False`` if further layers are not news (NaN is everywhere one step after it appeared).
    """

    @property
    def code(self) -> str:
        """Stable code."""
        ...

    @property
    def name(self) -> str:
        """Plain name."""
        ...

    def judge(self, history: History) -> Iterable[Finding]:
        """Return the findings that hold at ``history.last`` (the history has at least one record)."""
        ...
