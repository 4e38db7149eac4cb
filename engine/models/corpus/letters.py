"""Reversing a word, sorting its letters, sorting a short list of words, writing a word in capitals. Words are held out."""

from random import Random

from .sample import Sample, exchange
from .split import Side
from .word import word

REVERSE = [
    "Reverse the word {w}", "reverse {w}", "Reverse {w}.", "Reverse the word {w}.", "Please reverse the word {w}", "Write {w} backwards",
    "Spell {w} backwards", "Can you reverse the word {w}?", "What is {w} backwards?", 'Reverse the word "{w}".', "{w} reversed",
    "Reverse the letters of {w}", "Reverse the string {w}", "what is {w} reversed?", "Reverse this word: {w}",
]
SORT = [
    "Sort the letters of the word {w}", "Sort the letters of {w}", "sort the letters of {w}.", "Sort the letters in {w}",
    "Please sort the letters of the word {w}", "Put the letters of {w} in alphabetical order", "Can you sort the letters of {w}?",
    "Order the letters of {w}", 'Sort the letters of the word "{w}".', "Sort the letters of the word {w} alphabetically",
    "letters of {w} sorted", "Alphabetize the letters of {w}", "Sort letters: {w}",
]
LIST = [
    "Sort these words: {l}", "sort these words: {l}", "Sort these words alphabetically: {l}", "Put these words in alphabetical order: {l}",
    "Sort the words {l}", "Sort the list: {l}", "Please sort these words: {l}", "Alphabetize: {l}", "Sort {l}", "Sort the words: {l}.",
]
CAPITALS = [
    "Write {w} in capitals", "Uppercase {w}", "Write the word {w} in capital letters", "{w} in upper case", "Capitalize every letter of {w}",
    "Make {w} uppercase", "Convert {w} to upper case",
]


def reverse(random: Random, side: Side) -> Sample:
    chosen = word(random, side)
    return exchange("reverse", random.choice(REVERSE).format(w=cased(random, chosen)), chosen[::-1])


def sort(random: Random, side: Side) -> Sample:
    chosen = word(random, side)
    return exchange("sort_letters", random.choice(SORT).format(w=cased(random, chosen)), "".join(sorted(chosen)))


def sort_list(random: Random, side: Side) -> Sample:
    words = []
    for _ in range(random.randint(2, 5)):
        chosen = word(random, side, 3, 6)
        # Words that share a beginning are rare at random and the only hard ones.
        if words and random.random() < 0.15:
            chosen = random.choice(words)[: random.randint(1, 2)] + chosen[1:]
        if chosen not in words:
            words.append(chosen)
    return exchange("sort_words", random.choice(LIST).format(l=", ".join(words)), ", ".join(sorted(words)))


def capitals(random: Random, side: Side) -> Sample:
    chosen = word(random, side)
    return exchange("capitals", random.choice(CAPITALS).format(w=chosen), chosen.upper())


def cased(random: Random, chosen: str) -> str:
    """Now and then a capital in the question; answers stay in lower case."""
    return chosen.capitalize() if random.random() < 0.06 else chosen
