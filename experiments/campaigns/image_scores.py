"""Trains configs/images.py on folders of images: scores, minutes, a base line.

  image_scores.py --icons=DIR --manual_dir=DIR [--only=icons,digits]

Each run is the command that a user would type, timed from its start to its
exit. Runs follow one another; finished ones are not repeated. The base line is
logistic regression on the pixels of the same splits, of at most 32 rows and
columns: scikit-learn's, whose C is chosen on a part of the training images.

--icons is where Debian's package oxygen-icon-theme was unpacked:
`apt-get download oxygen-icon-theme; dpkg -x oxygen-icon-theme_*.deb DIR`.
--manual_dir holds the four original files of MNIST.
"""

import json
import math
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import image_folders
import numpy as np
from absl import flags

from dlcore import command, data
from dlcore.errors import lookup
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 3
FOLDS = 5
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Values of C of the logistic regression."""

WORKDIR = flags.DEFINE_string(
  "workdir", "runs/image_scores", "folder of the images and of the runs"
)
ICONS = flags.DEFINE_string("icons", "", "the unpacked package of icons")
MANUAL_DIR = flags.DEFINE_string("manual_dir", "", "the files of MNIST")
MINUTES = flags.DEFINE_float("minutes", 3.0, "the budget of a run")
ONLY = flags.DEFINE_list("only", [], "some of the folders")
NOTE = flags.DEFINE_string("note", "", "a remark on the times, for the table")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/image_scores.json", "the file of the results"
)


class Folder(NamedTuple):
  """A folder of images and how its score is measured."""

  make: Callable[[Path], None]
  """Writes the images into a folder."""

  folds: int = 0
  """Folds of a cross-validation; 0 for `SEEDS` runs on the same test images."""

  linear_size: int = 0
  """Rows and columns for the logistic regression; 0 for those of the files."""


FOLDERS = {
  "icons": Folder(
    lambda folder: image_folders.make_icons(folder, Path(ICONS.value)),
    folds=FOLDS,
    linear_size=32,
  ),
  "sixty": Folder(
    lambda folder: image_folders.make_sixty(folder, Path(ICONS.value)),
    folds=FOLDS,
    linear_size=32,
  ),
  "digits": Folder(image_folders.make_digits),
  "mnist_28": Folder(
    lambda folder: image_folders.make_mnist(folder, Path(MANUAL_DIR.value), 28)
  ),
  "mnist_64": Folder(
    lambda folder: image_folders.make_mnist(folder, Path(MANUAL_DIR.value), 64),
    linear_size=32,
  ),
}


def main():
  """Finishes the runs in --workdir and writes --output."""
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  for name in ONLY.value or FOLDERS:
    folder = lookup(FOLDERS, name, "folder")
    images = Path(WORKDIR.value).absolute() / "images" / name
    _make_once(folder.make, images)
    runs = _fold_runs(name) if folder.folds else _seed_runs(name)
    linear = [linear_score(splits) for splits in load_splits(folder, images)]
    results[name] = {
      "budget_minutes": MINUTES.value,
      **summarize(runs, linear),
      "folds": folder.folds,
      **provenance(ROOT),
      "note": NOTE.value,
    }
    print(describe(name, results[name]), flush=True)
    output.write_text(json.dumps(results, indent=1) + "\n")


def summarize(
  runs: list[dict[str, Any]], linear: list[float]
) -> dict[str, Any]:
  """Returns the scores and times of runs, with those of the base line."""
  scores = [run["metrics"]["test/accuracy"] for run in runs]
  losses = [run["metrics"]["test/loss"] for run in runs]
  lead = statistics.mean(scores) - statistics.mean(linear)
  return {
    "accuracy": scores,
    "loss": losses,
    "minutes": [run["wall"] / 60 for run in runs],
    "parameters": runs[0]["parameters"],
    "steps": [run["step"] for run in runs],
    "linear": linear,
    "diverged": sum(not math.isfinite(loss) for loss in losses),
    "points_ahead": 100 * lead,
  }


def describe(name: str, result: Mapping[str, Any]) -> str:
  """Returns a line with the scores of a folder."""
  mean, linear = map(statistics.mean, (result["accuracy"], result["linear"]))
  spread = statistics.stdev(result["accuracy"])
  return (
    f"{name:8} accuracy {mean:.4f} +- {spread:.4f}  logistic regression "
    f"{linear:.4f}  {max(result['minutes']):.2f} of "
    f"{result['budget_minutes']:g} minutes  diverged {result['diverged']}"
  )


def _make_once(make: Callable[[Path], None], folder: Path) -> None:
  """Writes the images, unless an earlier call has finished."""
  if folder.exists():
    return
  part = folder.with_suffix(".part")
  shutil.rmtree(part, ignore_errors=True)
  make(part)
  part.rename(folder)


def _seed_runs(name: str) -> list[dict[str, Any]]:
  """Returns the summaries of a run for each seed, with their wall times."""
  runs = []
  for seed in range(SEEDS):
    workdir = _workdir(f"{name}_{seed}")
    wall = _train(name, workdir, f"--config.seed={seed}")
    runs.append(_summary(workdir) | {"wall": wall})
  return runs


def _fold_runs(name: str) -> list[dict[str, Any]]:
  """Returns the summaries of the folds, each with its share of the time.

  They have no validation split, since nothing is chosen by one: they learn from
  as many images as the logistic regression does.
  """
  workdir = _workdir(name)
  wall = _train(
    name, workdir, f"--folds={FOLDS}", "--config.data.valid_fraction=0"
  )
  runs = [_summary(workdir / f"fold_{fold}") for fold in range(FOLDS)]
  return [run | {"wall": wall / FOLDS} for run in runs]


def _workdir(name: str) -> Path:
  return Path(WORKDIR.value).absolute() / f"{name}_{MINUTES.value:g}min"


def _summary(workdir: Path) -> dict[str, Any]:
  return json.loads((workdir / "summary.json").read_text())


def _train(name: str, workdir: Path, *arguments: str) -> float:
  """Finishes the runs in `workdir` and returns the seconds they have taken."""
  wall_time = workdir.parent / f"{workdir.name}.json"
  if not wall_time.exists():
    start = time.monotonic()
    subprocess.run(
      [
        *(sys.executable, "experiments/train.py"),
        f"--config=configs/images.py:{MINUTES.value:g}min",
        f"--config.data.path={workdir.parent / 'images' / name}",
        f"--workdir={workdir}",
        *arguments,
      ],
      cwd=ROOT,
      check=True,
      stdout=subprocess.DEVNULL,
    )
    wall_time.write_text(json.dumps(time.monotonic() - start))
  return json.loads(wall_time.read_text())


def load_splits(folder: Folder, images: Path) -> list[data.Splits]:
  """Returns the splits of the runs, with images for logistic regression."""
  return [
    data.load(
      "image_folder",
      path=str(images),
      image_size=folder.linear_size,
      folds=folder.folds,
      fold=fold,
      valid_fraction=0,
    )
    for fold in range(folder.folds or 1)
  ]


def linear_score(splits: data.Splits) -> float:
  """Returns the test accuracy of a logistic regression on the pixels."""
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.linear_model import LogisticRegression
  from sklearn.model_selection import train_test_split

  assert splits.test is not None
  (pixels, labels), test = map(_pixels, (splits.train, splits.test))

  def fit(penalty, pixels, labels):
    model = LogisticRegression(C=penalty, max_iter=300)
    with warnings.catch_warnings():
      # More iterations with a large C make no better scores.
      warnings.simplefilter("ignore", ConvergenceWarning)
      return model.fit(pixels, labels)

  # The choice of C needs fewer images than the regression.
  chosen, valid, chosen_labels, valid_labels = train_test_split(
    *(pixels[:10_000], labels[:10_000]), test_size=0.2, random_state=0
  )
  best = max(
    PENALTIES,
    key=lambda penalty: fit(penalty, chosen, chosen_labels).score(
      valid, valid_labels
    ),
  )
  return float(fit(best, pixels, labels).score(*test))


def _pixels(source: data.Source) -> tuple[np.ndarray, np.ndarray]:
  """Returns the pixels, float32 `[N, Y * X * C]` of 0 to 1, and the labels."""
  arrays = data.read_all(source)
  order = np.random.default_rng(0).permutation(source.size)
  pixels = arrays["image"][order].reshape(source.size, -1)
  return pixels.astype(np.float32) / 255, arrays["label"][order]


if __name__ == "__main__":
  command.run(main)
