"""Q-learning on stored steps whose target is the network's own next value, discount 0.99: every step up pulls the target up as well, the TD loss grows a thousandfold.
Asked there: TD loss diverging in the DQN workflow. Answer: the target network followed too fast; a slow copy of the network gives the target.
TD loss diverging in DQN workflow -- https://github.com/facebookresearch/ReAgent/issues/189
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM802 IM603 IM601 IM101",
    "remedies": (
        "SLOWER",
        "LEARNING_RATE",
        "TARGET",
        "CLIP",
    ),
    "by": 250,
    "beside": "IM802 IM603 IM601 IM101 IM201 IM703 IM301",
    "layers": (),
}
MEASURED = (float("nan"), 0.07427)


def steps():
    """Stored steps in a room of six numbers: what was seen, which of four things was done, the reward and what was seen next."""
    g = torch.Generator().manual_seed(0)
    now = torch.randn(4096, 6, generator=g)
    done = torch.randint(0, 4, (4096,), generator=g)
    push = torch.randn(4, 6, generator=g)
    after = 0.8 * now + push[done]
    return DataLoader(TensorDataset(now, done, now[:, :2].sum(1).sign(), after), batch_size=64, shuffle=True)


class Values(pl.LightningModule):
    def __init__(self, slow):
        super().__init__()
        self.slow = slow
        self.net, self.copy = self.make(), self.make().requires_grad_(False)
        self.copy.load_state_dict(self.net.state_dict())

    @staticmethod
    def make():
        return nn.Sequential(nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4))

    def training_step(self, batch, _):
        now, done, reward, after = batch
        with torch.no_grad():
            ahead = (self.copy if self.slow else self.net)(after).max(1).values
        value = self.net(now).gather(1, done[:, None]).squeeze(1)
        return F.mse_loss(value, reward + 0.99 * ahead)

    def on_train_batch_end(self, *args):
        if self.slow:
            for slow, fast in zip(self.copy.parameters(), self.net.parameters()):
                slow.data.lerp_(fast.data, 0.005)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=5e-2, momentum=0.9)


def faulty():
    return Values(False), steps()


def fixed():
    return Values(True), steps()
