"""The effect of each kind of regularization on a small training set.

  regularization.py --manual_dir=DIR --workdir=runs/regularization

Trains a CNN on 1,000 images of MNIST with several seeds: without
regularization, with each kind, and with all of them. The score is that of the
last step; no checkpoint is selected. The report in --workdir compares them.
DIR holds the four original files of MNIST; without it they are downloaded. The
same command continues an interrupted study.

The strength of each kind is a common value, fixed before the first run.
"""

import json
from pathlib import Path

from absl import flags

from dlcore import command
from dlcore.provenance import provenance

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
"""Changes of `BASE`, by name."""

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

SEEDS = flags.DEFINE_integer("seeds", 5, "number of seeds")
STEPS = flags.DEFINE_integer("steps", 1500, "steps of each run")
WORKDIR = flags.DEFINE_string(
  "workdir", "runs/regularization", "folder of the runs"
)
MANUAL_DIR = flags.DEFINE_string("manual_dir", "", "the files of MNIST")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")


def main():
  """Finishes the runs and writes their report."""
  from dlcore import experiment, report

  workdir = Path(command.required(WORKDIR))
  accuracies: dict[str, list[float]] = {}
  for name, changes in {**KINDS, "all": combined()}.items():
    config = experiment.complete(settings(changes))
    results = experiment.train_seeds(config, SEEDS.value, workdir / name)
    accuracies[name] = [
      result["metrics"]["test/accuracy"] for result in results.values()
    ]
  folders = [workdir / name for name in accuracies]
  page = report.compare(folders, workdir / "report.html")
  result = {
    **provenance(Path(__file__).parent),
    "images": BASE["data"]["limit"],
    "accuracy": accuracies,
  }
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(page)
  print(json.dumps(result))


def settings(changes: dict) -> dict:
  """Returns `BASE` with changes and the values of the flags."""
  tree = {section: dict(values) for section, values in BASE.items()}
  for section, values in changes.items():
    tree.setdefault(section, {}).update(values)
  tree["training"] |= {"steps": STEPS.value, "eval_every": STEPS.value}
  tree["data"]["manual_dir"] = MANUAL_DIR.value
  return tree


def combined() -> dict:
  """Returns the changes of all kinds in one dict."""
  tree: dict[str, dict] = {}
  for changes in KINDS.values():
    for section, values in changes.items():
      tree.setdefault(section, {}).update(values)
  return tree


if __name__ == "__main__":
  command.run(main)
