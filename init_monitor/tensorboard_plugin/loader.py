"""What TensorBoard loads at its start. No error in here may stop it."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tensorboard.plugins import base_plugin

if TYPE_CHECKING:
    import argparse

PLUGIN_NAME = "init_monitor"
"""As in ``records.tags.PLUGIN_NAME``, which is not imported: this module must load when the rest of the package does not."""

SAMPLES = 10_000
"""Sampled steps of a quantity that TensorBoard keeps in memory; its own default for tensors is 10. More is thinned at
random. 100 layers cost 4 MB per quantity then."""

_log = logging.getLogger("tensorboard")


class InitMonitorLoader(base_plugin.TBLoader):  # type: ignore[misc]
    """Creates the plugin, or logs in one line why there is none."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Ask TensorBoard to keep more than ten steps, unless the user chose a number."""
        try:
            # The fast loader reads the same flag.
            flags.samples_per_plugin = {PLUGIN_NAME: SAMPLES, **(flags.samples_per_plugin or {})}
        except Exception as error:  # noqa: BLE001 - whatever it is, TensorBoard must start
            _log.warning("init_monitor shows only a few steps: TensorBoard's flags could not be set (%s)", error)

    def load(self, context: Any) -> base_plugin.TBPlugin | None:  # noqa: ANN401 - TensorBoard has no types
        """Return the plugin, or ``None`` if it cannot be loaded."""
        try:
            plugin = import_module("init_monitor.tensorboard_plugin.plugin")
            return plugin.InitMonitorPlugin(context)
        except Exception as error:  # noqa: BLE001 - whatever it is, TensorBoard must start
            _log.warning(
                "there is no Init Monitor tab: the installation of init-monitor is broken (%s: %s); "
                "install it again with pip install --force-reinstall init-monitor",
                type(error).__name__,
                error,
            )
            return None
