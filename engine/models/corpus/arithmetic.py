"""Sums and differences of two numbers from 0 to 99, in several phrasings; differences may be negative.

A pair of operands with its sign is held out, in every phrasing at once.
"""

from random import Random

from .sample import Sample, exchange
from .split import Side, on

PLUS = [
    "{a}+{b}", "{a}+{b}=", "{a} + {b}", "{a} + {b} =", "{a} plus {b}", "What is {a} + {b}?", "What is {a} plus {b}?",
    "what's {a} plus {b}?", "what's {a}+{b}", "calculate {a} + {b}", "Compute {a}+{b}.", "Add {a} and {b}.", "add {b} to {a}",
    "How much is {a} + {b}?", "What is the sum of {a} and {b}?", "sum of {a} and {b}", "Please add {a} and {b}",
    "what is {a}+{b}", "What does {a} + {b} equal?", "Can you work out {a} + {b}?", "{a} and {b} make?", "What is {a}+{b}?",
]
MINUS = [
    "{a}-{b}", "{a}-{b}=", "{a} - {b}", "{a} - {b} =", "{a} minus {b}", "What is {a} - {b}?", "What is {a} minus {b}?",
    "what's {a} minus {b}?", "what's {a}-{b}", "calculate {a} - {b}", "Compute {a}-{b}.", "Subtract {b} from {a}.",
    "take {b} from {a}", "How much is {a} - {b}?", "What is the difference of {a} and {b}?", "difference of {a} and {b}",
    "Please subtract {b} from {a}", "what is {a}-{b}", "What does {a} - {b} equal?", "Can you work out {a} - {b}?",
    "{a} less {b}", "What is {a}-{b}?",
]


def sample(random: Random, side: Side) -> Sample:
    plus = random.random() < 0.45
    while True:
        a, b = random.randint(0, 99), random.randint(0, 99)
        if on(side, f"{a}{'+' if plus else '-'}{b}"):
            break
    # Bare sums are the shortest way to see many pairs.
    forms = PLUS if plus else MINUS
    form = random.choice(forms[:4]) if side == "train" and random.random() < 0.4 else random.choice(forms)
    return exchange("arithmetic", form.format(a=a, b=b), str(a + b if plus else a - b))
