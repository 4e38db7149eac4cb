"""Trains spark-1 for a given time and goes on from the last checkpoint after an interruption.

The schedule follows the time trained, not a count of steps, so a slow machine gets a whole schedule too. Matrices are
trained with Muon, the embedding and the norms with Adam. Only the tokens that the assistant writes are learned.
"""

import argparse
import os
import time
from random import Random

# Lets the compiler use vectors in sums; a tenth faster. It has to be set before JAX starts.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import checkpoint
import network
import shipped
from corpus import mixture
from corpus.sample import Sample
from rows import Packer, fixed, scored
from tokenizer import PAD, tokenizer, vocabulary

PEAK_RATE = 3e-3
WARMUP_STEPS = 60
DECAY_FROM = 0.5  # of the time
SUMS_FIRST_UNTIL = 0.3
SAVE_EVERY_S = 120
SCORE_EVERY_S = 420
SCORED_TASKS = ("arithmetic", "reverse", "sort_letters", "sort_words", "capitals", "repeat", "faq", "unknown", "talk", "tool_call", "tool_result", "tool_unneeded", "count")


def optimiser(decay: float) -> optax.GradientTransformation:
    """Updates for a rate of one; the caller scales them by the rate of the moment."""
    def matrices(params):
        return jax.tree.map_with_path(
            lambda path, leaf: optax.contrib.MuonDimensionNumbers() if leaf.ndim == 2 and "embedding" not in str(path[0]) else None, params)
    return optax.contrib.muon(1.0, weight_decay=decay, adam_weight_decay=0.0, adam_b2=0.98, consistent_rms=0.2, muon_weight_dimension_numbers=matrices)


def rate(done: float, step: int) -> float:
    """Warm up, stay, fall in a line to nearly nothing. `done` is the share of the time that is over."""
    fall = min(1.0, max(0.0, (1.0 - done) / (1.0 - DECAY_FROM)))
    return PEAK_RATE * min(1.0, (step + 1) / WARMUP_STEPS) * max(fall, 0.01)


def compiled(shape: network.Shape, update):
    """The three jitted functions of training: gradients of one batch, a step of the optimiser, the most likely tokens."""
    def summed_loss(params, tokens, positions, documents, targets, weights):
        log_odds = jax.nn.log_softmax(network.logits(params, tokens, positions, documents, shape))
        chosen = jnp.take_along_axis(log_odds, targets[..., None], axis=-1)[..., 0]
        return -jnp.sum(chosen * weights)

    def step(params, state, gradients, weight, now):
        gradients = jax.tree.map(lambda *leaves: sum(leaves) / weight, *gradients)
        norm = optax.global_norm(gradients)
        gradients = jax.tree.map(lambda leaf: leaf * jnp.minimum(1.0, 1.0 / (norm + 1e-6)), gradients)
        updates, state = update(gradients, state, params)
        return jax.tree.map(lambda leaf, change: leaf + now * change, params, updates), state

    def best(params, tokens, positions, documents):
        return jnp.argmax(network.logits(params, tokens, positions, documents, shape), axis=-1)

    return jax.jit(jax.value_and_grad(summed_loss)), jax.jit(step, donate_argnums=(0, 1)), jax.jit(best)


def held_out_cases(each: int) -> list[Sample]:
    random = Random(20_261_123)
    return [mixture.SCORED[task](random, "test") for task in SCORED_TASKS for _ in range(each)]


def score(best, params, cases) -> str:
    """Held-out exact answers, task by task."""
    right: dict[str, list[bool]] = {}
    for rows in cases:
        chosen = np.asarray(best(params, rows.tokens, rows.positions, rows.documents))
        for sample, correct in scored(rows, chosen):
            right.setdefault(sample.task, []).append(correct)
    return "  ".join(f"{task} {100 * sum(marks) / len(marks):.0f}%" for task, marks in right.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", help="folder for checkpoints (default: spark-1 in the user's cache)")
    parser.add_argument("--minutes", type=float, default=105, help="time to train in all, interruptions not counted")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--from-shipped", action="store_true", help="without a checkpoint, begin with the shipped weights and a whole new schedule")
    arguments = parser.parse_args()
    work = checkpoint.work_folder(arguments.work)

    shape = network.Shape(vocabulary=len(vocabulary()))
    transformation = optimiser(arguments.decay)
    saved = checkpoint.load(work, "train.ckpt")
    if saved is None:
        params = shipped.parameters(shape) if arguments.from_shipped else network.initial(shape, arguments.seed)
        saved = {"params": params, "optimiser": transformation.init(params), "step": 0, "seconds": 0.0, "tokens": 0, "shape": shape.as_json()}
    params, state = jax.tree.map(jnp.asarray, (saved["params"], saved["optimiser"]))
    steps, seconds, tokens = saved["step"], saved["seconds"], saved["tokens"]
    print(f"spark-1: {network.size(params):,} parameters, from step {steps}, {seconds:.0f} s trained", flush=True)

    gradients_of, step, best = compiled(shape, transformation.update)
    random = Random(arguments.seed * 1_000_003 + steps)
    pad = tokenizer().token_to_id(PAD)
    boost: dict[str, float] = {}
    short = Packer(lambda: mixture.draw(random, "train", mixture.SHORT, boost), 16, 128, pad)
    long = Packer(lambda: mixture.draw(random, "train", mixture.LONG), 11, 384, pad)
    very_long = Packer(lambda: mixture.draw(random, "train", mixture.VERY_LONG), 5, 768, pad)
    cases = fixed(held_out_cases(48), 11, 384, pad)

    limit = arguments.minutes * 60
    saved_at = scored_at = shown_at = time.monotonic()
    shown_seconds, shown_tokens, losses = seconds, tokens, []

    def keep() -> None:
        checkpoint.save(work, "train.ckpt", {"params": params, "optimiser": state, "step": steps, "seconds": seconds, "tokens": tokens, "shape": shape.as_json()})

    while seconds < limit:
        begun = time.monotonic()
        done = seconds / limit
        boost["arithmetic"] = 3.0 if done < SUMS_FIRST_UNTIL else 1.3
        batches = [short.next(), very_long.next() if steps % 6 == 5 and done > 0.1 else long.next()]
        if done < SUMS_FIRST_UNTIL:
            batches.append(short.next())
        parts = [gradients_of(params, *batch.arrays()) for batch in batches]
        weight = sum(float(batch.weights.sum()) for batch in batches)
        params, state = step(params, state, [gradient for _, gradient in parts], weight, rate(done, steps))
        losses.append(sum(float(loss) for loss, _ in parts) / weight)
        steps += 1
        tokens += sum(int((batch.documents >= 0).sum()) for batch in batches)
        now = time.monotonic()
        seconds += now - begun
        if now - shown_at > 30:
            speed = (tokens - shown_tokens) / (seconds - shown_seconds)
            print(f"step {steps}  loss {np.mean(losses):.4f}  {speed:.0f} tokens/s  {tokens / 1e6:.2f} M tokens  rate {rate(done, steps):.5f}  "
                  f"left {(limit - seconds) / 60:.1f} min", flush=True)
            shown_at, shown_seconds, shown_tokens, losses = now, seconds, tokens, []
        if now - saved_at > SAVE_EVERY_S:
            keep()
            saved_at = now
        if now - scored_at > SCORE_EVERY_S:
            print(f"held out at step {steps}: {score(best, params, cases)}", flush=True)
            scored_at = time.monotonic()
    keep()
    print(f"trained {steps} steps, {tokens / 1e6:.2f} M tokens; held out: {score(best, params, cases)}", flush=True)


if __name__ == "__main__":
    main()
