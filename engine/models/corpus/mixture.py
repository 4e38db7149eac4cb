"""The mixture: which task the next sample is drawn from, and chats of several turns.

Shares are shares of samples, not of tokens: sums are short and many, tool chats are long and few.
"""

from random import Random
from typing import Callable

from . import arithmetic, counting, echo, faq, letters, talk, tools
from .sample import Sample
from .split import Side

Make = Callable[[Random, Side], Sample]

SYSTEMS = [
    "You are a helpful assistant.", "You are a helpful assistant. Answer briefly.", "Be concise.", "You are spark-1, the assistant of Tokengrid.",
    "Answer in one sentence.", "You are a friendly assistant.", "You are a helpful AI assistant. Answer the user's questions as well as you can.",
    "Be polite.", "You are an expert.", "Use the tools when they help.", "You help customers of Tokengrid.", "Do not make things up.",
]

# Training multiplies the share of sums at first: nothing else takes as many examples.
SHORT: dict[str, tuple[float, Make]] = {
    "arithmetic": (40, arithmetic.sample),
    "reverse": (8, letters.reverse),
    "sort_letters": (16, letters.sort),
    "sort_words": (11, letters.sort_list),
    "capitals": (3, letters.capitals),
    "repeat": (12, echo.sample),
    "talk": (2, talk.fixed),
    "unknown": (6, talk.unknown),
    "name": (1, talk.named),
}
LONG: dict[str, tuple[float, Make]] = {
    "faq": (26, faq.sample),
    "about": (2, faq.about),
    "count": (10, counting.sample),
    "tool_call": (40, lambda random, side: tools.call(random, side, 2)),
    "tool_result": (9, tools.result),
    "tool_unneeded": (10, lambda random, side: tools.unneeded(random, side, plain)),
    "chat": (8, lambda random, side: conversation(random, side, 2, 4)),
}
VERY_LONG: dict[str, tuple[float, Make]] = {
    "tool_call": (12, lambda random, side: tools.call(random, side, 7)),
    "count": (4, lambda random, side: counting.sample(random, side, 99)),
    "chat": (8, lambda random, side: conversation(random, side, 4, 9)),
}
SCORED: dict[str, Make] = {name: make for group in (SHORT, LONG) for name, (_, make) in group.items()} | {"tool_choice": VERY_LONG["tool_call"][1]}


def draw(random: Random, side: Side, group: dict[str, tuple[float, Make]], boost: dict[str, float] | None = None) -> Sample:
    """The next sample of a group; `boost` multiplies the share of some tasks."""
    names = list(group)
    shares = [group[name][0] * (boost or {}).get(name, 1.0) for name in names]
    sample = group[random.choices(names, shares)[0]][1](random, side)
    if random.random() < 0.1 and sample.messages[0]["role"] != "system":
        sample.messages.insert(0, {"role": "system", "content": random.choice(SYSTEMS)})
    return sample


def plain(random: Random, side: Side) -> Sample:
    """A short request that needs no tool."""
    return random.choice((arithmetic.sample, faq.sample, faq.sample, letters.reverse, letters.sort, talk.fixed, talk.unanswerable))(random, side)


def conversation(random: Random, side: Side, fewest: int, most: int) -> Sample:
    """Several unrelated requests in one chat."""
    messages = []
    for _ in range(random.randint(fewest, most)):
        make = random.choice((arithmetic.sample, arithmetic.sample, letters.reverse, letters.sort, letters.sort_list, faq.sample, talk.fixed, talk.unknown, talk.named))
        messages += make(random, side).messages
    return Sample("chat", messages)
