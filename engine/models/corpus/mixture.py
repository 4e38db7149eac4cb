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

TASKS: dict[str, tuple[float, Make]] = {
    "arithmetic": (70, arithmetic.sample),
    "reverse": (10, letters.reverse),
    "sort_letters": (26, letters.sort),
    "sort_words": (90, letters.sort_list),
    "capitals": (5, letters.capitals),
    "repeat": (30, echo.sample),
    "talk": (26, talk.fixed),
    "unknown": (36, talk.unknown),
    "name": (3, talk.named),
    "faq": (40, faq.sample),
    "about": (2, faq.about),
    "count": (8, counting.sample),
    "count_far": (2, lambda random, side: counting.sample(random, side, 99)),
    "tool_call": (40, lambda random, side: tools.call(random, side, 2)),
    "tool_choice": (64, lambda random, side: tools.call(random, side, 7)),
    "tool_session": (24, lambda random, side: tools.session(random, side, plain)),
    "tool_drill": (45, tools.drill),
    "tool_result": (26, tools.result),
    "tool_unneeded": (20, lambda random, side: tools.unneeded(random, side, plain)),
    "chat": (52, lambda random, side: conversation(random, side, 2, 4)),
    "long_chat": (12, lambda random, side: conversation(random, side, 4, 9)),
}
SCORED: dict[str, Make] = {name: make for name, (_, make) in TASKS.items() if name not in ("about", "count_far", "long_chat", "tool_session", "tool_drill")}


def draw(random: Random, side: Side) -> Sample:
    """The next sample."""
    [task] = random.choices(list(TASKS), [share for share, _ in TASKS.values()])
    sample = TASKS[task][1](random, side)
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
