"""A model for any table of 50 to 1,000,000 rows, made for its size.

experiments/train.py --config=configs/table.py --workdir=runs/mine \
  --config.data.path=FILE --config.data.target=COLUMN

FILE is CSV, TSV, JSON lines (also .gz), Parquet or Arrow; in place of
`data.path` there may be `data.train`, `data.valid` and `data.test`. The columns
may be numbers, dates, categories and have gaps. The task, the model, its
regularization and the number of steps follow from the training rows, once:
config.json keeps them. Values on the command line take precedence.

The model is linear, or a linear layer plus an ensemble of networks. Ridge
regression to a sample of the training rows decides, by its leave-one-out error:
with and without compressed numbers, the logarithm of a skewed target, and
random hidden units. A linear model holds no validation rows out, since nothing
is chosen on them.
"""

import itertools

from dlcore import experiment
from dlcore.experiment import ridge_regression as ridge

SIZES = (
  # rows, widths, members, dropout, batch size, steps
  (1_000, (64, 64), 8, 0.3, 128, 1_600),
  (5_000, (128, 128), 8, 0.2, 256, 3_200),
  (20_000, (128, 128), 8, 0.1, 256, 6_400),
  (100_000, (256, 256), 4, 0.1, 512, 10_000),
  (1_000_000, (256, 256), 2, 0.1, 1024, 12_000),
)
"""Settings of networks for at most so many training rows; larger tables have
the last."""

LINEAR_STEPS = 2_000
EVALUATIONS = 20
LEARNING_RATE = {"linear": 2e-2, "network": 2e-3}

GAIN = 0.01
"""Least decrease of the error by hidden units for a network."""

MAX_LINEAR = 10_000
"""Training rows above which the model is a network in any case."""

MAX_KERNEL = 4_000_000
"""Weights of the first layers of all networks."""

LEAST_PENALTY = 2.0
"""Least penalty of the sum over all rows in linear classification. The squared
error, which chooses it, punishes wrong predictions less than the cross-entropy.
For two classes it is C=1 of scikit-learn's logistic regression."""

NO_DECAY = r"(bias$|^wave_)"
"""Parameters without the penalty of ridge regression."""


def get_config(variant=""):
  """Returns the config for a table that `plan` completes."""
  experiment.no_variant(variant)
  return experiment.config(
    data={"name": "table_file"},
    model={"name": "tabular"},
    optim={
      "name": "adamw",
      "clip_norm": 1.0,
      "weight_decay": 0.0,
      "no_decay": NO_DECAY,
    },
    training={"ema": 0.99, "steps_per_call": 20},
  )


def plan(config, variant):
  """Returns the settings that follow from the training rows, by path."""
  del variant
  train = experiment.training_source(config)
  features = (train.arrays or {}).get("features") if train else None
  if (
    features is None
    or features.ndim != 2
    or len(train.info.schema.classes) == 1
  ):
    return {}  # Not a table, or nothing to learn: the run reports the latter.
  leaves = decide(train, config["data"].get("target_transform", "none"))
  model = {f"model.{name}" for name in config["model"]}
  # Another model of the command line has other settings.
  return {k: v for k, v in leaves.items() if k[:6] != "model." or k in model}


def decide(train, transform="auto"):
  """Returns the settings for a training split, a pure function.

  Args:
    train: the split.
    transform: the setting `data.target_transform`.
  """
  schema, rows = train.info.schema, train.size
  sample = ridge.take_sample(train)
  transforms = {schema.target_transform}
  if transform == "auto":
    transforms.add("none")
  candidates = itertools.product((0.0, ridge.CLIP), sorted(transforms))
  linear = min(ridge.leave_one_out(sample, *values) for values in candidates)
  hidden = ridge.leave_one_out(
    sample, linear.clip, linear.transform, ridge.HIDDEN
  )
  is_network = rows > MAX_LINEAR or hidden.error < (1 - GAIN) * linear.error
  task = "classification" if schema.classes else "regression"
  # The strength is that of the sum over all rows; the loss is a mean.
  scale = ridge.curvature(sample, schema) / rows
  leaves = {
    "task.name": "multilabel" if schema.multilabel else task,
    "model.numbers": tuple(sample.numbers.tolist()),
    "model.linear_clip": linear.clip,
  }
  if len(transforms) > 1:
    leaves["data.target_transform"] = linear.transform
  if is_network:
    network = network_settings(rows, sample.x.shape[1])
    # Each member learns from its share of the rows of a batch.
    penalty = hidden.strength * scale / network["model.members"]
    return leaves | network | {"optim.l2": penalty}
  least = LEAST_PENALTY / rows if schema.classes else 0.0
  penalty = max(linear.strength * scale, least)
  return leaves | linear_settings(rows) | {"optim.l2": penalty}


def linear_settings(rows):
  """Returns the settings of a linear model, by path."""
  return {
    "data.batch_size": min(512, rows),
    "data.valid_fraction": 0.0,
    "model.widths": (),
    "optim.learning_rate": LEARNING_RATE["linear"],
    "training.steps": LINEAR_STEPS,
    "training.eval_every": LINEAR_STEPS // EVALUATIONS,
  }


def network_settings(rows, features):
  """Returns the settings of networks, by path."""
  fitting = (size for size in SIZES if rows <= size[0])
  _, widths, members, dropout, batch, steps = next(fitting, SIZES[-1])
  fitting = MAX_KERNEL // (features * widths[0])
  return {
    "data.batch_size": min(batch, rows),
    "model.widths": widths,
    "model.members": max(1, min(members, fitting)),
    "model.dropout": dropout,
    "optim.learning_rate": LEARNING_RATE["network"],
    "training.steps": steps,
    "training.eval_every": steps // EVALUATIONS,
  }
