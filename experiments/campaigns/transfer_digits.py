"""Adapts a model of the digits 0 to 4 to a few images of the digits 5 to 9.

  transfer_digits.py --manual_dir=DIR [--only=head,full]

A CNN with batch norm is trained on the digits 0 to 4 of MNIST, and each
strategy of `STRATEGIES` adapts it to 10, 50 and 200 images of each other digit,
with configs/transfer_images.py. `scratch` begins with random weights, with the
same augmentation and as many steps.

For each strategy and size, the learning rate is the one with the best mean
accuracy on 2,000 other training images, over `TUNING` draws of the images. The
test split is evaluated after that, with `SEEDS` other draws, which all
strategies share, and a paired bootstrap compares them with `scratch`. Each run
is the command that a user would type, timed from its start to its exit;
--workdir keeps finished runs. DIR holds the four original files of MNIST.
--output is read by experiments/results.py.
"""

import json
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import timed_runs
from absl import flags
from paired_bootstrap import add_result

from dlcore import command, data

STRATEGIES = ("scratch", "head", "full", "gradual", "lora")
SIZES = (10, 50, 200)
"""Images of each class."""

FIRST_RATE = 8e-3
TUNING, SEEDS = 2, 10
DEVELOPMENT = 400
"""Images of each class that choose the rate."""

FIRST = 5
"""The first digit that the source model does not know."""

WORKDIR = flags.DEFINE_string("workdir", "runs/transfer_digits", "a folder")
MANUAL_DIR = flags.DEFINE_string("manual_dir", "", "the files of MNIST")
ONLY = flags.DEFINE_list("only", list(STRATEGIES), "some of the strategies")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/transfer_digits.json", "the file of results"
)


def main():
  """Finishes the runs in --workdir and writes --output."""
  folder = Path(WORKDIR.value).absolute()
  folder.mkdir(parents=True, exist_ok=True)
  write_data(folder)
  timed_runs.finish(
    "mnist_small",
    folder / "source",
    0,
    {
      "data.name": "npz_file",
      "data.path": folder / "source.npz",
      "training.epochs": 5.0,
    },
  )
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  for size in SIZES:
    by_strategy = results.setdefault(str(size), {})
    for strategy in ONLY.value:
      result = measure(folder, strategy, size)
      correct = partial(_correct, folder, size)
      add_result(by_strategy, strategy, result, correct)
      output.write_text(json.dumps(results, indent=1) + "\n")


def write_data(folder: Path) -> None:
  """Writes the arrays of the source, and those of every draw of a size."""
  if (folder / "source.npz").exists():
    return
  splits = data.load("mnist", manual_dir=MANUAL_DIR.value)
  known = [data.read_all(part) for part in (splits.train, splits.valid)]
  train = {
    name: np.concatenate([part[name] for part in known])
    for name in ("image", "label")
  }
  test = data.read_all(splits.test)
  generator = np.random.default_rng(0)
  order = generator.permutation(len(train["label"]))
  rows = [order[train["label"][order] == digit] for digit in range(10)]
  development = np.concatenate([r[:DEVELOPMENT] for r in rows[FIRST:]])
  for draw in range(TUNING + SEEDS):
    by_class = [generator.permutation(r[DEVELOPMENT:]) for r in rows[FIRST:]]
    for size in SIZES:
      chosen = np.concatenate([r[:size] for r in by_class])
      others = (train, development)
      if draw >= TUNING:
        others = (test, np.flatnonzero(test["label"] >= FIRST))
      _save(folder / f"{size}_{draw}.npz", (train, chosen), others)
  source = [np.concatenate(rows[:FIRST]), np.flatnonzero(test["label"] < FIRST)]
  _save(folder / "source.npz", (train, source[0]), (test, source[1]))


def _save(path: Path, train: tuple, test: tuple) -> None:
  """Writes the rows of two pairs of arrays and rows as splits."""
  parts = {"train": train, "test": test}
  arrays = {}
  for name, (split, rows) in parts.items():
    arrays[f"x_{name}"] = split["image"][rows]
    arrays[f"y_{name}"] = split["label"][rows]
  np.savez(path, **arrays)


def measure(folder: Path, strategy: str, size: int) -> dict:
  """Returns the scores of a strategy, with the rate that it does best with."""

  def run(draw: int, rate: float) -> dict:
    return _run(folder, strategy, size, draw, rate)

  result = timed_runs.with_best_rate(
    run, FIRST_RATE, tuning=TUNING, draws=SEEDS
  )
  accuracies = result["metrics"]["test/accuracy"]
  mean, spread = statistics.mean(accuracies), statistics.stdev(accuracies)
  print(f"{size:4} {strategy:8} {mean:.4f} +- {spread:.4f}", flush=True)
  return result


def _run(
  folder: Path, strategy: str, size: int, draw: int, rate: float
) -> dict:
  """Returns the summary of a run, of which there is no validation."""
  return timed_runs.finish(
    "transfer_images",
    _run_folder(folder, strategy, size, draw, rate),
    draw,
    {
      "init.source": folder / "source",
      "init.strategy": strategy,
      "data.name": "npz_file",
      "data.path": folder / f"{size}_{draw}.npz",
      "data.valid_fraction": 0.0,
      "training.best_by": "-loss",
      "optim.learning_rate": rate,
    },
  )


def _run_folder(
  folder: Path, strategy: str, size: int, draw: int, rate: float
) -> Path:
  return folder / f"{strategy}_{size}_{draw}_{rate:g}"


def _correct(folder: Path, size: int, strategy: str, rate: float) -> np.ndarray:
  """Returns which test images the runs classify correctly, bool `[S, N]`."""
  rows = []
  for draw in range(TUNING, TUNING + SEEDS):
    run = _run_folder(folder, strategy, size, draw, rate)
    with np.load(run / "assets" / "predictions.npz") as arrays:
      rows.append(arrays["prediction"] == arrays["label"])
  return np.array(rows)


if __name__ == "__main__":
  command.run(main)
