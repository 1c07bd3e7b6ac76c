"""The workloads in PyTorch, eager."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contenders import Contender, optional, sequential, stepper
from .workloads import RATE, Workload

torch: Any = optional("torch")


def gpt(vocabulary: int, context: int, width: int, layers: int, heads: int) -> Any:
    nn = torch.nn

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            self.positions = nn.Embedding(context, width)
            self.layers = nn.ModuleList([
                nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True,
                                           norm_first=True) for _ in range(layers)])
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)
            self.mask = nn.Transformer.generate_square_subsequent_mask(context)

        def forward(self, tokens: Any) -> Any:
            x = self.embedding(tokens) + self.positions.weight
            for block in self.layers:
                x = block(x, src_mask=self.mask, is_causal=True)
            return self.head(self.norm(x)).flatten(0, 1)

    return GPT()


def lstm(inputs: int, width: int) -> Any:
    nn = torch.nn

    class LSTM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(inputs, width, batch_first=True)
            self.head = nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            _, (h, _) = self.lstm(x)
            return self.head(h[0])

    return LSTM()


def net(work: Workload) -> Any:
    builders = {"gpt": gpt, "lstm": lstm}
    made = builders[work.name](**work.sizes) if work.name in builders else sequential(torch.nn, work.name)
    made.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in work.weights.items()})
    return made


def contenders(work: Workload) -> dict[str, Contender]:
    if torch is None:
        return {}
    model = net(work)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    loss_fn = torch.nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    batches = [(torch.from_numpy(x.copy()), torch.from_numpy(y.reshape(-1).astype(np.int64)))
               for x, y in work.batches]
    return {"PyTorch eager": stepper(step, batches)}
