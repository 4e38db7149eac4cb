"""The Llama-shaped network of spark-1, in JAX.

Promises that `logits` computes what llama.cpp's `llama` architecture computes from the exported file: RMS norms,
rotary positions, grouped-query attention, SwiGLU and an output that shares the embedding. Everything is float32.
"""

from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np


# Positions beyond this are never trained.
LONGEST = 1024
QUERY_BLOCK = 128


@dataclass(frozen=True)
class Shape:
    """The widths of one network. Head width is `width / heads`."""

    vocabulary: int
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 256
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def as_json(self) -> dict:
        return asdict(self)


def initial(shape: Shape, seed: int) -> dict:
    """Fresh parameters: normal weights scaled by fan-in, residual outputs scaled down by depth, norms at one."""
    random = np.random.default_rng(seed)

    def weight(rows: int, columns: int, gain: float = 1.0) -> jnp.ndarray:
        return jnp.asarray(random.normal(0, gain / np.sqrt(rows), (rows, columns)), jnp.float32)

    kv_width = shape.kv_heads * shape.head_width
    out_gain = 1 / np.sqrt(2 * shape.layers)
    params = {
        "embedding": jnp.asarray(random.normal(0, 0.05, (shape.vocabulary, shape.width)), jnp.float32),
        "norm": jnp.ones(shape.width, jnp.float32),
    }
    for layer in range(shape.layers):
        params[f"layer{layer}"] = {
            "attention_norm": jnp.ones(shape.width, jnp.float32),
            "query": weight(shape.width, shape.width),
            "key": weight(shape.width, kv_width),
            "value": weight(shape.width, kv_width),
            "output": weight(shape.width, shape.width, out_gain),
            "ffn_norm": jnp.ones(shape.width, jnp.float32),
            "gate": weight(shape.width, shape.feed_forward),
            "up": weight(shape.width, shape.feed_forward),
            "down": weight(shape.feed_forward, shape.width, out_gain),
        }
    return params


def size(params: dict) -> int:
    """The number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def rms_norm(x: jnp.ndarray, gain: jnp.ndarray, epsilon: float) -> jnp.ndarray:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon) * gain


def turns(positions: jnp.ndarray, shape: Shape) -> tuple[jnp.ndarray, jnp.ndarray]:
    """Cosines and sines `[rows, 1, length, head_width / 2]` of the rotary angles."""
    half = shape.head_width // 2
    angles = np.arange(LONGEST)[:, None] * shape.rope_base ** (-np.arange(half) / half)
    return jnp.asarray(np.cos(angles), jnp.float32)[positions][:, None], jnp.asarray(np.sin(angles), jnp.float32)[positions][:, None]


def rotate(x: jnp.ndarray, cos: jnp.ndarray, sin: jnp.ndarray) -> jnp.ndarray:
    """Rotary positions on `[rows, heads, length, head_width]`; the two halves of a head are the pairs.

    `export.py` reorders queries and keys to the adjacent pairs that llama.cpp expects.
    """
    left, right = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)


def by_head(x: jnp.ndarray, heads: int) -> jnp.ndarray:
    """`[rows, length, heads * head_width]` to `[rows, heads, length, head_width]`."""
    rows, length, width = x.shape
    return x.reshape(rows, length, heads, width // heads).transpose(0, 2, 1, 3)


def attend(layer: dict, x, cos, sin, allowed, shape: Shape):
    """Grouped-query attention where `allowed[row, i, j]` lets position i see position j, never a later one.

    Queries go in blocks, so that a block's products leave out the keys after it.
    """
    rows, length, _ = x.shape
    group = shape.heads // shape.kv_heads
    query = rotate(by_head(x @ layer["query"], shape.heads), cos, sin) / np.sqrt(shape.head_width)
    key = rotate(by_head(x @ layer["key"], shape.kv_heads), cos, sin)
    value = by_head(x @ layer["value"], shape.kv_heads)
    query = query.reshape(rows, shape.kv_heads, group, length, shape.head_width)
    mixed = []
    for begin in range(0, length, QUERY_BLOCK):
        end = min(begin + QUERY_BLOCK, length)
        block = query[:, :, :, begin:end].reshape(rows, shape.kv_heads, group * (end - begin), shape.head_width)
        score = jnp.einsum("bkld,bkmd->bklm", block, key[:, :, :end])
        seen = allowed[:, None, None, begin:end, :end]
        weight = jax.nn.softmax(jnp.where(seen, score.reshape(rows, shape.kv_heads, group, end - begin, end), -1e9), axis=-1)
        out = jnp.einsum("bklm,bkmd->bkld", weight.reshape(score.shape), value[:, :, :end])
        mixed.append(out.reshape(rows, shape.heads, end - begin, shape.head_width))
    mixed = jnp.concatenate(mixed, axis=2).transpose(0, 2, 1, 3).reshape(rows, length, shape.width)
    return mixed @ layer["output"]


def feed_forward(layer: dict, x):
    return (jax.nn.silu(x @ layer["gate"]) * (x @ layer["up"])) @ layer["down"]


def logits(params: dict, tokens, positions, documents, shape: Shape):
    """Logits `[rows, length, vocabulary]` of packed rows: a token sees itself and earlier tokens of its own document only."""
    length = tokens.shape[1]
    allowed = jnp.tril(jnp.ones((length, length), bool)) & (documents[:, :, None] == documents[:, None, :])
    cos, sin = turns(positions, shape)
    x = params["embedding"][tokens]
    for index in range(shape.layers):
        layer = params[f"layer{index}"]
        x = x + attend(layer, rms_norm(x, layer["attention_norm"], shape.norm_epsilon), cos, sin, allowed, shape)
        x = x + feed_forward(layer, rms_norm(x, layer["ffn_norm"], shape.norm_epsilon))
    return rms_norm(x, params["norm"], shape.norm_epsilon) @ params["embedding"].T
