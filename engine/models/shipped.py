"""Reads the shipped weights back, so that a machine without checkpoints can train on from them.

Promises the parameters that `export.py` wrote, to the precision of F16.
"""

import gguf
import numpy as np

from export import MODEL, SHIPPED
from network import Shape


def halved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undoes `export.paired`: from the adjacent pairs of llama.cpp to rotary halves."""
    width, out = weight.shape
    return weight.reshape(width, heads, out // heads // 2, 2).swapaxes(2, 3).reshape(width, out)


def parameters(shape: Shape) -> dict:
    """The shipped network's parameters, as `network.initial` lays them out."""
    named = {tensor.name: np.asarray(tensor.data, np.float32) for tensor in gguf.GGUFReader(SHIPPED / f"{MODEL}-f16.gguf").tensors}
    params = {"embedding": named["token_embd.weight"], "norm": named["output_norm.weight"]}
    for index in range(shape.layers):
        block = {name.removeprefix(f"blk.{index}."): tensor for name, tensor in named.items() if name.startswith(f"blk.{index}.")}
        params[f"layer{index}"] = {
            "attention_norm": block["attn_norm.weight"],
            "query": halved(block["attn_q.weight"].T, shape.heads),
            "key": halved(block["attn_k.weight"].T, shape.kv_heads),
            "value": block["attn_v.weight"].T,
            "output": block["attn_output.weight"].T,
            "ffn_norm": block["ffn_norm.weight"],
            "gate": block["ffn_gate.weight"].T,
            "up": block["ffn_up.weight"].T,
            "down": block["ffn_down.weight"].T,
        }
    return params
