"""Repeating what was said, to the letter: a small skill, and practice for copying values into tool calls."""

from random import Random

from . import value
from .sample import Sample, exchange
from .split import Side

ASKED = ["Repeat after me: {v}", "Repeat: {v}", "Echo {v}", "Repeat this: {v}", "Say this: {v}", "repeat {v}", "Please repeat: {v}", "Say exactly: {v}"]
VALUES = (value.place, value.person, value.sentence, value.sentence, value.code, value.email, value.date, value.noun, value.amount, value.foreign)


def sample(random: Random, side: Side) -> Sample:
    said = random.choice(VALUES)(random, side)
    return exchange("repeat", random.choice(ASKED).format(v=said), said)
