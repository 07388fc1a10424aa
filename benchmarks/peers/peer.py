"""What is known of a monitor from its source, and the list of those that are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A monitor, as it is set up here: every step measured, otherwise as its documentation shows it.

    Attributes:
        name: what the page calls it.
        program: module of ``benchmarks.peers.programs``.
        distribution: name on PyPI, whose version is recorded.
        loop: who runs the training; the unmonitored run is the same without the monitor.
        activations: what it reads of activations in the forward pass.
        gradients: what it reads of gradients.
        units: tells single channels or features apart.
        residuals: measures residual additions.
        judges: says what is wrong, and not only what was measured.
        note: what one has to know about its figure.
        option: handed to the program, where one library is set up in two ways.
        shared: name of the environment, where several use one; ``""``: that of the program.
    """

    name: str
    program: str
    distribution: str
    loop: str
    activations: str
    gradients: str
    units: bool = False
    residuals: bool = False
    judges: str = "no"
    note: str = ""
    option: str = ""
    shared: str = ""

    @property
    def environment(self) -> str:
        """Name of its environment, and of its requirements."""
        return self.shared or self.program


_OURS = (
    "mean, variance, extremes, zeros, non-finite, saturation, share between samples, of modules and of functions",
    "the same, of activations; weights, their gradients and updates",
)

PEERS = (
    Peer("init-monitor", "init_monitor", "pytorch-lightning", "Lightning", *_OURS, units=True, residuals=True,
         judges="rules, with a remedy", option="exact", shared="lightning"),
    Peer("init-monitor, staged", "init_monitor", "pytorch-lightning", "Lightning", *_OURS, residuals=True,
         judges="rules, with a remedy", option="staged", shared="lightning", note="reads 4,096 elements of each activation and gradient"),
    Peer("gradient norm per layer", "gradient_norm", "pytorch-lightning", "Lightning", "none", "norm of every parameter's",
         note="the callback of Lightning's documentation (`grad_norm`, `log_dict`)", shared="lightning"),
    Peer("torch-audit", "torch_audit", "torch-audit", "a loop", "share of zeros, of modules such as `nn.ReLU`",
         "norm and finiteness of every parameter's", judges="rules, with a remedy",
         note="the transformers have no such modules, so nothing of their activations"),
    Peer("torchlens `watch`", "torchlens", "torchlens", "a loop", "mean, variance, extremes, zeros, signs, non-finite, of modules",
         "the same, of every parameter's; of the parameters and their updates", note="all its signals, histograms off"),
    Peer("`wandb.watch`", "wandb", "wandb", "a loop", "none", "histogram of every parameter's; of the parameters",
         note="`log=\"all\"`, offline; what wandb's own process does is not counted"),
    Peer("fastai `ActivationStats`", "fastai", "fastai", "fastai", "mean, deviation, share below 0.05, of modules with parameters", "none"),
    Peer("composer `ActivationMonitor`", "composer", "mosaicml", "composer", "norm, mean, kurtosis, largest, of every module's inputs and outputs",
         "none", note="reads a batch sample by sample where an output is a bare tensor"),
)  # fmt: skip
"""Those that could be installed; what each measures was read in its source."""
