"""Soft actor-critic on a one-step task: the loss of the entropy's coefficient has the wrong sign, so that alpha runs off without an end.
Answer: alpha_loss = -(log_alpha * (log_prob + target_entropy).detach()).mean()
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 900
ANSWER = {
    "codes": "IM802 IM101 IM303 IM201 IM603",
    "remedies": ("SIGN", "LOSS_TERM", "COLLAPSE"),
    "by": 250,
    "beside": "IM802 IM101 IM303 IM201 IM603 IM202",
    "layers": (),
}
MEASURED = (-0.07127, -0.9905)


def states():
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(4096, 6, generator=generator)), batch_size=128, shuffle=True)


def mlp(inputs, outputs):
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs)
    )  # fmt: skip


class SAC(pl.LightningModule):
    def __init__(self, sign):
        super().__init__()
        self.automatic_optimization = False
        self.actor, self.critic = mlp(6, 4), mlp(8, 1)
        self.log_alpha, self.sign = nn.Parameter(torch.tensor(0.0)), sign

    def reward(self, state, action):
        return 1 - (action - torch.tanh(state[:, :2] - state[:, 2:4])).square().sum(1)

    def act(self, state):
        mean, log_std = self.actor(state).chunk(2, 1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-5, 2).exp())
        raw = normal.rsample()
        squash = 2 * (0.6931 - raw - F.softplus(-2 * raw))
        return torch.tanh(raw), (normal.log_prob(raw) - squash).sum(1)

    def training_step(self, batch, _):
        state = batch[0]
        actor, critic, alpha = self.optimizers()
        action, log_prob = self.act(state)
        value = self.critic(torch.cat((state, action.detach()), 1))[:, 0]
        critic_loss = F.mse_loss(value, self.reward(state, action.detach()))
        critic.zero_grad()
        self.manual_backward(critic_loss)
        critic.step()
        judged = self.critic(torch.cat((state, action), 1))[:, 0]
        actor_loss = (self.log_alpha.exp().detach() * log_prob - judged).mean()
        actor.zero_grad()
        self.manual_backward(actor_loss)
        actor.step()
        alpha_loss = self.sign * (self.log_alpha * (log_prob - 4.0).detach()).mean()
        alpha.zero_grad()
        self.manual_backward(alpha_loss)
        alpha.step()
        return {"loss": actor_loss.detach()}

    def configure_optimizers(self):
        return (
            torch.optim.Adam(self.actor.parameters(), lr=1e-3),
            torch.optim.Adam(self.critic.parameters(), lr=1e-3),
            torch.optim.Adam([self.log_alpha], lr=1e-2),
        )


def score(module, loader):
    return -sum(
        float(module.reward(x, torch.tanh(module.actor(x)[:, :2])).mean()) for (x,) in loader
    ) / len(loader)  # fmt: skip


def faulty():
    return SAC(1), states()


def fixed():
    return SAC(-1), states()
