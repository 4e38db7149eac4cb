"""Batches: chats of like length side by side, one a row, so that little is padded and nothing has to be masked."""

from dataclasses import dataclass
from itertools import groupby
from typing import Callable, Iterator

import torch
from torch import Tensor

from corpus.sample import Sample
from tokenizer import PAD, Encoded, encode, token_id

TOKENS = 2048  # of a batch, padding included; more falls out of a core's cache
LONGEST = 1000  # of a chat
DECIDING_WEIGHT = 0.8
OPENING = [token_id(token) for token in ('Ġ"', 'Ġ{"')]
CLOSING = [token_id(token) for token in ('",', '"}', '"}}')]


@dataclass
class Batch:
    """`tokens` `[rows, length]`; `wanted` are the flat positions whose next token (`targets`) the assistant writes."""

    samples: list[Sample]
    tokens: Tensor
    wanted: Tensor
    targets: Tensor
    weights: Tensor
    count: int  # of tokens, padding not included

    def arrays(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.tokens, self.wanted, self.targets, self.weights


def weights(sample: Sample, encoded: Encoded) -> list[float]:
    """The weight of each token.

    Every answer weighs about the square root of its length, so long answers do not drown sums; those in chats with tools, where
    most tokens are copied, weigh double. What decides the rest weighs as much as a sum does: the first and the last token of a turn,
    and where a name or a value of a tool call begins and ends.
    """
    learned = encoded.learned
    edge = [one != other for one, other in zip([False, *learned], [*learned, False])]
    each = []
    for turn, tokens in groupby(learned):
        length = len(list(tokens))
        each += [(2 if sample.tools else 1) / length**0.5 if turn else 0.0] * length
    opens = [False, *(token in OPENING for token in encoded.tokens)]
    closes = [token in CLOSING for token in encoded.tokens]
    decides = lambda at: edge[at] or edge[at + 1] or (sample.tools and (opens[at] or closes[at]))  # noqa: E731
    return [(max(each[at], DECIDING_WEIGHT) if decides(at) else each[at]) if here else 0.0 for at, here in enumerate(learned)]


def batch(chats: list[tuple[Sample, Encoded]]) -> Batch:
    """One batch of these chats, as long as the longest of them."""
    length = max(len(encoded.tokens) for _, encoded in chats) - 1
    tokens = torch.full((len(chats), length), token_id(PAD))
    wanted, targets, heavy = [], [], []
    count = sum(len(encoded.tokens) for _, encoded in chats)
    for row, (sample, encoded) in enumerate(chats):
        tokens[row, : len(encoded.tokens) - 1] = torch.tensor(encoded.tokens[:-1])
        for at, weight in enumerate(weights(sample, encoded)):
            if weight:
                wanted.append(row * length + at - 1)
                targets.append(encoded.tokens[at])
                heavy.append(weight)
    return Batch([sample for sample, _ in chats], tokens, torch.tensor(wanted), torch.tensor(targets), torch.tensor(heavy), count)


def batches(chats: list[tuple[Sample, Encoded]]) -> Iterator[Batch]:
    """All of `chats`, the longest first, in batches of at most `TOKENS`."""
    chats = sorted(chats, key=lambda chat: -len(chat[1].tokens))
    rows: list[tuple[Sample, Encoded]] = []
    for chat in chats:
        if rows and (len(rows) + 1) * len(rows[0][1].tokens) > TOKENS:
            yield batch(rows)
            rows = []
        rows.append(chat)
    if rows:
        yield batch(rows)


def drawn(draw: Callable[[], Sample], tokens: int) -> list[tuple[Sample, Encoded]]:
    """Fresh chats of about `tokens` in all; one that is longer than `LONGEST` is dropped."""
    chats, count = [], 0
    while count < tokens:
        sample = draw()
        encoded = encode(sample)
        if len(encoded.tokens) <= LONGEST:
            chats.append((sample, encoded))
            count += len(encoded.tokens)
    return chats


def scored(batch: Batch, chosen: Tensor) -> list[tuple[Sample, bool]]:
    """Whether every learned token of each case was the one chosen: the same as greedy decoding giving the exact answer."""
    right = [True] * len(batch.samples)
    length = batch.tokens.shape[1]
    for at in (chosen != batch.targets).nonzero()[:, 0]:
        right[int(batch.wanted[at]) // length] = False
    return list(zip(batch.samples, right))
