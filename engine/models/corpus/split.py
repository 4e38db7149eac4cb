"""The line between what spark-1 is trained on and what it is scored on.

Promises that an item (a pair of operands, a word, a tool's name, a question) is held out at random, once and for all:
by a hash of its own text and never by a rule about its digits or letters. No generator uses a held-out item for training.
"""

import hashlib
import re
from itertools import product
from random import Random
from typing import Literal, Sequence

Side = Literal["train", "test"]

HELD_OUT_PERCENT = 8


def held_out(item: str) -> bool:
    """Whether `item` is kept for scoring."""
    digest = hashlib.blake2b(item.encode(), digest_size=8, key=b"spark-1").digest()
    return int.from_bytes(digest, "big") % 100 < HELD_OUT_PERCENT


def on(side: Side, item: str) -> bool:
    """Whether `item` may be used on `side`."""
    return held_out(item) == (side == "test")


def pick(random: Random, side: Side, items: Sequence[str]) -> str:
    """One of `items` that belongs to `side`; any of them where the list has none on that side."""
    for _ in range(200):
        item = random.choice(items)
        if on(side, item):
            return item
    return random.choice(items)


def expanded(text: str) -> list[str]:
    """The texts that a text with alternatives stands for."""
    parts = [part.split("|") for part in re.split(r"[{}]", text)]
    return ["".join(chosen) for chosen in product(*parts)]
