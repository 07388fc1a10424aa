"""The explorer as one HTML file: the page's modules, its own, and the digits; nothing is loaded from anywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from init_monitor.page.bundle import EXPLORER, explorer_style, script, style
from init_monitor.page.recipe_facts import WARNS

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "init-monitor-explorer"
DATA = "init-monitor-explorer-data"


def explorer_page(network: Mapping[str, Any] | None = None) -> str:
    """Return the file.

    Args:
        network: what :func:`init_monitor.explored_network.explored_network` measured of a network of one's own.
    """
    given = {
        "warns": WARNS,
        "network": network,
        "digits": (EXPLORER / "digits.txt").read_text(encoding="ascii").replace("\n", ""),
    }
    text = json.dumps(given, allow_nan=False).replace("<", "\\u003c")
    start = (
        f'const initMonitorExplorer = initMonitorPage.renderExplorer(document.getElementById("{ROOT}"), '
        f'document.getElementById("{DATA}").textContent);'
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Initialisation explorer · init-monitor</title><style>{style()}{explorer_style()}</style></head>\n"
        f'<body><div id="{ROOT}"></div><script type="application/json" id="{DATA}">{text}</script>'
        f"<script>{script('explore.js')}{start}</script></body></html>\n"
    )
