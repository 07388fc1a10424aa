"""Actor and critic in one loss. The advantage that weighs the actor's log-probabilities is not detached, so that the critic is pushed up by every action's surprise, without a bound: its own term is small.
Answer: detach the advantage.
Critic not detached from policy loss -- https://github.com/astariul/encode-attend-navigate-pytorch/issues/2, Possible issue of gradients calculation in actor_critic_cartpole example -- https://github.com/keras-team/keras-io/issues/194
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM802 IM603 IM101 IM303 IM703",
    "remedies": ("CONNECT", "SIGN", "LOSS_TERM", "TARGET"),
    "by": 250,
    "beside": "IM802 IM603 IM101 IM303 IM703 IM201",
    "layers": (),
}
MEASURED = (1.013, 0.06351)


def states():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 6, generator=g)
    return DataLoader(
        TensorDataset(x, 2 * (x @ torch.randn(6, 5, generator=g)).softmax(1)), batch_size=64, shuffle=True
    )


def network(outputs):
    return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


class ActorCritic(pl.LightningModule):
    def __init__(self, detached):
        super().__init__()
        self.detached = detached
        self.actor, self.critic = network(5), network(1)

    def training_step(self, batch, _):
        x, worth = batch
        policy = torch.distributions.Categorical(logits=self.actor(x))
        action = policy.sample()
        reward = worth.gather(1, action[:, None]).squeeze(1)
        value = self.critic(x).squeeze(1)
        advantage = reward - value
        weight = advantage.detach() if self.detached else advantage
        return (-policy.log_prob(action) * weight).mean() + 0.5 * F.smooth_l1_loss(value, reward)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def score(module, loader):
    """How far the reward lies below the best."""
    x, worth = loader.dataset.tensors
    return (worth.max(1).values - (module.actor(x).softmax(1) * worth).sum(1)).mean()


def faulty():
    return ActorCritic(detached=False), states()


def fixed():
    return ActorCritic(detached=True), states()
