"""Scores spark-1 on held-out cases, writes some of them for tests through the API, and answers questions by hand.

A case is right when greedy decoding would give the answer exactly, up to and with the end of the turn. That is checked in one
pass: every token of the answer has to be the most likely one after the tokens before it. Weights are rounded to F16 first,
as they are shipped.
"""

import argparse
import json
from random import Random

import torch

import checkpoint
import tokenizer
from batches import batches, scored
from corpus import mixture
from corpus.sample import Sample
from network import Network

SEED = 515_151
TASKS = {
    "arithmetic": "sums and differences up to 99",
    "reverse": "reverse a word",
    "sort_letters": "sort the letters of a word",
    "sort_words": "sort a list of two to five words",
    "capitals": "a word in capitals",
    "repeat": "repeats words, names and codes",
    "count": "count up to 40 numbers",
    "faq": "questions about Tokengrid",
    "talk": "small talk",
    "unknown": "admits what it does not know",
    "name": "remembers a name",
    "chat": "two to four turns, every one right",
    "tool_call": "calls one of one or two described tools, JSON exact",
    "tool_choice": "calls one of up to seven described tools, JSON exact",
    "tool_result": "calls a tool and tells its result",
    "tool_unneeded": "leaves offered tools alone",
}
LONGEST = 640


def cases(each: int) -> list[Sample]:
    """Different held-out cases, the same in every run; a task may have fewer than `each`."""
    found: list[Sample] = []
    for task in TASKS:
        random, seen = Random(f"{SEED} {task}"), set()
        for _ in range(each * 20):
            sample = mixture.SCORED[task](random, "test")
            key = json.dumps([sample.messages, sample.tools])
            if key not in seen and len(tokenizer.encode(sample).tokens) <= LONGEST:
                seen.add(key)
                sample.task = task
                found.append(sample)
            if len(seen) == each:
                break
    return found


def as_shipped(network: Network) -> Network:
    """The network as the F16 file holds it: matrices rounded, norms not."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.copy_(parameter.half().float())
    return network


@torch.no_grad()
def score(network: Network, samples: list[Sample]) -> dict[str, list[bool]]:
    """Right or wrong for every case, by task."""
    marks = {task: [] for task in TASKS}
    for batch in batches([(sample, tokenizer.encode(sample)) for sample in samples]):
        for sample, right in scored(batch, network.logits(batch.tokens, batch.wanted).argmax(-1)):
            marks[sample.task].append(right)
    return marks


def write_cases(samples: list[Sample], each: int) -> None:
    """`heldout.jsonl`: the messages up to the last assistant turn, and that turn's text as the answer."""
    written: dict[str, int] = {}
    with open(tokenizer.TEMPLATE.with_name("heldout.jsonl"), "w", encoding="utf-8") as file:
        for sample in samples:
            written[sample.task] = written.get(sample.task, 0) + 1
            if written[sample.task] > each:
                continue
            line = {"task": sample.task, "messages": sample.messages[:-1]}
            if sample.tools:
                line["tools"] = sample.tools
            file.write(json.dumps(line | {"answer": sample.answer}, ensure_ascii=False) + "\n")


@torch.no_grad()
def answer(network: Network, messages: list[dict], tools: list[dict], most: int = 400) -> str:
    """What the model says, decoded greedily; simple and slow."""
    tokens = tokenizer.tokenizer().encode(tokenizer.prompt(messages, tools)).ids
    start, end = len(tokens), tokenizer.token_id(tokenizer.END)
    while len(tokens) - start < most:
        token = int(network.logits(torch.tensor([tokens]), torch.tensor([len(tokens) - 1])).argmax())
        if token == end:
            break
        tokens.append(token)
    return tokenizer.tokenizer().decode(tokens[start:], skip_special_tokens=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", help="folder of the checkpoint (default: spark-1 in the user's cache)")
    parser.add_argument("--checkpoint", default="train.ckpt")
    parser.add_argument("--each", type=int, default=500, help="cases a task")
    parser.add_argument("--written", type=int, default=100, help="cases a task that heldout.jsonl gets")
    parser.add_argument("--ask", nargs="+", help="only answer these questions")
    arguments = parser.parse_args()
    saved = checkpoint.load(checkpoint.work_folder(arguments.work), arguments.checkpoint)
    network = as_shipped(checkpoint.network(checkpoint.work_folder(arguments.work), arguments.checkpoint))
    if arguments.ask:
        for question in arguments.ask:
            print(f"> {question}\n{answer(network, [{'role': 'user', 'content': question}], [])}")
        return
    samples = cases(arguments.each)
    write_cases(samples, arguments.written)
    print(f"{saved['step']} steps, {saved['tokens'] / 1e6:.1f} M tokens\n\n| task | what it asks | held-out cases | exactly right |\n| --- | --- | --- | --- |")
    for task, marks in score(network, samples).items():
        print(f"| {task} | {TASKS[task]} | {len(marks)} | {100 * sum(marks) / len(marks):.1f} % |")


if __name__ == "__main__":
    main()
