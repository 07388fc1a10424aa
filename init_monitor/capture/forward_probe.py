"""The structure probe at work: on for the forward of a sampled step, off before its backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.capture.attention import AttentionTaps
from init_monitor.capture.ends import EndTaps
from init_monitor.capture.functions import FunctionCalls
from init_monitor.capture.outer_loss import OuterLoss
from init_monitor.capture.residual import ResidualTaps
from init_monitor.capture.taps import Tap
from init_monitor.structure.probe import STOPPED, Probe
from init_monitor.torch_compat import is_training_signal, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from weakref import ref

    from torch import Tensor, nn

    from init_monitor.capture.hooks import LayerHooks
    from init_monitor.structure.sites import ActivationSite, MixingSite, ResidualSite


class ForwardProbe:
    """Sees residual additions and functional activations and has them measured.

    Args:
        model: the model whose forwards are probed.
        hooks: measures tensors and knows which have been.
        accepts: says of a functional activation's name whether it is to be watched.
        names: qualified names of the parameters by their ``id``.
        on_cause: told in words, once, why a forward was not looked into (torchscript, vmap, an error).
        on_notice: told in words, once, of a weight that is used by a function that is not known.

    Attributes:
        residuals: the taps of the additions.
        attentions, ends: those of the attentions, and of the logits and tables.
        on_leaves: told, after a forward, the tensors it used that require a gradient and that no operation made.
    """

    def __init__(  # noqa: PLR0913 - what to look at, and whom to tell
        self,
        model: nn.Module,
        hooks: LayerHooks,
        accepts: Callable[[str], bool],
        on_cause: Callable[[str], None],
        on_notice: Callable[[str], None] = lambda _: None,
        *,
        names: Mapping[int, str],
    ) -> None:
        """Prepare; nothing is on yet."""
        self._hooks = hooks
        self._accepts = accepts
        self._on_cause = on_cause
        self._on_notice = on_notice
        self.on_leaves: Callable[[Sequence[ref[Tensor]]], None] = lambda _: None
        self.ends = EndTaps(hooks, names)
        self.attentions = AttentionTaps(hooks, accepts, self._is_loss)
        self._probe = Probe(
            model,
            on_residual=self._residual,
            on_activation=self._activation,
            on_mixing=self._mixing,
            on_loss=self._loss,
            on_unknown=self._unknown,
            on_attention=self.attentions,
            on_ends=self.ends,
        )
        self._functions = FunctionCalls(hooks, self._probe)
        hooks.lineage, hooks.functions = self._probe, self._functions
        self._inside = False
        self._off = False
        self._told: set[str] = set()
        self.residuals = ResidualTaps(hooks)

    def begin_step(self) -> None:
        """Forget the additions and attentions of the step before."""
        self.residuals.order = {}
        self.attentions.begin_step()

    def enter(self) -> None:
        """Start looking; a forward that was not left is left first."""
        self.leave()
        if self._off:
            return
        self._probe.__enter__()
        self._inside = True

    def leave(self, output: object = None) -> OuterLoss | None:
        """Stop looking. What the probe knows only after a forward (nested additions, factors) is taken over here.

        Args:
            output: of the model, where its loss is computed after it.

        Returns:
            What is to hear of the cross entropies of that; ``None`` if the probe was not on.
        """
        if not self._inside:
            self._probe.settle()
            return None
        try:
            heard = OuterLoss(output, self._probe.maker_of, self.ends)
            self.attentions.end_forward()
            self.ends.end_forward()
            self.residuals.settle(self._probe.sites)
            arithmetic = self._probe.arithmetic
            self.residuals.forget(arithmetic.sums)
            ending = map(_stable, arithmetic.activations)
            self._functions.end_forward(self._probe.reduced, self._probe.shared, ending)
            for maker, frequency in self._probe.sines.items():
                if isinstance(maker, Tap):
                    maker.frequency = frequency
            for maker in self._probe.compared:
                if isinstance(maker, Tap):
                    maker.compared = True
            for maker, other in self._probe.answering_products.items():
                if isinstance(maker, Tap) and isinstance(other, Tap):
                    maker.times = other
            causes = list(self._probe.causes)
            self.on_leaves(self._probe.leaves)
        finally:
            self._probe.__exit__(None, None, None)
            self._inside = False  # not earlier: a probe that could not be left is left again on the way out
        for cause in causes:
            # A probe that failed in this model would fail at every step.
            self._off = self._off or STOPPED in cause
            if cause not in self._told:
                self._told.add(cause)
                self._on_cause(cause)
        return heard

    def _is_loss(self, path: str) -> bool:
        return self._functions.is_loss(path)

    def _residual(self, site: ResidualSite, skip: Tensor, branch: Tensor, total: Tensor) -> None:
        if self._hooks.paused or self._functions.is_loss(site.owner) or not is_training_signal():
            return
        with unseen():
            self.residuals.take(site, skip, branch, total)

    def _activation(self, site: ActivationSite, given: Tensor | None, output: Tensor) -> None:
        name = _stable(site.name)
        if self._accepts(name):
            self._functions.activation(name, site, given, output)

    def _mixing(self, site: MixingSite, given: Tensor, output: Tensor) -> None:
        if self._accepts(site.name):
            self._functions.mixing(site, given, output)

    def _unknown(self, path: str, weight: str, function: str) -> None:
        if path in self._hooks.layers or self._functions.is_loss(path) or f"{path} {function}" in self._told:
            return
        self._told.add(f"{path} {function}")
        message = f"{weight!r} is used by {function}, which is not known to be a layer, so its output is not measured."
        self._on_notice(f"{message} include={path!r} has the module measured as a whole." if path else message)

    def _loss(self, path: str) -> None:
        self._functions.loss(path)
        self.residuals.leave_out(self._functions.is_loss)


def _stable(name: str) -> str:
    """Return the name of an activation: the model's own functions get a slash, too, as a module may be called relu."""
    return name if "/" in name else f"/{name}"
