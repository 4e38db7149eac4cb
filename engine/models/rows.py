"""Packed rows: many short chats side by side in one array, each seeing only itself."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Callable

import numpy as np

from corpus.sample import Sample
from tokenizer import Encoded, encode


END_WEIGHT = 0.8


@dataclass
class Rows:
    """Arrays `[rows, length]`. `targets[i]` is the token after `tokens[i]`; `weights[i]` is zero where it is not learned."""

    tokens: np.ndarray
    positions: np.ndarray
    documents: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    # The cases by (row, document): what evaluation needs to score each one.
    samples: dict[tuple[int, int], Sample]

    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.tokens, self.positions, self.documents, self.targets, self.weights


def empty(rows: int, length: int, pad: int) -> Rows:
    grid = lambda value, kind: np.full((rows, length), value, kind)  # noqa: E731
    return Rows(grid(pad, np.int32), grid(0, np.int32), grid(-1, np.int32), grid(pad, np.int32), grid(0, np.float32), {})


def place(into: Rows, row: int, offset: int, document: int, sample: Sample, encoded: Encoded) -> None:
    """Write one chat into a row.

    Every chat weighs about the square root of its answer's length, so long answers do not drown sums. The first and the last
    token of a turn, which decide what is said and when to stop, weigh as much as a sum does; chats with tools, where most tokens
    are copied, weigh double.
    """
    length = len(encoded.tokens) - 1
    span = slice(offset, offset + length)
    learned = np.array(encoded.learned[1:], np.float32)
    into.tokens[row, span] = encoded.tokens[:-1]
    into.targets[row, span] = encoded.tokens[1:]
    into.positions[row, span] = np.arange(length)
    into.documents[row, span] = document
    weights = learned * (2 if sample.tools else 1) / np.sqrt(max(1.0, learned.sum()))
    before, after = np.concatenate([[0], learned[:-1]]), np.concatenate([learned[1:], [0]])
    ends = (learned > 0) & ((before == 0) | (after == 0))
    into.weights[row, span] = np.where(ends, np.maximum(weights, END_WEIGHT), weights)
    into.samples[row, document] = sample


class Packer:
    """Fills rows with samples from `draw`, keeping a small buffer so that little of a row is wasted.

    A sample that is longer than a row is dropped.
    """

    BUFFER = 48

    def __init__(self, draw: Callable[[], Sample], rows: int, length: int, pad: int) -> None:
        self.draw, self.rows, self.length, self.pad = draw, rows, length, pad
        self.buffer: list[tuple[Sample, Encoded]] = []

    def next(self) -> Rows:
        into = empty(self.rows, self.length, self.pad)
        for row in range(self.rows):
            offset = document = 0
            while (found := self.take(self.length - offset)) is not None:
                place(into, row, offset, document, *found)
                offset += len(found[1].tokens) - 1
                document += 1
        return into

    def take(self, room: int) -> tuple[Sample, Encoded] | None:
        """The first buffered sample that fits."""
        while len(self.buffer) < self.BUFFER:
            sample = self.draw()
            encoded = encode(sample)
            if len(encoded.tokens) - 1 <= self.length:
                self.buffer.append((sample, encoded))
        for index, (_, encoded) in enumerate(self.buffer):
            if len(encoded.tokens) - 1 <= room:
                return self.buffer.pop(index)
        return None


def scored(rows: Rows, chosen: np.ndarray) -> list[tuple[Sample, bool]]:
    """Whether every learned token of each case was the one chosen: the same as greedy decoding giving the exact answer."""
    right: dict[tuple[int, int], bool] = defaultdict(lambda: True)
    for row, column in zip(*np.nonzero(rows.weights)):
        key = (int(row), int(rows.documents[row, column]))
        right[key] &= bool(chosen[row, column] == rows.targets[row, column])
    return [(sample, right[key]) for key, sample in rows.samples.items()]


def fixed(samples: list[Sample], rows: int, length: int, pad: int) -> list[Rows]:
    """All of `samples` (those that fit a row), packed in order; the last rows may be empty."""
    waiting = [(sample, encoded) for sample in samples if len((encoded := encode(sample)).tokens) - 1 <= length]
    packed = []
    while waiting:
        into = empty(rows, length, pad)
        for row in range(rows):
            offset = document = 0
            while waiting and offset + len(waiting[-1][1].tokens) - 1 <= length:
                sample, encoded = waiting.pop()
                place(into, row, offset, document, sample, encoded)
                offset += len(encoded.tokens) - 1
                document += 1
        packed.append(into)
    return packed
