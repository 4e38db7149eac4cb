"""Counting from one number to another, up to 100: the long outputs of spark-1. A pair of ends is held out."""

from random import Random

from .sample import Sample, exchange
from .split import Side, on

FROM = [
    "Count from {a} to {b}", "count from {a} to {b}.", "Please count from {a} to {b}", "Can you count from {a} to {b}?",
    "List the numbers from {a} to {b}", "Write the numbers {a} to {b}", "Count up from {a} to {b}",
]
TO = ["Count to {b}", "count to {b}.", "Please count to {b}", "Can you count to {b}?"]


def sample(random: Random, side: Side, longest: int = 40) -> Sample:
    while True:
        a = 1 if random.random() < 0.25 else random.randint(0, 98)
        b = min(100, a + random.randint(1, longest))
        if on(side, f"count {a} {b}"):
            break
    forms = FROM + TO * 2 if a == 1 else FROM
    return exchange("count", random.choice(forms).format(a=a, b=b), ", ".join(str(n) for n in range(a, b + 1)))
