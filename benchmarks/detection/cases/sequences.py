"""Transformers and recurrent networks, on rows of digits and on texts."""

from __future__ import annotations

from functools import partial

from torch import nn

from benchmarks.detection import pathologies
from benchmarks.detection.case import Case
from benchmarks.detection.defects import constant, gaussian, scaled
from benchmarks.detection.lightning import adam, sgd
from benchmarks.detection.sequence_nets import Order
from benchmarks.detection.sequence_trainings import (
    DEEP,
    bag,
    blind_token,
    classifier,
    detached_feed,
    full_branches,
    hidden_present,
    recurrent_writer,
    rememberer,
    row_reader,
    silent_feed,
    unscaled_attention,
    wide_attention,
    writer,
)
from benchmarks.detection.symptoms import (
    CUT_OFF,
    NO_DIFFERENCE,
    NOTHING,
    RATE_TOO_HIGH,
    RATE_TOO_LOW,
    SATURATING_STREAM,
    TOO_SMALL,
)

SHORT = 80
"""Batches for the deepest, which takes longest."""

EVERYTHING = ("net.*",)

_pre = partial(Case, architecture="prenorm-transformer", twin="prenorm-transformer/healthy")
_wide = partial(Case, architecture="wide-attention", twin="wide-attention/healthy")
_post = partial(Case, architecture="postnorm-transformer", twin="postnorm-transformer/healthy")
_plain = partial(Case, architecture="normless-transformer", twin="normless-transformer/healthy", steps=SHORT)
_writer = partial(Case, architecture="tiny-gpt", twin="tiny-gpt/healthy")
_lstm = partial(Case, architecture="lstm", twin="lstm/healthy")
_gru = partial(Case, architecture="gru", twin="gru/healthy")
_rnn = partial(Case, architecture="rnn", twin="rnn/healthy")
_lstm_writer = partial(Case, architecture="lstm-language-model", twin="lstm-language-model/healthy")
_bag = partial(Case, architecture="bag-of-tokens", twin="bag-of-tokens/healthy")
_gru_training = partial(rememberer, nn.GRU, length=12, rate=5e-3)
_rnn_training = partial(rememberer, nn.RNN, length=24)
_plain_classifier = partial(classifier, Order.NEVER, depth=DEEP)
_FEED = ("net.blocks.1.feed*", "net.blocks.1#*")

_TRANSFORMERS = (
    Case("prenorm-transformer/healthy", "prenorm-transformer", classifier),
    _pre(
        "prenorm-transformer/n01-weights",
        make=partial(classifier, change=gaussian(1.0, "blocks.*")),
        fault="all weights of the blocks from N(0, 1)",
        symptoms=SATURATING_STREAM,
        culprits=("net.blocks.*",),
    ),
    _pre(
        "prenorm-transformer/zero-weights",
        make=partial(classifier, change=constant(0.0)),
        fault="all weights zero",
        symptoms=NOTHING | {"IM402"},
        culprits=EVERYTHING,
    ),
    _pre(
        "prenorm-transformer/rate-too-high",
        make=partial(classifier, optimizer=adam(0.5)),
        fault="Adam with a learning rate of 0.5",
        symptoms=RATE_TOO_HIGH,
    ),
    _pre(
        "prenorm-transformer/rate-too-low",
        make=partial(classifier, optimizer=adam(1e-8)),
        fault="Adam with a learning rate of 1e-8",
        symptoms=RATE_TOO_LOW,
    ),
    _pre(
        "prenorm-transformer/detached-branch",
        make=partial(classifier, change=detached_feed),
        fault="a branch cut off from the graph",
        symptoms=CUT_OFF,
        culprits=_FEED,
        pathology=pathologies.unmoved(classifier, "net.blocks.1.feed.*"),
    ),
    _pre(
        "prenorm-transformer/silent-branch",
        make=partial(classifier, change=silent_feed),
        fault="a branch multiplied by zero for ever",
        symptoms=CUT_OFF | {"IM402"},
        culprits=_FEED,
        pathology=pathologies.unmoved(classifier, "net.blocks.1.feed.*"),
    ),
    _pre(
        "prenorm-transformer/blind-token",
        make=partial(classifier, change=blind_token),
        fault="the class token sees nothing but itself",
        symptoms=frozenset({"IM702", "IM602"}),
        pathology=pathologies.one_representation("net.head"),
    ),
    Case("wide-attention/healthy", "wide-attention", wide_attention),
    _wide(
        "wide-attention/unscaled-attention",
        make=partial(wide_attention, change=unscaled_attention),
        fault="attention logits without 1/√d",
        symptoms=frozenset({"IM303"}),
        culprits=("net.blocks.*.attention*",),
        pathology=pathologies.sharp("net.blocks.0.attention.softmax", 0.9),
    ),
    _wide(
        "wide-attention/n01-query-and-key",
        make=partial(wide_attention, change=gaussian(1.0, "*.query.*", "*.key.*")),
        fault="query and key weights from N(0, 1)",
        symptoms=frozenset({"IM303", "IM502", "IM101"}),
        culprits=("net.blocks.*.attention*",),
        pathology=pathologies.sharp("net.blocks.0.attention.softmax", 0.9),
    ),
    Case("postnorm-transformer/healthy", "postnorm-transformer", partial(classifier, Order.POST)),
    _post(
        "postnorm-transformer/n01-weights",
        make=partial(classifier, Order.POST, change=gaussian(1.0)),
        fault="all weights from N(0, 1)",
        symptoms=SATURATING_STREAM,
        culprits=EVERYTHING,
    ),
    _post(
        "postnorm-transformer/constant-weights",
        make=partial(classifier, Order.POST, change=constant(0.02, "blocks.*", "embed.*")),
        fault="all weights 0.02",
        symptoms=NO_DIFFERENCE,
        culprits=("net.blocks.*", "net.embed*"),
    ),
    _post(
        "postnorm-transformer/rate-too-high",
        make=partial(classifier, Order.POST, optimizer=sgd(20.0)),
        fault="SGD with a learning rate of 20",
        symptoms=RATE_TOO_HIGH,
    ),
    Case("normless-transformer/healthy", "normless-transformer", _plain_classifier, steps=SHORT),
    _plain(
        "normless-transformer/residual-doubling",
        make=partial(_plain_classifier, change=full_branches),
        fault="every branch writes with the variance of the stream",
        symptoms=frozenset({"IM401", "IM101", "IM201"}),
        culprits=("net.blocks.*",),
    ),
    _plain(
        "normless-transformer/unscaled-input",
        make=partial(_plain_classifier, factor=1000.0),
        fault="pixels times 1000",
        symptoms=frozenset({"IM701"}),
        culprits=("net.embed", "net.embed.*", "net"),
    ),
    _plain(
        "normless-transformer/tiny-weights",
        make=partial(_plain_classifier, change=gaussian(1e-3)),
        fault="all weights from N(0, 1e-3²)",
        symptoms=TOO_SMALL | {"IM402"},
        culprits=EVERYTHING,
    ),
    Case("tiny-gpt/healthy", "tiny-gpt", writer),
    _writer(
        "tiny-gpt/letters-too-large",
        make=partial(writer, change=gaussian(3.0, "letters.*")),
        fault="embeddings, tied to the output, from N(0, 3²) instead of N(0, 0.02²)",
        symptoms=frozenset({"IM101", "IM502", "IM201"}),
        culprits=("net.letters*", "net.head*"),
    ),
    _writer(
        "tiny-gpt/hidden-present",
        make=partial(writer, change=hidden_present),
        fault="a row of the attention that may see nothing",
        symptoms=frozenset({"IM601"}),
        culprits=("net.blocks.*.attention*",),
    ),
    _writer(
        "tiny-gpt/rate-too-low",
        make=partial(writer, optimizer=sgd(1e-7, momentum=0.0)),
        fault="SGD with a learning rate of 1e-7",
        symptoms=RATE_TOO_LOW,
    ),
)

_RECURRENT = (
    Case("lstm/healthy", "lstm", row_reader),
    _lstm(
        "lstm/recurrent-times-10",
        make=partial(row_reader, change=scaled(10.0, "cell.weight_hh*")),
        fault="recurrent weights times 10",
        symptoms=SATURATING_STREAM,
        culprits=("net.cell*",),
    ),
    _lstm(
        "lstm/zero-weights",
        make=partial(row_reader, change=constant(0.0)),
        fault="all weights zero",
        symptoms=NOTHING,
        culprits=EVERYTHING,
    ),
    _lstm(
        "lstm/unscaled-input",
        make=partial(row_reader, factor=1000.0),
        fault="inputs times 1000",
        symptoms=frozenset({"IM701", "IM303"}),
        culprits=("net.cell*", "net"),
    ),
    Case("gru/healthy", "gru", _gru_training),
    _gru(
        "gru/recurrent-times-10",
        make=partial(_gru_training, change=scaled(10.0, "cell.weight_hh*")),
        fault="recurrent weights times 10",
        symptoms=SATURATING_STREAM,
        culprits=("net.cell*",),
    ),
    _gru(
        "gru/recurrent-times-0.01",
        make=partial(_gru_training, change=scaled(0.01, "cell.weight_hh*")),
        fault="recurrent weights times 0.01",
        symptoms=TOO_SMALL,
        culprits=("net.cell*",),
    ),
    _gru(
        "gru/rate-too-high",
        make=partial(_gru_training, rate=3.0),
        fault="Adam with a learning rate of 3",
        symptoms=RATE_TOO_HIGH | {"IM303"},
    ),
    Case("rnn/healthy", "rnn", _rnn_training),
    _rnn(
        "rnn/recurrent-times-3",
        make=partial(_rnn_training, change=scaled(3.0, "cell.weight_hh*")),
        fault="recurrent weights times 3",
        symptoms=SATURATING_STREAM,
        culprits=("net.cell*",),
    ),
    _rnn(
        "rnn/recurrent-times-0.01",
        make=partial(_rnn_training, change=scaled(0.01, "cell.weight_hh*")),
        fault="recurrent weights times 0.01",
        symptoms=TOO_SMALL,
        culprits=("net.cell*",),
    ),
    Case("lstm-language-model/healthy", "lstm-language-model", recurrent_writer),
    _lstm_writer(
        "lstm-language-model/recurrent-times-10",
        make=partial(recurrent_writer, change=scaled(10.0, "cell.weight_hh*")),
        fault="recurrent weights times 10",
        symptoms=SATURATING_STREAM,
        culprits=("net.cell*",),
    ),
    _lstm_writer(
        "lstm-language-model/letters-in-no-optimizer",
        make=partial(recurrent_writer, with_letters=False),
        fault="the embedding is in no optimizer",
        symptoms=CUT_OFF,
        culprits=("net.letters*",),
        pathology=pathologies.unmoved(recurrent_writer, "net.letters.*"),
    ),
    Case("bag-of-tokens/healthy", "bag-of-tokens", bag),
    _bag(
        "bag-of-tokens/letters-too-large",
        make=partial(bag, change=scaled(300.0, "letters.*")),
        fault="embeddings times 300",
        symptoms=frozenset({"IM502", "IM303", "IM101"}),
        culprits=("net.letters*",),
    ),
)

CASES: tuple[Case, ...] = (*_TRANSFORMERS, *_RECURRENT)
