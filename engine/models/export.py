"""Writes the shipped form of spark-1: an F16 GGUF with the chat template in it, the tokenizer and a manifest of digests.

Promises that two exports of one checkpoint are byte for byte the same.
"""

import argparse
import hashlib
import json
from pathlib import Path

import gguf
import numpy as np

import checkpoint
import tokenizer
from network import Network

MODEL = "spark-1"
CONTEXT_TOKENS = 1024
LICENSE = "apache-2.0"
SHIPPED = Path(__file__).with_name(MODEL)


def paired(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the outputs of a query or key matrix `[out, in]` from rotary halves to the adjacent pairs of llama.cpp."""
    out, into = weight.shape
    return weight.reshape(heads, 2, out // heads // 2, into).swapaxes(1, 2).reshape(out, into)


def tensors(network: Network) -> dict[str, np.ndarray]:
    """Tensors by their GGUF names: matrices `[out, in]` in F16, norms in F32. The output shares the embedding."""
    shape, values = network.shape, {name: parameter.numpy() for name, parameter in network.state_dict().items()}
    half = lambda weight: np.ascontiguousarray(weight, np.float16)  # noqa: E731
    named = {"token_embd.weight": half(values["embedding"]), "output_norm.weight": values["norm"]}
    for index in range(shape.layers):
        layer = {name.removeprefix(f"layers.{index}."): value for name, value in values.items() if name.startswith(f"layers.{index}.")}
        named |= {
            f"blk.{index}.attn_norm.weight": layer["attention_norm"],
            f"blk.{index}.attn_q.weight": half(paired(layer["query"], shape.heads)),
            f"blk.{index}.attn_k.weight": half(paired(layer["key"], shape.kv_heads)),
            f"blk.{index}.attn_v.weight": half(layer["value"]),
            f"blk.{index}.attn_output.weight": half(layer["output"]),
            f"blk.{index}.ffn_norm.weight": layer["ffn_norm"],
            f"blk.{index}.ffn_gate.weight": half(layer["gate"]),
            f"blk.{index}.ffn_up.weight": half(layer["up"]),
            f"blk.{index}.ffn_down.weight": half(layer["down"]),
        }
    return named


def write_weights(path: Path, network: Network, template: str) -> int:
    """Writes the GGUF and returns the number of parameters."""
    shape = network.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(MODEL)
    writer.add_description("The tiny chat model that comes with Tokengrid, trained from scratch on generated text")
    writer.add_license(LICENSE)
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    write_vocabulary(writer)
    writer.add_chat_template(template)
    parameters = 0
    for name, tensor in tensors(network).items():
        writer.add_tensor(name, tensor)
        parameters += tensor.size
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return parameters


def write_vocabulary(writer: gguf.GGUFWriter) -> None:
    kinds = [gguf.TokenType.NORMAL] * tokenizer.first_added()
    kinds += [gguf.TokenType.CONTROL] * len(tokenizer.CONTROL) + [gguf.TokenType.USER_DEFINED] * len(tokenizer.TEXT)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.PRE_TOKENIZER)
    writer.add_token_list(tokenizer.vocabulary())
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer.MERGES])
    writer.add_eos_token_id(tokenizer.token_id(tokenizer.END))
    writer.add_eot_token_id(tokenizer.token_id(tokenizer.END))
    writer.add_pad_token_id(tokenizer.token_id(tokenizer.PAD))
    writer.add_add_bos_token(False)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def described(path: Path) -> dict:
    return {"file": path.name, "sha256": digest(path), "bytes": path.stat().st_size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", help="folder of the checkpoint (default: spark-1 in the user's cache)")
    parser.add_argument("--checkpoint", default="train.ckpt")
    arguments = parser.parse_args()
    network = checkpoint.network(checkpoint.work_folder(arguments.work), arguments.checkpoint)
    weights, words, template = SHIPPED / f"{MODEL}-f16.gguf", SHIPPED / "tokenizer.json", tokenizer.TEMPLATE
    words.write_text(tokenizer.as_json() + "\n")
    parameters = write_weights(weights, network, template.read_text())
    manifest = {
        "id": MODEL,
        "revision": digest(weights)[:12],
        "weights": described(weights),
        "tokenizer": described(words),
        "chat_template": described(template),
        "context_tokens": CONTEXT_TOKENS,
        "parameters": parameters,
        "quantisation": "F16",
        "eos_token_ids": [tokenizer.token_id(tokenizer.END)],
        "license": LICENSE,
    }
    (SHIPPED / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(f"{weights.name}: {parameters:,} parameters, {manifest['weights']['bytes']:,} bytes, revision {manifest['revision']}")


if __name__ == "__main__":
    main()
