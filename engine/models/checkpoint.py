"""Checkpoints of a training run, written so that an interruption at any moment leaves a whole one."""

import os
import pickle
from pathlib import Path

import jax
import numpy as np


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
        pickle.dump(jax.tree.map(lambda leaf: np.asarray(leaf) if hasattr(leaf, "dtype") else leaf, state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / name)


def load(folder: Path, name: str) -> dict | None:
    path = folder / name
    if not path.exists():
        return None
    with open(path, "rb") as file:
        return pickle.load(file)
