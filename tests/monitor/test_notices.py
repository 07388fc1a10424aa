"""Notices go to a terminal, and may name a layer."""

from __future__ import annotations

import pytest

from init_monitor.errors import InitMonitorWarning
from init_monitor.notices import Notices


def test_a_notice_holds_nothing_that_a_terminal_obeys() -> None:
    notices = Notices(strict=False)
    with pytest.warns(InitMonitorWarning) as caught:
        notices.tell("the layer a\x1b[2J\u202e is not measured")
    assert notices.told == ["the layer a\\x1b[2J\\u202e is not measured"]
    assert str(caught[0].message) == f"init_monitor: {notices.told[0]}"
