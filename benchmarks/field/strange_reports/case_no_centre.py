"""Self-distillation of two noisy views: the student foretells the sharpened softmax of a slow teacher, but nothing centres the teacher's outputs. All pictures come to one and the same
output, and the loss goes to 0. Asked there: strange collapse issue with the loss. Answer: keep a teacher of its own, and centre it.
Strange collapse issue with the dino loss -- https://github.com/facebookresearch/dinov2/issues/407
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM702 IM303 IM503",
    "remedies": (
        "COLLAPSE",
        "NORMALISE",
        "LOSS_TERM",
    ),
    "by": 300,
    "beside": "IM702 IM303 IM503 IM102 IM202 IM603 IM604",
    "layers": (),
}
MEASURED = (0.9009, 0.1859)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Teaching(pl.LightningModule):
    def __init__(self, centred):
        super().__init__()
        self.centred = centred
        self.student, self.teacher = self.make(), self.make().requires_grad_(False)
        self.teacher.load_state_dict(self.student.state_dict())
        self.register_buffer("centre", torch.zeros(32))

    @staticmethod
    def make():
        return nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 32))

    def training_step(self, batch, _):
        x = batch[0]
        one, other = (x + 0.15 * torch.randn_like(x) for _ in range(2))
        with torch.no_grad():
            out = self.teacher(one)
            soft = F.softmax((out - self.centre) / 0.02, 1)
            if self.centred:
                self.centre.lerp_(out.mean(0), 0.1)
        return -(soft * F.log_softmax(self.student(other) / 0.1, 1)).sum(1).mean()

    def on_train_batch_end(self, *args):
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters()):
            slow.data.lerp_(fast.data, 0.02)

    def configure_optimizers(self):
        return torch.optim.Adam(self.student.parameters(), lr=2e-3)


def faulty():
    return Teaching(False), digits(128)


def fixed():
    return Teaching(True), digits(128)


def score(module, loader):
    """Share of digits whose nearest neighbour in the student's log probabilities is another digit."""
    x, y = loader.dataset.tensors
    with torch.no_grad():
        z = F.log_softmax(module.student(x) / 0.1, 1).exp()
        z = F.normalize(z, dim=1)
    near = (z @ z.T - 2 * torch.eye(len(z))).argmax(1)
    return float((y[near] != y).float().mean())
