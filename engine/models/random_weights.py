"""Models with random weights, for benches and for tests of every architecture: nothing is learned, nothing downloaded.

    python3 random_weights.py dense-100m bench.gguf
    python3 random_weights.py dense|experts|embedding tiny.gguf

Writes one GGUF file of 32 bits a weight with the standard library alone. The same kind and seed give the same file.
"""

import argparse
import itertools
import math
import os
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

ALIGNMENT = 32
# GGUF's types of values (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
F32 = 0
NORMAL, CONTROL = 1, 3
# How many weights are made at a time.
PIECE = 1 << 20
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Shape:
    """How large a model is."""

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    context: int
    experts: int = 0
    experts_used: int = 0


KINDS = {
    "dense-100m": Shape("llama", 12, 768, 12, 4, 2048, 32_000, 4096),
    "dense": Shape("llama", 2, 64, 4, 2, 128, 400, 1024),
    "experts": Shape("qwen3moe", 2, 64, 4, 2, 64, 400, 1024, experts=4, experts_used=2),
    "embedding": Shape("bert", 2, 64, 4, 4, 128, 400, 512),
}


@dataclass
class File:
    """What goes into a GGUF file: metadata, and tensors by name with their shape and what to fill them with."""

    metadata: list = field(default_factory=list)
    tensors: list = field(default_factory=list)

    def put(self, key: str, kind: int, value, inner: int | None = None) -> None:
        self.metadata.append((key, kind, value, inner))

    def matrix(self, name: str, *shape: int, gain: float = 1.0) -> None:
        """Random weights; the first number of the shape is what is summed over."""
        self.tensors.append((name, shape, gain / math.sqrt(shape[0])))

    def ones(self, name: str, length: int) -> None:
        self.tensors.append((name, (length,), None))

    def write(self, path: Path, seed: int) -> int:
        """Writes the file whole or not at all; tells how many weights it holds."""
        unfinished = path.with_suffix(".part")
        with open(unfinished, "wb") as out:
            out.write(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.metadata)))
            for key, kind, value, inner in self.metadata:
                out.write(text(key) + struct.pack("<I", kind) + packed(kind, value, inner))
            offset = 0
            for name, shape, _ in self.tensors:
                dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
                out.write(text(name) + dimensions + struct.pack("<IQ", F32, offset))
                offset += aligned(4 * math.prod(shape))
            out.write(bytes(aligned(out.tell()) - out.tell()))
            generator = random.Random(seed)
            for _, shape, deviation in self.tensors:
                count = math.prod(shape)
                for begin in range(0, count, PIECE):
                    out.write(weights(generator, min(PIECE, count - begin), deviation))
                out.write(bytes(aligned(4 * count) - 4 * count))
        os.replace(unfinished, path)
        return sum(math.prod(shape) for _, shape, _ in self.tensors)


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def packed(kind: int, value, inner: int | None) -> bytes:
    if kind == STRING:
        return text(value)
    if kind == ARRAY:
        return struct.pack("<IQ", inner, len(value)) + b"".join(packed(inner, one, None) for one in value)
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}[kind], value)


def weights(generator: random.Random, count: int, deviation: float | None) -> bytes:
    """Floats of random sign whose magnitudes lie within one power of two, so that this is their standard deviation, about:
    random bits under a fixed exponent, which whole integers make fast. Ones where there is none."""
    if deviation is None:
        return struct.pack("<f", 1.0) * count
    # Evenly spread from 2^e to 2^(e+1), the root of the mean square is 1.53 × 2^e.
    exponent = 127 + round(math.log2(deviation / 1.53))
    keep = int.from_bytes(struct.pack("<I", 0x807F_FFFF) * count, "little")
    fixed = int.from_bytes(struct.pack("<I", exponent << 23) * count, "little")
    bits = int.from_bytes(generator.randbytes(4 * count), "little")
    return (bits & keep | fixed).to_bytes(4 * count, "little")


def byte_names() -> list[str]:
    """What the `gpt2` vocabulary calls the 256 bytes: printable ones themselves, the others from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(0x100)
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def merges(count: int) -> list[tuple[str, str]]:
    """Pairs of letters, then words of three, each also after a space."""
    space = byte_names()[ord(" ")]
    pairs = list(itertools.product(LETTERS, LETTERS))
    twos = [first + second for first, second in pairs]
    made = [*pairs, *((space, two) for two in twos), *itertools.product(twos, LETTERS)]
    made += [(space + two, letter) for two in twos for letter in LETTERS]
    return made[:count]


def byte_vocabulary(file: File, size: int) -> None:
    controls = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    pairs = merges(size - 256 - len(controls))
    tokens = [*byte_names(), *(first + second for first, second in pairs), *controls]
    assert len(tokens) == size, f"a vocabulary of {len(tokens)}, not {size}"
    file.put("tokenizer.ggml.model", STRING, "gpt2")
    file.put("tokenizer.ggml.pre", STRING, "qwen2")
    file.put("tokenizer.ggml.tokens", ARRAY, tokens, STRING)
    kinds = [NORMAL] * (size - len(controls)) + [CONTROL] * len(controls)
    file.put("tokenizer.ggml.token_type", ARRAY, kinds, INT32)
    file.put("tokenizer.ggml.merges", ARRAY, [" ".join(pair) for pair in pairs], STRING)
    file.put("tokenizer.ggml.padding_token_id", UINT32, size - 3)
    file.put("tokenizer.ggml.eos_token_id", UINT32, size - 1)
    file.put("tokenizer.ggml.add_bos_token", BOOL, False)


def word_vocabulary(file: File, size: int) -> None:
    controls = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # A word begins with U+2581; what goes on within a word does not.
    pieces = ["\u2581" + letter for letter in LETTERS] + list(LETTERS)
    pieces += ["\u2581" + first + second for first, second in itertools.product(LETTERS, LETTERS)]
    tokens = controls + pieces[: size - len(controls)]
    file.put("tokenizer.ggml.model", STRING, "bert")
    file.put("tokenizer.ggml.tokens", ARRAY, tokens, STRING)
    kinds = [CONTROL] * len(controls) + [NORMAL] * (size - len(controls))
    file.put("tokenizer.ggml.token_type", ARRAY, kinds, INT32)
    file.put("tokenizer.ggml.token_type_count", UINT32, 2)
    named = {"padding": 0, "unknown": 1, "cls": 2, "bos": 2, "seperator": 3, "eos": 3, "mask": 4}
    for name, token in named.items():
        file.put(f"tokenizer.ggml.{name}_token_id", UINT32, token)


def describe(file: File, shape: Shape, name: str) -> None:
    file.put("general.architecture", STRING, shape.architecture)
    file.put("general.name", STRING, f"random {name}")
    file.put("general.file_type", UINT32, 0)
    numbers = {
        "vocab_size": shape.vocabulary,
        "context_length": shape.context,
        "embedding_length": shape.width,
        "block_count": shape.layers,
        "feed_forward_length": shape.feed_forward,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
    }
    for key, number in numbers.items():
        file.put(f"{shape.architecture}.{key}", UINT32, number)


def decoder(file: File, shape: Shape) -> None:
    """A Llama, or with experts a Qwen 3: attention with rotated positions, gated feed-forward, tied embedding."""
    name, width, wide = shape.architecture, shape.width, shape.feed_forward
    head = width // shape.heads
    file.put(f"{name}.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5)
    file.put(f"{name}.rope.dimension_count", UINT32, head)
    file.put(f"{name}.rope.freq_base", FLOAT32, 10_000.0)
    if shape.experts:
        file.put(f"{name}.attention.key_length", UINT32, head)
        file.put(f"{name}.attention.value_length", UINT32, head)
        file.put(f"{name}.expert_count", UINT32, shape.experts)
        file.put(f"{name}.expert_used_count", UINT32, shape.experts_used)
        file.put(f"{name}.expert_feed_forward_length", UINT32, wide)
    byte_vocabulary(file, shape.vocabulary)
    # A gain makes some tokens clearly likelier than others.
    file.matrix("token_embd.weight", width, shape.vocabulary, gain=3.0)
    file.ones("output_norm.weight", width)
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        file.ones(f"{block}.attn_norm.weight", width)
        file.matrix(f"{block}.attn_q.weight", width, width)
        for part in "kv":
            file.matrix(f"{block}.attn_{part}.weight", width, head * shape.kv_heads)
        file.matrix(f"{block}.attn_output.weight", width, width)
        file.ones(f"{block}.ffn_norm.weight", width)
        if shape.experts:
            for part in "qk":
                file.ones(f"{block}.attn_{part}_norm.weight", head)
            file.matrix(f"{block}.ffn_gate_inp.weight", width, shape.experts, gain=3.0)
            for part, summed, made in [("gate", width, wide), ("up", width, wide), ("down", wide, width)]:
                file.matrix(f"{block}.ffn_{part}_exps.weight", summed, made, shape.experts)
        else:
            for part, summed, made in [("gate", width, wide), ("up", width, wide), ("down", wide, width)]:
                file.matrix(f"{block}.ffn_{part}.weight", summed, made)


def encoder(file: File, shape: Shape) -> None:
    """A BERT, whose vectors are the mean over a text."""
    width, wide = shape.width, shape.feed_forward
    file.put("bert.attention.layer_norm_epsilon", FLOAT32, 1e-12)
    file.put("bert.attention.causal", BOOL, False)
    file.put("bert.pooling_type", UINT32, 1)
    word_vocabulary(file, shape.vocabulary)

    def normed(name: str) -> None:
        file.ones(f"{name}.weight", width)
        file.matrix(f"{name}.bias", width, gain=0.1)

    def linear(name: str, summed: int, made: int) -> None:
        file.matrix(f"{name}.weight", summed, made)
        file.matrix(f"{name}.bias", made, gain=0.1)

    file.matrix("token_embd.weight", width, shape.vocabulary, gain=3.0)
    file.matrix("token_types.weight", width, 2)
    file.matrix("position_embd.weight", width, shape.context)
    normed("token_embd_norm")
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        for part in ("q", "k", "v", "output"):
            linear(f"{block}.attn_{part}", width, width)
        normed(f"{block}.attn_output_norm")
        linear(f"{block}.ffn_up", width, wide)
        linear(f"{block}.ffn_down", wide, width)
        normed(f"{block}.layer_output_norm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    shape, file = KINDS[arguments.kind], File()
    describe(file, shape, arguments.kind)
    (encoder if shape.architecture == "bert" else decoder)(file, shape)
    count = file.write(arguments.out, arguments.seed)
    print(f"{arguments.out}: {count:,} parameters, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
