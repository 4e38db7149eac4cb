"""Checkpoints of a training run, written so that an interruption at any moment leaves a whole one."""

import os
from pathlib import Path

import torch

from network import Network, Shape


def work_folder(given: str | None) -> Path:
    """Where checkpoints live: `given`, else a folder of the user's cache. Never inside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(given) if given else Path(base) / "spark-1"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save(folder: Path, name: str, state: dict) -> None:
    """Replace `name` atomically."""
    temporary = folder / f"{name}.part"
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / name)


def load(folder: Path, name: str) -> dict | None:
    path = folder / name
    return torch.load(path) if path.exists() else None


def network(folder: Path, name: str) -> Network:
    """The network of a checkpoint."""
    saved = load(folder, name)
    if saved is None:
        raise SystemExit("there is no checkpoint yet: run train.py first")
    network = Network(Shape(**saved["shape"]))
    network.load_state_dict(saved["network"])
    return network
