"""Makes `tiny-bert`: an embedding model with random weights, for tests. Standard library only; the same bytes each time.

    python3 engine/tests/models/tiny_bert.py

Architecture `bert`, one layer of 32 dimensions, mean pooling; a word piece tokenizer of letters and digits.
"""

import array
import hashlib
import json
import random
import struct
from pathlib import Path

FOLDER = Path(__file__).parent / "tiny-bert"
NAME = "tiny-bert"
WIDTH, FORWARD, HEADS, CONTEXT = 32, 64, 4, 128
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PIECES = SPECIAL + list(LETTERS + ".,!?+-=") + ["##" + letter for letter in LETTERS]

# Types of GGUF.
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
ALIGNMENT = 32


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def field(key, kind, value):
    packed = {
        UINT32: lambda: struct.pack("<I", value),
        FLOAT32: lambda: struct.pack("<f", value),
        BOOL: lambda: struct.pack("<?", value),
        STRING: lambda: text(value),
    }
    return text(key) + struct.pack("<I", kind) + packed[kind]()


def items(key, kind, values, pack):
    head = struct.pack("<IIQ", ARRAY, kind, len(values))
    return text(key) + head + b"".join(pack(value) for value in values)


def metadata():
    # The file has word pieces as llama.cpp writes them: a mark before the first of a word, none before the others.
    shown = [piece if piece in SPECIAL else piece[2:] if piece.startswith("##") else "\u2581" + piece for piece in PIECES]
    kinds = [3 if piece in SPECIAL else 1 for piece in PIECES]
    return [
        field("general.architecture", STRING, "bert"),
        field("general.name", STRING, NAME),
        field("general.file_type", UINT32, 0),
        field("bert.block_count", UINT32, 1),
        field("bert.context_length", UINT32, CONTEXT),
        field("bert.embedding_length", UINT32, WIDTH),
        field("bert.feed_forward_length", UINT32, FORWARD),
        field("bert.attention.head_count", UINT32, HEADS),
        field("bert.attention.layer_norm_epsilon", FLOAT32, 1e-12),
        field("bert.attention.causal", BOOL, False),
        field("bert.pooling_type", UINT32, 1),
        field("tokenizer.ggml.model", STRING, "bert"),
        field("tokenizer.ggml.token_type_count", UINT32, 2),
        items("tokenizer.ggml.tokens", STRING, shown, text),
        items("tokenizer.ggml.token_type", INT32, kinds, lambda kind: struct.pack("<i", kind)),
        field("tokenizer.ggml.padding_token_id", UINT32, 0),
        field("tokenizer.ggml.unknown_token_id", UINT32, 1),
        field("tokenizer.ggml.bos_token_id", UINT32, 2),
        field("tokenizer.ggml.cls_token_id", UINT32, 2),
        field("tokenizer.ggml.seperator_token_id", UINT32, 3),
        field("tokenizer.ggml.eos_token_id", UINT32, 3),
        field("tokenizer.ggml.mask_token_id", UINT32, 4),
    ]


def tensors():
    chance = random.Random(7)

    def weights(name, *shape):
        size = 1
        for side in shape:
            size *= side
        return name, shape, array.array("f", (chance.gauss(0, 0.3) for _ in range(size)))

    def norm(name):
        yield name + ".weight", (WIDTH,), array.array("f", [1.0] * WIDTH)
        yield name + ".bias", (WIDTH,), array.array("f", [0.0] * WIDTH)

    yield weights("token_embd.weight", WIDTH, len(PIECES))
    yield weights("token_types.weight", WIDTH, 2)
    yield weights("position_embd.weight", WIDTH, CONTEXT)
    yield from norm("token_embd_norm")
    for name in ["attn_q", "attn_k", "attn_v", "attn_output"]:
        yield weights(f"blk.0.{name}.weight", WIDTH, WIDTH)
        yield weights(f"blk.0.{name}.bias", WIDTH)
    yield from norm("blk.0.attn_output_norm")
    yield weights("blk.0.ffn_up.weight", WIDTH, FORWARD)
    yield weights("blk.0.ffn_up.bias", FORWARD)
    yield weights("blk.0.ffn_down.weight", FORWARD, WIDTH)
    yield weights("blk.0.ffn_down.bias", WIDTH)
    yield from norm("blk.0.layer_output_norm")


def gguf():
    fields, all_tensors = metadata(), list(tensors())
    head = b"GGUF" + struct.pack("<IQQ", 3, len(all_tensors), len(fields)) + b"".join(fields)
    infos, data = b"", b""
    for name, shape, values in all_tensors:
        infos += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        infos += struct.pack("<IQ", 0, len(data))
        data += values.tobytes()
        data += bytes(-len(data) % ALIGNMENT)
    head += infos
    return head + bytes(-len(head) % ALIGNMENT) + data


def tokenizer():
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    special = [
        {"id": vocabulary[piece], "content": piece, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for piece in SPECIAL
    ]
    sequence = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]
    around = {piece: {"id": piece, "ids": [vocabulary[piece]], "tokens": [piece]} for piece in ["[CLS]", "[SEP]"]}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": sequence, "pair": sequence, "special_tokens": around},
        "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }


def write(name, data):
    (FOLDER / name).write_bytes(data)
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def main():
    FOLDER.mkdir(exist_ok=True)
    manifest = {
        "id": NAME,
        "kind": "embedding",
        "revision": "1",
        "weights": write("tiny-bert.gguf", gguf()),
        "tokenizer": write("tokenizer.json", json.dumps(tokenizer(), indent=1).encode() + b"\n"),
        "quantisation": "F32",
        "context_tokens": CONTEXT,
    }
    write("manifest.json", json.dumps(manifest, indent=2).encode() + b"\n")


if __name__ == "__main__":
    main()
