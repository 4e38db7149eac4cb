"""Reads the shipped weights back, so that a machine without checkpoints can train on from them.

Promises the parameters that `export.py` wrote, to the precision of F16. A wider feed-forward than the shipped one, and layers that it
lacks, put into the middle, get fresh inputs and zero outputs, which leaves what the network computes as it was.
"""

import gguf
import numpy as np
import torch
from torch import Tensor

from export import MODEL, SHIPPED
from network import Network

NAMES = {
    "attention_norm": "attn_norm", "query": "attn_q", "key": "attn_k", "value": "attn_v", "output": "attn_output",
    "ffn_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}


def halved(weight: Tensor, heads: int) -> Tensor:
    """Undoes `export.paired`: from the adjacent pairs of llama.cpp to rotary halves."""
    out, into = weight.shape
    return weight.reshape(heads, out // heads // 2, 2, into).swapaxes(1, 2).reshape(out, into)


def read_into(network: Network) -> None:
    """Puts the shipped parameters into `network`."""
    named = {tensor.name: torch.tensor(np.array(tensor.data, np.float32)) for tensor in gguf.GGUFReader(SHIPPED / f"{MODEL}-f16.gguf").tensors}
    with torch.no_grad():
        network.embedding.copy_(named["token_embd.weight"])
        network.norm.copy_(named["output_norm.weight"])
        there = sum(name.endswith("attn_norm.weight") for name in named)
        for layer in network.layers:
            layer.output.zero_()
            layer.down.zero_()
        for index in range(there):
            layer = network.layers[index if index < there // 2 else index + len(network.layers) - there]
            for name, written in NAMES.items():
                tensor = named[f"blk.{index}.{written}.weight"]
                if name in ("query", "key"):
                    tensor = halved(tensor, network.shape.heads if name == "query" else network.shape.kv_heads)
                parameter = getattr(layer, name)
                parameter[tuple(slice(size) for size in tensor.shape)] = tensor
