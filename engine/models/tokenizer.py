"""The vocabulary of spark-1 and its chat template.

Promises that the Hugging Face `tokenizer.json` written here and llama.cpp's `gpt2` model with the `qwen2` pre-tokenizer
give the same tokens. The vocabulary is the 256 bytes, so any text fits and letters stay visible to the model; a few merges
join the punctuation of JSON and nothing else, and the tags of the template are tokens of their own.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from tokenizers import Tokenizer

from corpus.sample import Sample

PRE_TOKENIZER = "qwen2"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MERGES = [('"', ":"), ("Ġ", '"'), ("{", '"'), ("Ġ", '{"'), ('"', ","), ('"', "}"), ('"}', "}")]
# Control tokens are never text; the others are text that is always one token.
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
TEXT = ["<tool_call>", "</tool_call>", "system\n", "user\n", "assistant\n"]
END, PAD = "<|im_end|>", "<|pad|>"
TEMPLATE = Path(__file__).parent / "spark-1" / "chat_template.jinja"


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary, as GPT-2 defined it."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown} | {byte: chr(256 + index) for index, byte in enumerate(hidden)}
    return [letters[byte] for byte in range(256)]


@cache
def vocabulary() -> list[str]:
    """Every token by id: bytes, merges, control tokens, text tokens."""
    return byte_letters() + [left + right for left, right in MERGES] + CONTROL + TEXT


def first_added() -> int:
    """The id of the first token that is not of the byte-level vocabulary."""
    return 256 + len(MERGES)


def token_id(token: str) -> int:
    return vocabulary().index(token)


def as_json() -> str:
    """The text of `tokenizer.json`."""
    added = [
        {"id": first_added() + index, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": content in CONTROL}
        for index, content in enumerate(CONTROL + TEXT)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}, byte_level,
        ]},
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(vocabulary()[: first_added()])},
            "merges": [list(pair) for pair in MERGES],
        },
    }, ensure_ascii=False, indent=1)


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_str(as_json())


@cache
def template() -> jinja2.Template:
    """The chat template in the environment that Hugging Face gives it, which the control plane repeats."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(TEMPLATE.read_text())


def prompt(messages: list[dict], tools: list[dict]) -> str:
    """The text that the model continues."""
    return template().render(messages=messages, tools=tools, add_generation_prompt=True)


@dataclass(frozen=True)
class Encoded:
    """Tokens of a whole chat; `learned[i]` says whether token i is one the assistant has to write."""

    tokens: list[int]
    learned: list[bool]


def encode(sample: Sample) -> Encoded:
    """The tokens of a chat up to its last `<|im_end|>`."""
    text = template().render(messages=sample.messages, tools=sample.tools, add_generation_prompt=False).removesuffix("\n")
    tokens = tokenizer().encode(text).ids
    assistant, end = tokenizer().token_to_id("assistant\n"), tokenizer().token_to_id(END)
    start = tokenizer().token_to_id("<|im_start|>")
    learned, inside = [], False
    for index, token in enumerate(tokens):
        learned.append(inside)
        if inside:
            inside = token != end
        elif token == assistant and index and tokens[index - 1] == start:
            inside = True
    return Encoded(tokens, learned)
