"""Chats with tools: calling the right one with the right arguments, answering from its result, and leaving tools alone."""

import json
from random import Random
from typing import Callable

from . import value
from .sample import Sample
from .split import Side
from .toolbox import Offer, offer


def call(random: Random, side: Side, most_tools: int) -> Sample:
    """A request that one of the offered tools answers."""
    wanted = offer(random, side)
    tools = offered(random, side, wanted, most_tools)
    return Sample("tool_call", [{"role": "user", "content": wanted.request}, calling(random, wanted)], tools)


def result(random: Random, side: Side) -> Sample:
    """A request, its call, the tool's answer and the answer that tells it."""
    wanted = offer(random, side)
    tools = offered(random, side, wanted, 2)
    content, told = returned(random, side)
    return Sample("tool_result", [
        {"role": "user", "content": wanted.request}, calling(random, wanted),
        {"role": "tool", "content": content}, {"role": "assistant", "content": told},
    ], tools)


def unneeded(random: Random, side: Side, plain: Callable[[Random, Side], Sample]) -> Sample:
    """A request that needs no tool, answered as if there were none."""
    chat = plain(random, side)
    return Sample("tool_unneeded", chat.messages, offered(random, side, offer(random, side), 2))


def offered(random: Random, side: Side, wanted: Offer, most: int) -> list[dict]:
    """The wanted tool among others that have nothing to do with it."""
    tools = [wanted.tool]
    for _ in range(random.randint(0, most - 1)):
        other = offer(random, side).tool
        mine, theirs = wanted.tool["function"], other["function"]
        if theirs["name"] not in [tool["function"]["name"] for tool in tools] and not overlap(mine, theirs):
            tools.append(other)
    random.shuffle(tools)
    return tools


def overlap(one: dict, other: dict) -> bool:
    """Whether two tools are described with a common word of weight."""
    def words(tool: dict) -> set[str]:
        return {word for word in tool["description"].lower().strip(".").split() if len(word) > 3 and word not in ("into", "another", "current", "from", "between")}
    return bool(words(one) & words(other))


def calling(random: Random, wanted: Offer) -> dict:
    """The assistant's turn that calls the tool; parameters in alphabetical order, as the template lists them."""
    arguments = ", ".join(f'"{name}": {wanted.arguments[name]}' for name in sorted(wanted.arguments, key=str.lower))
    function = {"name": wanted.tool["function"]["name"], "arguments": "{" + arguments + "}"}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}


def returned(random: Random, side: Side) -> tuple[str, str]:
    """What a tool returns and how it is told."""
    kind = random.random()
    if kind < 0.12:
        reason = random.choice(("not found", "timeout", "no such city", "permission denied", value.sentence(random, side)))
        content = json.dumps({"error": reason}) if random.random() < 0.6 else f"error: {reason}"
        return content, f"The tool failed: {reason}."
    if kind < 0.4:
        text = random.choice((value.sentence(random, side), f"{value.amount(random, side)} {value.noun(random, side)}", value.clock(random, side),
                              value.whole(random, side), f"{random.choice(('sunny', 'cloudy', 'rain', 'snow'))}, {random.randint(-20, 45)} degrees", "ok", "sent", "done"))
        return text, f"Here is the result: {text}."
    fields: dict[str, object] = {}
    for _ in range(random.randint(1, 3)):
        name = random.choice(("temperature", "condition", "time", "status", "result", "price", "total", "name", "id", "count", "message", "date", value.noun(random, side)))
        fields[name] = random.choice((random.randint(-20, 40), value.noun(random, side), float(value.amount(random, side)), value.clock(random, side),
                                      value.sentence(random, side), int(value.whole(random, side)), random.choice(("sunny", "ok", "sent", "cloudy"))))
    content = json.dumps(fields, separators=random.choice(((",", ":"), (", ", ": "))), ensure_ascii=False)
    return content, "Here is the result: " + ", ".join(f"{name} {shown}" for name, shown in fields.items()) + "."
