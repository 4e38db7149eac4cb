"""The Llama-shaped network of spark-1, in PyTorch.

Promises that `logits` computes what llama.cpp's `llama` architecture computes from the exported file: RMS norms,
rotary positions, grouped-query attention, SwiGLU and an output that shares the embedding. Everything is float32,
or may be computed in bfloat16 by an autocast around it, but for the logits.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Positions beyond this are never trained.
LONGEST = 1024
# Positions of a chat that look at the earlier ones together.
PART = 256


@dataclass(frozen=True)
class Shape:
    """The widths of one network. Head width is `width / heads`."""

    vocabulary: int
    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 512
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def as_json(self) -> dict:
        return asdict(self)


def matrix(out: int, into: int, gain: float = 1.0) -> nn.Parameter:
    """Normal weights `[out, into]` scaled by fan-in."""
    return nn.Parameter(torch.randn(out, into) * gain / into**0.5)


class Layer(nn.Module):
    """Attention and feed-forward, each after a norm and added to the stream. Outputs start scaled down by depth."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_width, out_gain = shape.kv_heads * shape.head_width, (2 * shape.layers) ** -0.5
        self.attention_norm = nn.Parameter(torch.ones(shape.width))
        self.query = matrix(shape.width, shape.width)
        self.key = matrix(kv_width, shape.width)
        self.value = matrix(kv_width, shape.width)
        self.output = matrix(shape.width, shape.width, out_gain)
        self.ffn_norm = nn.Parameter(torch.ones(shape.width))
        self.gate = matrix(shape.feed_forward, shape.width)
        self.up = matrix(shape.feed_forward, shape.width)
        self.down = matrix(shape.width, shape.feed_forward, out_gain)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attend(self.normal(x, self.attention_norm), cos, sin)
        inner = functional.linear(self.normal(x, self.ffn_norm), torch.cat([self.gate, self.up]))
        gate, up = inner.chunk(2, -1)
        return x + functional.linear(functional.silu(gate) * up, self.down)

    def normal(self, x: Tensor, gain: Tensor) -> Tensor:
        return functional.rms_norm(x, (self.shape.width,), gain, self.shape.norm_epsilon)

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Causal grouped-query attention on `[rows, length, width]`. One product makes queries, keys and values."""
        rows, length, width = x.shape
        heads, kv_heads = self.shape.heads, self.shape.kv_heads
        mixed = functional.linear(x, torch.cat([self.query, self.key, self.value])).view(rows, length, heads + 2 * kv_heads, -1).transpose(1, 2)
        query, key, value = mixed.split([heads, kv_heads, kv_heads], 1)
        seen = looked_up(rotate(query, cos, sin), rotate(key, cos, sin), value)
        return functional.linear(seen.transpose(1, 2).reshape(rows, length, width), self.output)


def looked_up(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What each query of `[rows, heads, length, head_width]` sees in the values before and at its place.

    Written out, because it is several times as fast on a processor as what PyTorch has for it: the heads that share keys are one
    product, and a long chat goes in parts that do not look at what comes later.
    """
    rows, heads, length, width = query.shape
    groups, shared = rows * key.shape[1], heads // key.shape[1]
    query = (query * width**-0.5).reshape(groups, shared, length, width)
    key, value = key.reshape(groups, length, width), value.reshape(groups, length, width)
    seen = []
    for begin in range(0, length, PART):
        end = min(length, begin + PART)
        match = torch.bmm(query[:, :, begin:end].reshape(groups, -1, width), key[:, :end].transpose(1, 2)).view(groups, shared, end - begin, end)
        later = torch.arange(end)[None, :] > torch.arange(begin, end)[:, None]
        share = match.float().masked_fill(later, float("-inf")).softmax(-1).to(value.dtype)
        seen.append(torch.bmm(share.view(groups, -1, end), value[:, :end]).view(groups, shared, end - begin, width))
    return torch.cat(seen, 2).view(rows, heads, length, width)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on `[rows, heads, length, head_width]`; the two halves of a head are the pairs.

    `export.py` reorders queries and keys to the adjacent pairs that llama.cpp expects.
    """
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


class Network(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.width) * 0.05)
        self.norm = nn.Parameter(torch.ones(shape.width))
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        half = shape.head_width // 2
        angles = torch.arange(LONGEST)[:, None] * shape.rope_base ** (-torch.arange(half) / half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def logits(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Logits `[wanted, vocabulary]` of `tokens` `[rows, length]` at the flat positions `wanted`.

        A row holds one chat from its first position on; what pads its end is never looked at by what comes before.
        """
        length = tokens.shape[1]
        x = functional.embedding(tokens, self.embedding)
        for layer in self.layers:
            x = layer(x, self.cos[:length], self.sin[:length])
        x = functional.rms_norm(x.flatten(0, 1)[wanted], (self.shape.width,), self.norm, self.shape.norm_epsilon)
        with torch.autocast("cpu", enabled=False):
            return functional.linear(x, self.embedding)

    def forward(self, tokens: Tensor, wanted: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The summed, weighted loss of the wanted positions."""
        return (functional.cross_entropy(self.logits(tokens, wanted), targets, reduction="none") * weights).sum()

    def size(self) -> int:
        """The number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())
