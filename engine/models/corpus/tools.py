"""Chats with tools: calling the right one with the right arguments, answering from its result, and leaving tools alone."""

import json
from dataclasses import replace
from random import Random
from typing import Callable

from . import value
from .sample import Sample
from .split import Side, held_out, on
from .talk import SMALL_SUMS
from .toolbox import Offer, offer
from .word import made_up


def call(random: Random, side: Side, most_tools: int) -> Sample:
    """A request that one of the offered tools answers."""
    wanted = offer(random, side)
    offers = offered(random, side, [wanted], random.randint(1, most_tools))
    return Sample("tool_call", [{"role": "user", "content": wanted.request}, calling(wanted)], described(offers))


def result(random: Random, side: Side) -> Sample:
    """A request, its call, the tool's answer and the answer that tells it."""
    wanted = offer(random, side)
    tools = described(offered(random, side, [wanted], random.randint(1, 2)))
    return Sample("tool_result", [{"role": "user", "content": wanted.request}, calling(wanted), *telling(random, side)], tools)


def session(random: Random, side: Side, plain: Callable[[Random, Side], Sample]) -> Sample:
    """Several requests with the same tools at hand, most of them for a tool: many choices for one reading of the tools."""
    offers = offered(random, side, [offer(random, side)], random.randint(2, 6))
    if random.random() < 0.25:
        offers = named_alike(random, offers)
    messages = []
    for wanted in random.sample(offers, min(len(offers), random.randint(2, 5))):
        messages += [{"role": "user", "content": wanted.request}, calling(wanted)]
        if random.random() < 0.35:
            messages += telling(random, side)
        if random.random() < 0.1:
            messages += unrelated(random, side, plain, offers)
    return Sample("tool_session", messages, described(offers))


def drill(random: Random, side: Side) -> Sample:
    """Every one of many tools asked for in turn, all without parameters: nothing but choosing by the description, and copying the name."""
    offers = [bare(random, side, offer) for offer in offered(random, side, [offer(random, side)], random.randint(3, 7))]
    kind = random.random()
    if kind < 0.25:
        offers = named_alike(random, offers)
    messages = []
    for wanted in random.sample(offers, len(offers)):
        messages += [{"role": "user", "content": wanted.request}, calling(wanted)]
    return Sample("tool_drill", messages, described(offers))


def bare(random: Random, side: Side, offer: Offer) -> Offer:
    """The tool without parameters, half the time under a name that begins with a made-up word."""
    function = offer.tool["function"]
    name = f"{made_up(random, 3, 6)}_{function['name']}"
    if random.random() < 0.5 or not on(side, f"tool {name}"):
        name = function["name"]
    function = function | {"name": name, "parameters": {"type": "object", "properties": {}, "required": []}}
    return replace(offer, tool={"type": "function", "function": function}, arguments={})


def unneeded(random: Random, side: Side, plain: Callable[[Random, Side], Sample]) -> Sample:
    """A request that needs no tool, answered as if there were none."""
    offers = offered(random, side, [offer(random, side)], random.randint(1, 2))
    return Sample("tool_unneeded", unrelated(random, side, plain, offers), described(offers))


def unrelated(random: Random, side: Side, plain: Callable[[Random, Side], Sample], offers: list[Offer]) -> list[dict]:
    """A request that none of the tools answers, and its answer. Who has a tool that multiplies does not refuse to."""
    while True:
        messages = plain(random, side).messages
        if messages[-1]["content"] != SMALL_SUMS or "calculator" not in [offer.does for offer in offers]:
            return messages


def offered(random: Random, side: Side, wanted: list[Offer], count: int) -> list[Offer]:
    """The wanted tools among others that have nothing to do with them, about `count` in all, in any order."""
    offers = list(wanted)
    for _ in range(count - len(offers)):
        other = offer(random, side)
        if not any(alike(one, other) for one in offers):
            offers.append(other)
    random.shuffle(offers)
    return offers


def described(offers: list[Offer]) -> list[dict]:
    return [offer.tool for offer in offers]


def alike(one: Offer, other: Offer) -> bool:
    """Whether two tools do the same, as far as their names and descriptions tell."""
    mine, theirs = one.tool["function"], other.tool["function"]
    return one.does == other.does or mine["name"] == theirs["name"] or overlap(mine, theirs)


def named_alike(random: Random, offers: list[Offer]) -> list[Offer]:
    """The same tools with names that all begin with the same made-up word, as those of one supplier do; never held-out names."""
    first = made_up(random, 3, 6)
    named = []
    for offer in offers:
        function = offer.tool["function"]
        name = f"{first}_{function['name']}"
        named.append(offer if held_out(f"tool {name}") else replace(offer, tool={"type": "function", "function": function | {"name": name}}))
    return named


def overlap(one: dict, other: dict) -> bool:
    """Whether two tools are described with a common word of weight."""
    def words(tool: dict) -> set[str]:
        return {word for word in tool["description"].lower().strip(".").split() if len(word) > 3 and word not in ("into", "another", "current", "from", "between")}
    return bool(words(one) & words(other))


def telling(random: Random, side: Side) -> list[dict]:
    """What a tool returns and the assistant's turn that tells it."""
    content, told = returned(random, side)
    return [{"role": "tool", "content": content}, {"role": "assistant", "content": told}]


def calling(wanted: Offer) -> dict:
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
