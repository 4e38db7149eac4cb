"""Does everything: a virtual environment with the pinned packages, training, the export, the held-out table.

Run it with any Python 3.11 or newer: `python3 engine/models/build.py`. It may be interrupted and run again; training goes on
from its last checkpoint. Everything but the shipped files lives in the work folder. Options that are not named here go to
train.py, such as `--from-shipped --peak 9e-4 --steady 0`, which trains the shipped weights on.
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent


def interpreter(work: Path) -> Path:
    """The Python of the work folder, with the packages of requirements.txt."""
    python = work / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(work / "venv", with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", HERE / "requirements.txt"], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "spark-1", help="folder for the environment and the checkpoints")
    parser.add_argument("--minutes", type=float, default=125, help="time to train in all")
    arguments, training = parser.parse_known_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    python = interpreter(arguments.work)
    work = ["--work", str(arguments.work)]
    for step in (["train.py", *work, "--minutes", str(arguments.minutes), *training], ["export.py", *work], ["evaluate.py", *work]):
        result = subprocess.run([python, HERE / step[0], *step[1:]])
        if result.returncode:
            sys.exit(result.returncode)


if __name__ == "__main__":
    main()
