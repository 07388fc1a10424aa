"""Runs one program in this environment, in a process of its own: ``python -m benchmarks.clients.training NAME OUT``.

With ``--watched`` the monitor watches. What is written is JSON: the losses and digests of the parameters and of the
random states, and what the monitor said of the network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.clients.newer_torch import supply
from benchmarks.clients.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.clients.program import Program


def digest(tensor: torch.Tensor) -> str:
    """Return a digest of a tensor's bits, with its format and shape."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(repr((tensor.dtype, tuple(tensor.shape))).encode() + flat.numpy().tobytes()).hexdigest()


def random_states() -> dict[str, str]:
    """Return a digest of every global source of random numbers."""
    states = {"random": repr(random.getstate()), "numpy": repr(np.random.get_state(legacy=False))}  # noqa: NPY002
    digests = {name: hashlib.sha256(state.encode()).hexdigest() for name, state in states.items()}
    return digests | {"torch": digest(torch.get_rng_state())}


def seen(watching: Watching) -> dict[str, Any]:
    """Return what the monitor reports about the training, through its public interface."""
    live = watching.live if watching.live is not None else watching.monitor
    structure, own = live.structure, watching.monitor.findings
    findings = [
        {
            "rule": found.rule,
            "code": found.code,
            "severity": str(found.severity),
            "step": found.step,
            "layers": list(found.layers),
            "message": found.message,
        }
        for found in live.findings
    ]
    return {
        "layers": [
            {
                "name": layer.name,
                "module": layer.module,
                "kind": layer.kind,
                "role": str(layer.role),
                "inputs": list(layer.inputs),
            }
            for layer in structure.layers
        ],
        "residuals": [
            {"name": one.name, "kind": one.kind, "skip": one.skip, "branch": one.branch} for one in structure.residuals
        ],
        "findings": findings,
        "reachable": [found.code for found in own] == [found["code"] for found in findings],
        "records": len(live.records),
        "notices": list(live.notices),
    }


def files() -> list[str]:
    """Return the files that the monitor made for itself, below the working directory."""
    return sorted(str(path) for path in Path().rglob("*") if path.is_file() and "init_monitor" in str(path))


def run(program: Program, *, watched: bool) -> dict[str, Any]:
    """Train ``program`` from its seed."""
    watching = Watching(watched=watched)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 - libraries draw from the global state
    torch.manual_seed(5)
    begun = time.process_time()
    model = program.train(watching)
    seconds = time.process_time() - begun
    result: Mapping[str, Any] = {
        "library": version(program.distribution),
        "torch": torch.__version__,
        "losses": [loss.hex() for loss in watching.losses],
        "random": random_states(),
        "parameters": {name: digest(tensor) for name, tensor in model.state_dict().items()},
        "shapes": {name: list(parameter.shape) for name, parameter in model.named_parameters()},
        "seconds": seconds,
        "files": files(),
    }
    return {**result, **(seen(watching) if watched else {})}


def main() -> None:
    """Train as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of a module of benchmarks.clients.programs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--watched", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    supply()
    program: Program = import_module(f"benchmarks.clients.programs.{arguments.name}").PROGRAM
    if arguments.watched:
        import init_monitor  # noqa: F401, PLC0415 - so that its import is not counted
    arguments.out.write_text(json.dumps(run(program, watched=arguments.watched), indent=1))


if __name__ == "__main__":
    main()
