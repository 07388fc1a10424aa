"""Puts the explorer into the site, as it is made when the site is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mkdocs.structure.files import File

from init_monitor.page.explorer_page import explorer_page

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``explorer.html`` beside the pages."""
    files.append(File.generated(config, "explorer.html", content=explorer_page()))
    return files
