"""Trains spark-1 for a given time and goes on from the last checkpoint after an interruption.

The schedule follows the time trained, not a count of steps, so a slow machine gets a whole schedule too. Matrices are
trained with Muon, the embedding and the norms with Adam. Only the tokens that the assistant writes are learned. A processor
that multiplies bfloat16 does so, which is about twice as fast; parameters and scores stay float32.
"""

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import torch
from torch import Tensor

import checkpoint
import shipped
from batches import Batch, batches, drawn, scored
from corpus import mixture
from network import Network, Shape
from tokenizer import encode, vocabulary

WARMUP_STEPS = 60
DECAY = 0.05
BFLOAT16 = torch.cpu._is_avx512_bf16_supported()
STEP_TOKENS = 12_000
POOL_STEPS = 6  # whose chats are drawn together, so that those of like length meet
SAVE_EVERY_S = 120
SCORE_EVERY_S = 900


def rate(peak: float, steady: float, done: float, step: int) -> float:
    """Warm up, stay, fall in a line to nearly nothing. `done` is the share of the time that is over, `steady` that of the staying."""
    fall = min(1.0, max(0.0, (1.0 - done) / (1.0 - steady)))
    return peak * min(1.0, (step + 1) / WARMUP_STEPS) * max(fall, 0.01)


class Optimiser:
    """Muon for the matrices of the layers, Adam for the rest, one rate for all."""

    def __init__(self, network: Network) -> None:
        self.parameters = list(network.parameters())
        norms = [parameter for parameter in network.parameters() if parameter.ndim == 1]
        self.parts = [torch.optim.AdamW([network.embedding, *norms], betas=(0.9, 0.98), weight_decay=0.0)]
        for layer in network.layers:
            matrices = [parameter for parameter in layer.parameters() if parameter.ndim == 2]
            self.parts.append(torch.optim.Muon(matrices, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"))

    def step(self, gradients: list[Tensor], now: float, workers: ThreadPoolExecutor) -> None:
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = now
        list(workers.map(lambda part: part.step(), self.parts))


def steps_of(random: Random) -> list[list[Batch]]:
    """The batches of the next steps. Each step gets batches of every length."""
    pool = list(batches(drawn(lambda: mixture.draw(random, "train"), STEP_TOKENS * POOL_STEPS)))
    return [pool[first::POOL_STEPS] for first in range(POOL_STEPS)]


def held_out(each: int) -> list[Batch]:
    random = Random(20_261_123)
    samples = []
    for task, make in mixture.SCORED.items():
        for _ in range(each):
            sample = make(random, "test")
            sample.task = task
            samples.append((sample, encode(sample)))
    return list(batches(samples))


@torch.no_grad()
def score(network: Network, cases: list[Batch]) -> str:
    """Held-out exact answers, task by task."""
    right: dict[str, list[bool]] = {}
    for case in cases:
        for sample, correct in scored(case, network.logits(case.tokens, case.wanted).argmax(-1)):
            right.setdefault(sample.task, []).append(correct)
    return "  ".join(f"{task} {100 * sum(marks) / len(marks):.0f}%" for task, marks in sorted(right.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", help="folder for checkpoints (default: spark-1 in the user's cache)")
    parser.add_argument("--minutes", type=float, default=125, help="time to train in all, interruptions not counted")
    parser.add_argument("--peak", type=float, default=1.5e-3, help="the highest rate")
    parser.add_argument("--steady", type=float, default=0.25, help="share of the time before the rate falls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from-shipped", action="store_true", help="without a checkpoint, begin with the shipped weights and a whole new schedule")
    arguments = parser.parse_args()
    work = checkpoint.work_folder(arguments.work)

    torch.manual_seed(arguments.seed)
    network = Network(Shape(vocabulary=len(vocabulary())))
    optimiser = Optimiser(network)
    steps, seconds, tokens = 0, 0.0, 0
    if saved := checkpoint.load(work, "train.ckpt"):
        network.load_state_dict(saved["network"])
        for part, state in zip(optimiser.parts, saved["optimiser"]):
            part.load_state_dict(state)
        steps, seconds, tokens = saved["step"], saved["seconds"], saved["tokens"]
    elif arguments.from_shipped:
        shipped.read_into(network)
    print(f"spark-1: {network.size():,} parameters, from step {steps}, {seconds:.0f} s trained", flush=True)

    # One thread a batch and several batches at once: a core that something else wants then holds up nobody.
    torch.set_num_threads(1)
    workers = ThreadPoolExecutor(os.cpu_count())
    compiled = torch.compile(network, dynamic=True)

    def gradients_of(part: Batch) -> list[Tensor]:
        """The summed loss of a batch and its gradients."""
        with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
            summed = compiled(*part.arrays())
        return [summed.detach(), *torch.autograd.grad(summed, optimiser.parameters)]

    random = Random(arguments.seed * 1_000_003 + steps)
    cases = held_out(50)
    print(f"held out: {score(network, cases)}", flush=True)

    def keep() -> None:
        checkpoint.save(work, "train.ckpt", {
            "network": network.state_dict(), "optimiser": [part.state_dict() for part in optimiser.parts],
            "step": steps, "seconds": seconds, "tokens": tokens, "shape": network.shape.as_json(),
        })

    limit = arguments.minutes * 60
    now_rate = lambda: rate(arguments.peak, arguments.steady, seconds / limit, steps)  # noqa: E731
    saved_at = scored_at = shown_at = time.monotonic()
    shown_seconds, shown_tokens, losses = seconds, tokens, []
    coming: list[list[Batch]] = []
    while seconds < limit:
        begun = time.monotonic()
        coming = coming or steps_of(random)
        parts = coming.pop()
        weight = sum(part.weights.sum().item() for part in parts)
        summed, *gradients = (sum(values) / weight for values in zip(*workers.map(gradients_of, parts)))
        optimiser.step(gradients, now_rate(), workers)
        losses.append(summed.item())
        steps += 1
        tokens += sum(part.count for part in parts)
        now = time.monotonic()
        seconds += now - begun
        if now - shown_at > 30:
            speed = (tokens - shown_tokens) / (seconds - shown_seconds)
            print(f"step {steps}  loss {sum(losses) / len(losses):.4f}  {speed:.0f} tokens/s  {tokens / 1e6:.2f} M tokens  "
                  f"rate {now_rate():.5f}  left {(limit - seconds) / 60:.1f} min", flush=True)
            shown_at, shown_seconds, shown_tokens, losses = now, seconds, tokens, []
        if now - saved_at > SAVE_EVERY_S:
            keep()
            saved_at = now
        if now - scored_at > SCORE_EVERY_S:
            print(f"held out at step {steps}: {score(network, cases)}", flush=True)
            scored_at = time.monotonic()
    keep()
    print(f"trained {steps} steps, {tokens / 1e6:.2f} M tokens; held out: {score(network, cases)}", flush=True)


if __name__ == "__main__":
    main()
