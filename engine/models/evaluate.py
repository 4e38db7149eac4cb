"""Scores spark-1 on held-out cases, writes some of them for tests through the API, and answers questions by hand.

A case is right when greedy decoding would give the answer exactly, up to and with the end of the turn. That is checked in one
pass: every token of the answer has to be the most likely one after the tokens before it. Weights are rounded to F16 first,
as they are shipped.
"""

import argparse
import json
import os
from random import Random

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")

import jax
import jax.numpy as jnp
import numpy as np

import checkpoint
import network
import rows
import tokenizer
from corpus import mixture
from corpus.sample import Sample

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
ROW_LENGTH = 640
ROWS = 4


def cases(each: int) -> list[Sample]:
    """Different held-out cases, the same in every run; a task may have fewer than `each`."""
    found: list[Sample] = []
    for task in TASKS:
        random, seen = Random(f"{SEED} {task}"), set()
        for _ in range(each * 20):
            sample = mixture.SCORED[task](random, "test")
            key = json.dumps([sample.messages, sample.tools])
            if key not in seen and len(tokenizer.encode(sample).tokens) <= ROW_LENGTH:
                seen.add(key)
                sample.task = task
                found.append(sample)
            if len(seen) == each:
                break
    return found


def shipped(params: dict) -> dict:
    """Parameters as the F16 file holds them: matrices rounded, norms not."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float16), jnp.float32) if leaf.ndim == 2 else jnp.asarray(leaf), params)


def best(params: dict, shape: network.Shape):
    """The most likely next token at every position."""
    return jax.jit(lambda tokens, positions, documents: jnp.argmax(network.logits(params, tokens, positions, documents, shape), axis=-1))


def score(params: dict, shape: network.Shape, samples: list[Sample]) -> dict[str, list[bool]]:
    """Right or wrong for every case, by task; wrong ones are printed when asked for."""
    chosen_by, marks = best(params, shape), {task: [] for task in TASKS}
    for packed in rows.fixed(samples, ROWS, ROW_LENGTH, tokenizer.token_id(tokenizer.PAD)):
        chosen = np.asarray(chosen_by(packed.tokens, packed.positions, packed.documents))
        for sample, right in rows.scored(packed, chosen):
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


def answer(params: dict, shape: network.Shape, messages: list[dict], tools: list[dict], most: int = 400) -> str:
    """What the model says, decoded greedily; simple and slow."""
    tokens = tokenizer.tokenizer().encode(tokenizer.prompt(messages, tools)).ids
    start, end = len(tokens), tokenizer.token_id(tokenizer.END)
    choose = best(params, shape)
    while len(tokens) - start < most:
        length = -(-len(tokens) // 128) * 128
        row = np.full((1, length), end, np.int32)
        row[0, : len(tokens)] = tokens
        token = int(choose(row, np.arange(length)[None], np.zeros((1, length), np.int32))[0, len(tokens) - 1])
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
    if saved is None:
        raise SystemExit("there is no checkpoint yet: run train.py first")
    params, shape = shipped(saved["params"]), network.Shape(**saved["shape"])
    if arguments.ask:
        for question in arguments.ask:
            print(f"> {question}\n{answer(params, shape, [{'role': 'user', 'content': question}], [])}")
        return
    samples = cases(arguments.each)
    write_cases(samples, arguments.written)
    print(f"{saved['step']} steps, {saved['tokens'] / 1e6:.1f} M tokens\n\n| task | what it asks | held-out cases | exactly right |\n| --- | --- | --- | --- |")
    for task, marks in score(params, shape, samples).items():
        print(f"| {task} | {TASKS[task]} | {len(marks)} | {100 * sum(marks) / len(marks):.1f} % |")


if __name__ == "__main__":
    main()
