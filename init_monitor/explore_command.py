"""``init-monitor explore MODULE:FACTORY``: the explorer with a network of one's own in it."""

from __future__ import annotations

from init_monitor.errors import InitMonitorError
from init_monitor.explored_network import explored_network
from init_monitor.factories import not_run, subject_of
from init_monitor.page.explorer_page import explorer_page


def page_of(factory: str, *, seed: int = 0) -> str:
    """Return the file.

    Args:
        factory: ``package.module:function``; the current directory is searched, too.
        seed: torch's seed before the function is called.

    Raises:
        InitMonitorError: there is no such function, or what it makes does not run.
    """
    subject = subject_of(factory, "explore", seed)
    try:
        network = explored_network(subject.model, subject.batch, subject.loss_fn, name=factory)
    except InitMonitorError:
        raise
    except Exception as error:
        raise not_run(factory, error) from error
    return explorer_page(network)
