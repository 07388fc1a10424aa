"""Attention whose logits are out of range: from the start, or by steps that were too large."""

from __future__ import annotations

from functools import partial

from benchmarks.detection import pathologies
from benchmarks.detection.attention_nets import (
    cold,
    fused_writer,
    module_reader,
    normed_reader,
    not_normalised,
    queries_and_keys,
    reader,
    unscaled,
)
from benchmarks.detection.case import Case
from benchmarks.detection.lightning import adam
from benchmarks.detection.symptoms import RATE_TOO_HIGH

LOGITS = frozenset({"IM304"})
SHARP = LOGITS | {"IM303", "IM502", "IM101", "IM201"}
"""Where weights are what is too large, these name it as well."""

_QKV = ("net.blocks.*.attention*",)
_OWN = ("net.blocks.layers.*.self_attn*",)

_fused = partial(Case, architecture="attention-fused", twin="attention-fused/healthy")
_module = partial(Case, architecture="attention-module", twin="attention-module/healthy")
_normed = partial(Case, architecture="attention-normed", twin="attention-normed/healthy")
_writer = partial(Case, architecture="attention-writer", twin="attention-writer/healthy")

CASES: tuple[Case, ...] = (
    Case("attention-fused/healthy", "attention-fused", reader),
    _fused(
        "attention-fused/unscaled",
        make=partial(reader, change=unscaled),
        fault="attention logits without 1/√d",
        symptoms=LOGITS,
        culprits=_QKV,
        pathology=pathologies.looks_at_one_place(partial(reader, change=unscaled), 0.4),
    ),
    _fused(
        "attention-fused/queries-and-keys-times-5",
        make=partial(reader, change=queries_and_keys(5.0)),
        fault="weights of queries and keys times 5",
        symptoms=SHARP,
        culprits=_QKV,
        pathology=pathologies.looks_at_one_place(partial(reader, change=queries_and_keys(5.0)), 0.4),
    ),
    _fused(
        "attention-fused/cold",
        make=partial(reader, change=cold(30.0)),
        fault="a learned temperature that starts at 30",
        symptoms=SHARP,
        culprits=_QKV,
        pathology=pathologies.looks_at_one_place(partial(reader, change=cold(30.0)), 0.4),
    ),
    _fused(
        "attention-fused/rate-too-high",
        make=partial(reader, optimizer=adam(0.1)),
        fault="Adam with a learning rate of 0.1: the logits grow until each row looks at one place",
        symptoms=LOGITS | RATE_TOO_HIGH,
    ),
    Case("attention-module/healthy", "attention-module", module_reader),
    _module(
        "attention-module/queries-and-keys-times-8",
        make=partial(module_reader, change=queries_and_keys(8.0)),
        fault="weights of queries and keys times 8",
        symptoms=SHARP,
        culprits=_OWN,
        pathology=pathologies.looks_at_one_place(partial(module_reader, change=queries_and_keys(8.0)), 0.4),
    ),
    _module(
        "attention-module/rate-too-high",
        make=partial(module_reader, optimizer=adam(0.2)),
        fault="Adam with a learning rate of 0.2",
        symptoms=LOGITS | RATE_TOO_HIGH,
    ),
    Case("attention-normed/healthy", "attention-normed", normed_reader),
    _normed(
        "attention-normed/cold",
        make=partial(normed_reader, change=cold(30.0)),
        fault="a learned temperature behind the normalisation that starts at 30",
        symptoms=SHARP,
        culprits=_QKV,
        pathology=pathologies.looks_at_one_place(partial(normed_reader, change=cold(30.0)), 0.4),
    ),
    _normed(
        "attention-normed/not-normalised",
        make=partial(normed_reader, change=not_normalised, optimizer=adam(5e-2)),
        fault="queries and keys are not normalised, at Adam's 5e-2",
        symptoms=LOGITS | RATE_TOO_HIGH,
    ),
    Case("attention-writer/healthy", "attention-writer", fused_writer),
    _writer(
        "attention-writer/unscaled",
        make=partial(fused_writer, change=unscaled),
        fault="attention logits without 1/√d",
        symptoms=LOGITS,
        culprits=_QKV,
        pathology=pathologies.looks_at_one_place(partial(fused_writer, change=unscaled), 0.2),
    ),
    _writer(
        "attention-writer/cold",
        make=partial(fused_writer, change=cold(40.0)),
        fault="a learned temperature that starts at 40",
        symptoms=SHARP,
        culprits=_QKV,
        pathology=pathologies.looks_at_one_place(partial(fused_writer, change=cold(40.0)), 0.4),
    ),
    _writer(
        "attention-writer/rate-too-high",
        make=partial(fused_writer, optimizer=adam(0.1)),
        fault="Adam with a learning rate of 0.1",
        symptoms=LOGITS | RATE_TOO_HIGH,
    ),
)
