"""``init-monitor explain CODE``: the page of a rule, in the terminal."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown

from init_monitor.display.formatting import spelled
from init_monitor.errors import OptionError
from init_monitor.rules import DEFAULT_RULES
from init_monitor.rules.rule_page import all_pages, page_of

if TYPE_CHECKING:
    from init_monitor.rules.rule import Rule

WIDTH = 100
"""Columns of a page at most: longer lines are hard to read."""


def main(code: str | None, *, markdown: bool = False) -> int:
    """Print the page of a rule.

    Args:
        code: of the rule, or its name; ``None`` for all rules.
        markdown: print the Markdown itself, as ``docs/rules.md`` has it.

    Raises:
        OptionError: there is no such rule; the message names those there are.
    """
    if markdown:
        page = all_pages(DEFAULT_RULES) if code is None else page_of(rule_called(code)).markdown()
        sys.stdout.write(page)
        return 0
    rules = DEFAULT_RULES if code is None else (rule_called(code),)
    console = Console()
    for rule in rules:
        text = spelled(page_of(rule).markdown(listed=True), console.encoding)
        console.print(Markdown(text), width=min(WIDTH, console.width))
    return 0


def rule_called(code: str) -> Rule:
    """Return the rule with this code or name, in upper or lower case.

    >>> rule_called("im301").name, rule_called("Dead-ReLU").code
    ('dead-relu', 'IM301')

    Raises:
        OptionError: there is none; the message names those there are.
    """
    wanted = code.strip().casefold().replace("_", "-")
    by_word = {word.casefold(): rule for rule in DEFAULT_RULES for word in (rule.code, rule.name)}
    if wanted in by_word:
        return by_word[wanted]
    near = get_close_matches(wanted, by_word, n=1, cutoff=0.5)
    hint = f" Did you mean {by_word[near[0]].code} {by_word[near[0]].name}?" if near else ""
    known = ", ".join(f"{rule.code} {rule.name}" for rule in DEFAULT_RULES)
    message = f"there is no rule {code!r}.{hint} The rules are: {known}."
    raise OptionError(message)
