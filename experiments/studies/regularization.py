"""What each kind of regularisation gives when there are few images.

  regularization.py --manual_dir=DIR --workdir=runs/regularization

Trains a CNN on 1,000 images of MNIST over several seeds: plainly, with each
kind alone, and with all of them together; nothing is chosen by a score, the
last step counts. The page in --workdir compares them, its first figure at a
glance. DIR holds the four original files of MNIST; without it they are
downloaded. The same command goes on where it was stopped.

The strength of each kind was fixed beforehand, at what is commonly taken.
"""

import json
import time
from pathlib import Path

from absl import flags

from dlcore import command

KINDS = {
  "plain": {},
  "dropout": {"model": {"dropout": 0.5}},
  "l2": {"optim": {"l2": 1e-3}},
  "augmentation": {
    "data": {"augment": {"shift": 2, "rotate": 10.0, "scale": 0.1}}
  },
  "ema": {"training": {"ema": 0.99}},
  "label_smoothing": {"task": {"label_smoothing": 0.1}},
}
"""What is changed in `BASE`, by name."""

BASE = {
  "data": {"name": "mnist", "limit": 1000, "batch_size": 50},
  "model": {"name": "cnn", "stages": ((16,), (32,)), "dense": (64,)},
  "optim": {
    "name": "nesterov",
    "learning_rate": 0.05,
    "schedule": {"name": "constant"},
  },
  "training": {"steps": 1500, "eval_every": 1500},
}

SEEDS = flags.DEFINE_integer("seeds", 5, "how many of each")
STEPS = flags.DEFINE_integer("steps", 1500, "of each run")
WORKDIR = flags.DEFINE_string("workdir", "runs/regularization", "of the runs")
MANUAL_DIR = flags.DEFINE_string("manual_dir", "", "the files of MNIST")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")


def main():
  """Trains what is not yet finished, and writes the page."""
  from dlcore import experiment, report

  workdir = Path(command.required(WORKDIR))
  found: dict[str, list[float]] = {}
  for name, changes in {**KINDS, "all": together()}.items():
    config = experiment.complete(settings(changes))
    results = experiment.train_seeds(config, SEEDS.value, workdir / name)
    found[name] = [
      result["metrics"]["test/accuracy"] for result in results.values()
    ]
  folders = [workdir / name for name in found]
  page = report.compare(folders, workdir / "report.html")
  result = {
    "date": time.strftime("%Y-%m-%d"),
    "images": BASE["data"]["limit"],
    "accuracy": found,
  }
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(page)
  print(json.dumps(result))


def settings(changes: dict) -> dict:
  """Returns `BASE` with changes, of the length and the data of the flags."""
  tree = {section: dict(values) for section, values in BASE.items()}
  for section, values in changes.items():
    tree.setdefault(section, {}).update(values)
  tree["training"] |= {"steps": STEPS.value, "eval_every": STEPS.value}
  tree["data"]["manual_dir"] = MANUAL_DIR.value
  return tree


def together() -> dict:
  """Returns the changes of all kinds."""
  tree: dict[str, dict] = {}
  for changes in KINDS.values():
    for section, values in changes.items():
      tree.setdefault(section, {}).update(values)
  return tree


if __name__ == "__main__":
  command.run(main)
