"""Nets of PyTorch's that the tests script and trace."""

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class MLP(nn.Module):
    """With an attribute that decides, a helper method, and layers in a list."""

    def __init__(self, residual: bool = True):
        super().__init__()
        self.residual = residual
        self.first = nn.Linear(6, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.last = nn.Linear(8, 3)

    def act(self, x: Tensor, slope: float = 0.1) -> Tensor:
        return F.leaky_relu(x, slope)

    def forward(self, x: Tensor) -> Tensor:
        assert x.dim() == 2, f"two axes are needed, but the shape is {x.shape}"
        x = torch.tanh(self.first(x))
        for layer in self.layers:
            y = self.act(layer(x))
            x = x + y if self.residual else y
        return self.last(x)


class CNN(nn.Module):
    """Convolution, batch norm, pooling, dropout; the activations write in place."""

    def __init__(self, p: float = 0.0, momentum: float | None = 0.1):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU(inplace=True),
            nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, momentum=momentum),
            nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))
        self.drop = nn.Dropout(p)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(self.drop(x.view(x.size(0), -1)))


class Attention(nn.Module):
    """Causal attention with several heads, written with products and a mask."""

    bias: Tensor

    def __init__(self, width: int, heads: int, length: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("bias", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.size()
        q, k, v = self.qkv(x).split(c, dim=2)
        q = q.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        k = k.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        v = v.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.bias[:, :, :t, :t] == 0, float("-inf"))
        y = F.softmax(scores, dim=-1) @ v
        return self.proj(y.transpose(1, 2).contiguous().view(b, t, c))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, length: int):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, length)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Dropout(0.0))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Token and position embeddings, layers, and a head that shares the token embedding's weight."""

    def __init__(self, words: int = 11, width: int = 8, heads: int = 2, layers: int = 2, length: int = 6):
        super().__init__()
        self.length = length
        self.wte, self.wpe = nn.Embedding(words, width), nn.Embedding(length, width)
        self.drop = nn.Dropout(0.0)
        self.h = nn.ModuleList([Layer(width, heads, length) for _ in range(layers)])
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: Tensor) -> Tensor:
        b, t = idx.size()
        if t > self.length:
            raise ValueError(f"sequence of {t}, but at most {self.length} fit")
        pos = torch.arange(0, t, dtype=torch.long, device=idx.device)
        x = self.drop(self.wte(idx) + self.wpe(pos))
        for layer in self.h:
            x = layer(x)
        return self.lm_head(self.ln_f(x))


class Recurrent(nn.Module):
    def __init__(self, kind: str, **options: bool | int):
        super().__init__()
        self.net = getattr(nn, kind)(3, 4, **options)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.net(x)
        return y


class InPlace(nn.Module):
    """An activation in place, after which its input is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Linear(3, 4), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        z = self.act(y)
        w = y * 3
        w[:, 1:] += x[:, 1:2] * 0.5
        return y * 2 + z + w


class Counter(nn.Module):
    """What its calls change: a buffer, a tensor, a number."""

    seen: Tensor
    last: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("last", torch.zeros(2, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.calls += 1
        self.seen += x.size(0)
        before = self.last + 0
        self.last = x * self.calls
        self.last[0, 0] = 5.0
        return before, self.last * 1, self.seen + self.calls


class Options(nn.Module):
    """Arguments of every kind, and another method."""

    def forward(self, x: Tensor, times: int = 2, scale: float = 1.5, other: Tensor | None = None, flip: bool = False,
                shape: list[int] | None = None) -> Tensor:
        if x.dim() != 2:
            raise ValueError(f"two axes are needed, not {x.dim()}")
        for _ in range(times):
            x = x * scale
        if other is not None:
            x = x + other
        if shape is not None:
            x = x.view(shape)
        return -x if flip else x

    @torch.jit.export
    def double(self, x: Tensor) -> Tensor:
        return 2 * x


class Writing(nn.Module):
    """Writes to a parameter."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        self.net.weight.mul_(2.0)
        return self.net(x)


class Loading(nn.Module):
    """Runs code of its own while it is loaded."""

    @torch.jit.export
    def __getstate__(self) -> int:
        return 3

    @torch.jit.export
    def __setstate__(self, state: int) -> None:
        self.training = state > 1

    def forward(self, x: Tensor) -> Tensor:
        return x


class Frozen(nn.Module):
    """Features without gradient, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = torch.tanh(self.features(x)) * 2
        return self.head(y) + x[:, :2].detach()
