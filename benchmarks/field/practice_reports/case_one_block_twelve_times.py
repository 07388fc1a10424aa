"""Nothing is wrong: a text model like ALBERT, one block applied twelve times, with a narrow embedding that is made wide, masked tokens and accumulated gradients."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = None
MASK = 24


def texts():
    generator = torch.Generator().manual_seed(0)
    table = torch.softmax(3 * torch.randn(24, 24, generator=generator), 1)
    text = [torch.randint(0, 24, (2048,), generator=generator)]
    for _ in range(15):
        text.append(torch.multinomial(table[text[-1]], 1, generator=generator)[:, 0])
    return DataLoader(TensorDataset(torch.stack(text, 1)), batch_size=32, shuffle=True)


class Albert(pl.LightningModule):
    def __init__(self, width=64):
        super().__init__()
        self.embed, self.widen = nn.Embedding(25, 16), nn.Linear(16, width)
        self.place = nn.Embedding(16, 16)
        self.block = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.LayerNorm(16))
        self.bias = nn.Parameter(torch.zeros(25))
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02 if isinstance(module, nn.Linear) else 0.1)

    def training_step(self, batch, _):
        text = batch[0]
        hidden = torch.rand(text.shape) < 0.15
        hidden[:, 7] = True
        x = self.widen(self.embed(torch.where(hidden, MASK, text)) + self.place(torch.arange(16)))
        for _ in range(12):
            x = self.block(x)
        logits = self.narrow(self.norm(x))[hidden] @ self.embed.weight.T + self.bias
        return F.cross_entropy(logits, text[hidden])

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 40))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def faulty():
    return Albert(), texts(), {"accumulate_grad_batches": 2, "gradient_clip_val": 1.0}
