"""Transformers and recurrent networks, small and written out, well initialised."""

from __future__ import annotations

import math
from enum import Enum

import torch
from torch import Tensor, nn

ROWS = 8
"""Rows of a digit, and pixels in each."""

DIGITS = 10


class Order(Enum):
    """Where a transformer block normalises."""

    PRE = "before each branch"
    POST = "after each addition"
    NEVER = "nowhere"


class Attention(nn.Module):
    """Self-attention.

    Attributes:
        scale: factor of the logits, one over the root of a head's width.
        hidden: bool [t, t]: true where a query (row) may not see a key (column).
    """

    hidden: Tensor | None

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.softmax = nn.Softmax(-1)
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.hidden = None

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, t, width] for [n, t, width]."""
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        logits = self.scale * query @ key.transpose(-1, -2)
        if self.hidden is not None:
            logits = logits.masked_fill(self.hidden, -math.inf)
        mixed: Tensor = self.output((self.softmax(logits) @ value).transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Attention and a feed-forward net, each added to the stream with a learned factor per channel.

    Attributes:
        detached: the feed-forward branch is cut off from the graph.
    """

    def __init__(self, width: int, heads: int, order: Order) -> None:
        super().__init__()
        self.order = order
        self.norm1, self.norm2 = (nn.Identity() if order is Order.NEVER else nn.LayerNorm(width) for _ in range(2))
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.attention_factor, self.feed_factor = (nn.Parameter(torch.ones(width)) for _ in range(2))
        self.detached = False

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, t, width] for [n, t, width]."""
        after = self.order is Order.POST
        x = x + self.attention_factor * self.attention(x if after else self.norm1(x))
        if after:
            x = self.norm1(x)
        feed = self.feed(x if after else self.norm2(x))
        x = x + self.feed_factor * (feed.detach() if self.detached else feed)
        return self.norm2(x) if after else x


class Classifier(nn.Module):
    """A transformer that reads a class token and a sequence of vectors, and predicts the class at that token."""

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        order: Order,
        heads: int = 2,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(ROWS, width)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.5 * torch.randn(1, ROWS + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, order) for _ in range(depth)))
        self.norm = nn.LayerNorm(width) if order is Order.PRE else nn.Identity()
        self.head = nn.Linear(width, DIGITS)
        balance(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, 10] for [n, 8, 8]."""
        x = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return logits


class LanguageModel(nn.Module):
    """A pre-norm transformer that continues a text, with one matrix for its letters at both ends (GPT-2's recipe)."""

    def __init__(self, *, letters: int, length: int, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, 2, Order.PRE) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, letters, bias=False)
        balance(self)
        self.head.weight = self.letters.weight
        for part in self.modules():
            if isinstance(part, Attention):
                part.hidden = hidden_future(length)

    def forward(self, texts: Tensor) -> Tensor:
        """Return logits [n, t, letters] for [n, t]."""
        x = self.letters(texts) + self.positions(torch.arange(texts.shape[1]))
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


class Recurrent(nn.Module):
    """A recurrent layer that reads a sequence of vectors, and a class from its last output."""

    def __init__(self, cell: type[nn.RNN | nn.LSTM | nn.GRU], *, inputs: int, classes: int, width: int = 48) -> None:
        super().__init__()
        self.cell = cell(inputs, width, batch_first=True)
        self.head = nn.Linear(width, classes)
        balance(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, classes] for [n, t, inputs]."""
        logits: Tensor = self.head(self.cell(x)[0][:, -1])
        return logits


class RecurrentLanguageModel(nn.Module):
    """Letters to vectors, an LSTM over them, and the next letter."""

    def __init__(self, *, letters: int, width: int = 48) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, width)
        self.cell = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, letters)
        balance(self)
        nn.init.normal_(self.letters.weight)

    def forward(self, texts: Tensor) -> Tensor:
        """Return logits [n, t, letters] for [n, t]."""
        logits: Tensor = self.head(self.cell(self.letters(texts))[0])
        return logits


class TokenBag(nn.Module):
    """Vectors for tokens, told apart by their place, their mean, and two layers."""

    def __init__(self, *, tokens: int, length: int, classes: int = 10, width: int = 48) -> None:
        super().__init__()
        self.letters = nn.Embedding(tokens * length, width)
        self.register_buffer("places", tokens * torch.arange(length), persistent=False)
        self.hidden = nn.Linear(width, width)
        self.activation = nn.Tanh()
        self.head = nn.Linear(width, classes)
        self.length = length
        balance(self)
        nn.init.normal_(self.letters.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [n, classes] for [n, length]."""
        places: Tensor = self.get_buffer("places")
        together = self.letters(tokens + places).sum(1) / self.length**0.5
        logits: Tensor = self.head(self.activation(self.hidden(together)))
        return logits


def hidden_future(length: int, *, shift: int = 1) -> Tensor:
    """Return what hides from each place those that come ``shift`` or more places after it."""
    return torch.ones(length, length, dtype=torch.bool).triu(shift)


def balance(net: nn.Module) -> None:
    """Initialise by the recipes of the literature.

    Linear: Xavier, or He before a ReLU; biases 0. Embeddings: N(0, 0.02²), as GPT-2. Recurrent layers: Xavier for the
    inputs, orthogonal gates for the state. What writes into a residual stream: divided by the root of the number of
    additions, as GPT-2 and, without normalisation, Fixup do.
    """
    for part in net.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        elif isinstance(part, nn.RNNBase):
            _balance_recurrent(part)
    blocks = [part for part in net.modules() if isinstance(part, Block)]
    for block in blocks:
        nn.init.kaiming_normal_(block.feed.get_submodule("0").get_parameter("weight"), nonlinearity="relu")
        for last in (block.feed.get_submodule("2"), block.attention.output):
            last.get_parameter("weight").data.div_(math.sqrt(2 * len(blocks)))


def _balance_recurrent(layer: nn.RNNBase) -> None:
    for name, weight in layer.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight)
        elif name.startswith("weight_hh"):
            for gate in weight.chunk(weight.shape[0] // layer.hidden_size):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(weight)
