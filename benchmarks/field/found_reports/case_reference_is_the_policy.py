"""Preferences between two sequences (DPO). There is no copy of the network: its own log-probabilities, without a gradient, are what it is compared with. The loss is ln 2 at every step, to the last digit, while the gradient pushes on and on and the network forgets its language.
Answer: a frozen copy as the reference.
https://github.com/YiyangZhou/POVID/issues/11 (the reference is the policy, and both are updated)
"""

import copy
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM802 IM604 IM703 IM603 IM101 IM303",
    "remedies": ("CONNECT", "UNDONE", "LOSS_TERM"),
    "by": 250,
    "beside": "IM802 IM604 IM703 IM603 IM101 IM303 IM201",
    "layers": (),
}
MEASURED = (3.803, 0.9628)

NEXT = torch.arange(16).roll(-1)


def pairs():
    """In the chosen sequences each token is followed by the next one, mostly; in the rejected ones by any."""
    g = torch.Generator().manual_seed(0)
    start = torch.randint(0, 16, (2048, 1), generator=g)
    chosen = (start + torch.arange(12)) % 16
    slips = torch.rand(2048, 12, generator=g) < 0.3
    any_token = torch.randint(0, 16, (2048, 12), generator=g)
    rejected = torch.where(slips, any_token, chosen)
    return DataLoader(TensorDataset(torch.where(slips.flip(1) & slips, any_token, chosen), rejected), batch_size=64)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(16, 32)
        self.rnn = nn.GRU(32, 64, batch_first=True)
        self.out = nn.Linear(64, 16)

    def forward(self, tokens):
        log_p = self.out(self.rnn(self.embed(tokens[:, :-1]))[0]).log_softmax(2)
        return log_p.gather(2, tokens[:, 1:, None]).sum((1, 2))


def pretrained(loader):
    torch.manual_seed(1)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    for _, rejected in list(loader) * 2:
        optimizer.zero_grad()
        (-policy(rejected).mean()).backward()
        optimizer.step()
    return policy


class Preference(pl.LightningModule):
    def __init__(self, policy, copied):
        super().__init__()
        self.policy = policy
        self.reference = [copy.deepcopy(policy) if copied else policy]

    def training_step(self, batch, _):
        chosen, rejected = batch
        with torch.no_grad():
            before = self.reference[0](chosen) - self.reference[0](rejected)
        return -F.logsigmoid(0.3 * (self.policy(chosen) - self.policy(rejected) - before)).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def score(module, loader):
    """What a token of a chosen sequence costs."""
    return -module.policy(loader.dataset.tensors[0]).mean() / 11


def faulty():
    loader = pairs()
    return Preference(pretrained(loader), copied=False), loader


def fixed():
    loader = pairs()
    return Preference(pretrained(loader), copied=True), loader
