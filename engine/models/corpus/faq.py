"""Questions about Tokengrid: every fact in many phrasings. A phrasing is held out before it is decorated."""

from functools import cache
from random import Random

from .fact import ABOUT, ABOUT_ASKED, FACTS, Fact
from .sample import Sample, exchange
from .split import Side, expanded, on

FRAMES = [
    "What is {n}?", "What's {n}?", "what is {n}", "Explain {n}", "Define {n}", "What does {n} mean?", "Can you explain {n}?",
    "What do you know about {n}?", "{n}?", "Please explain {n}.", "What is meant by {n}?", "I want to know about {n}", "Tell me what {n} is", "Tell me about {n}",
]
PLURAL_FRAMES = [
    "What are {n}?", "what are {n}", "Explain {n}", "Define {n}", "What does {n} mean?", "Can you explain {n}?", "What do you know about {n}?",
    "{n}?", "Please explain {n}.", "I want to know about {n}", "Tell me what {n} are", "Tell me about {n}",
]
OPENINGS = ["Hi, ", "Hello, ", "Hey, ", "Please tell me: ", "Quick question: ", "I have a question. ", "OK, ", "And ", "So, ", "Sorry, "]
CLOSINGS = [" Thanks!", " Please.", " Thank you.", " Please explain."]


@cache
def phrasings(fact: Fact) -> list[str]:
    """Every way to ask for a fact."""
    framed = []
    for name in fact.named:
        plural = name.endswith("s") and name.split()[0] not in ("the", "a", "an", "my", "this", "Tokengrid's")
        framed += [frame.format(n=name) for frame in (PLURAL_FRAMES if plural else FRAMES)]
    if fact.key == "tokengrid":  # "Tell me about Tokengrid" asks for the long paragraph.
        framed = [phrasing for phrasing in framed if not phrasing.startswith("Tell me about")]
    return framed + [question for asked in fact.asked for question in expanded(asked)]


def sample(random: Random, side: Side) -> Sample:
    while True:
        fact = random.choice(FACTS)
        phrasing = random.choice(phrasings(fact))
        if on(side, phrasing.lower().strip("?. ")):
            return exchange("faq", decorated(random, phrasing), fact.answer)


def about(random: Random, side: Side) -> Sample:
    """The long paragraph about Tokengrid."""
    while True:
        phrasing = random.choice(ABOUT_ASKED)
        if on(side, phrasing.lower().strip("?. ")) or side == "test":
            return exchange("about", phrasing, ABOUT)


def decorated(random: Random, question: str) -> str:
    """The question as people type it."""
    if random.random() < 0.15:
        question = random.choice(OPENINGS) + question[0].lower() + question[1:]
    if random.random() < 0.06:
        question += random.choice(CLOSINGS)
    if random.random() < 0.2:
        question = question.lower()
    if random.random() < 0.2:
        question = question.rstrip("?. ")
    return question
