"""A model for any table of 50 to 1,000,000 rows, made for its size.

experiments/train.py --config=configs/table.py --workdir=runs/mine \
  --config.data.path=FILE --config.data.target=COLUMN

FILE is CSV, TSV, JSON lines (also .gz), Parquet or Arrow; in place of
`data.path` there may be `data.train`, `data.valid` and `data.test`. The columns
may be numbers, dates, categories and have gaps. The task, the model, its
regularization and the number of steps follow from the training rows, once:
config.json keeps them. Values on the command line take precedence.

The model is linear, or a linear layer plus an ensemble of networks. Ridge
regression to a sample of the training rows decides, by its squared error on
each row that is left out (leave-one-out, Allen 1974, "The relationship between
variable selection and data augmentation"): with and without compressed numbers,
the logarithm of a skewed target, and random hidden units. A linear model holds
no validation rows out, since nothing is chosen on them.
"""

import inspect
import itertools
from typing import NamedTuple

import numpy as np

from dlcore import data, experiment
from dlcore.errors import UserError

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

STRENGTHS = np.logspace(-1, 4, 16)
"""Factors of half the sum of squares in ridge regression."""

HIDDEN = 300
"""Random hidden units."""

GAIN = 0.01
"""Least decrease of the error by hidden units for a network."""

MAX_LINEAR = 10_000
"""Training rows above which the model is a network in any case."""

CLIP = 3.0
"""Deviations beyond which numbers are compressed."""

MAX_ROWS = 3_000
MAX_OPERATIONS = 2e9
"""Training rows of the sample, and their decomposition."""

MAX_NUMBERS = 2_000
"""Features that are compressed and embedded; wide tables have others too."""

MAX_KERNEL = 4_000_000
"""Weights of the first layers of all networks."""

LEAST_PENALTY = 2.0
"""Least penalty of the sum over all rows in linear classification. The squared
error, which chooses it, punishes wrong predictions less than the cross-entropy.
For two classes it is C=1 of scikit-learn's logistic regression."""

NO_DECAY = r"(bias$|^wave_)"
"""Parameters without the penalty of ridge regression."""


class Sample(NamedTuple):
  """Some training rows."""

  x: np.ndarray
  """Normalized features, float64 `[N, F]`."""

  y: np.ndarray
  """The target, or 1 for the class, float64 `[N, C]`."""

  numbers: np.ndarray
  """Positions of the features that are numbers."""


class Linear(NamedTuple):
  """A ridge regression and its error."""

  error: float
  """Squared error of rows that are left out, relative to that of the mean."""

  strength: float
  clip: float
  transform: str


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
  section = config["data"]
  loader = data.DATASETS[section["name"]]
  names = inspect.signature(loader).parameters
  try:
    train = loader(**{name: section[name] for name in names}).train
  except UserError:
    return {}  # The run loads the data again and reports the mistake.
  features = (train.arrays or {}).get("features")
  if (
    features is None
    or features.ndim != 2
    or len(train.info.schema.classes) == 1
  ):
    return {}  # Not a table, or nothing to learn: the run reports the latter.
  leaves = decide(train, section.get("target_transform", "none"))
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
  sample = take_sample(train)
  transforms = {schema.target_transform}
  if transform == "auto":
    transforms.add("none")
  linear = min(
    leave_one_out(sample, clip, transform)
    for clip, transform in itertools.product((0.0, CLIP), sorted(transforms))
  )
  hidden = leave_one_out(sample, linear.clip, linear.transform, HIDDEN)
  is_network = rows > MAX_LINEAR or hidden.error < (1 - GAIN) * linear.error
  task = "classification" if schema.classes else "regression"
  # The strength is that of the sum over all rows; the loss is a mean.
  scale = curvature(sample, schema) / rows
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


def take_sample(train):
  """Returns a sample that is small enough for a decomposition."""
  schema = train.info.schema
  features, target = train.arrays["features"], train.arrays[schema.target]
  width = features.shape[1] + HIDDEN
  count = int(min(MAX_ROWS, max(MAX_OPERATIONS / width**2, 100)))
  if width > count:
    count = int(min(MAX_ROWS, (MAX_OPERATIONS / width) ** 0.5))
  rows = np.random.default_rng(0).permutation(train.size)[:count]
  mean, deviation = (
    np.asarray(schema.normalization[name]) for name in ("mean", "std")
  )
  y = target[rows].astype(np.float64).reshape(len(rows), -1)
  if schema.classes and not schema.multilabel:
    y = np.eye(len(schema.classes))[target[rows]]
  return Sample(
    (features[rows] - mean) / deviation,
    y + (schema.target_offset or 0.0),
    number_positions(schema, features.shape[1]),
  )


def number_positions(schema, width):
  """Returns the positions of the features that are numbers.

  Arrays are numbers only. None of very many are compressed and embedded.
  """
  plan = getattr(schema, "plan", None)
  positions = np.arange(width)
  if plan is not None:
    positions = np.flatnonzero([flag for part in plan for flag in part.scaled])
  return positions if len(positions) <= MAX_NUMBERS else positions[:0]


def leave_one_out(sample, clip, transform, hidden=0):
  """Returns the best ridge regression.

  Args:
    sample: training rows.
    clip: deviations beyond which numbers are compressed, or 0.
    transform: "log" for a regression to the logarithm of the target.
    hidden: number of random hidden units added to the features.
  """
  x = compress(sample, clip)
  if hidden:
    x = np.hstack([x, random_units(compress(sample, CLIP), hidden)])
  is_log = transform == "log"
  y = np.log(sample.y) if is_log else sample.y
  mean, deviation = y.mean(0), y.std(0)
  deviation = np.where(deviation > 0, deviation, 1.0)
  errors = []
  for values in ridge_predictions(x, (y - mean) / deviation):
    values = values * deviation + mean
    difference = sample.y - (np.exp(values) if is_log else values)
    errors.append(np.square(difference).mean())
  best = int(np.argmin(errors))
  error = float(errors[best] / max(sample.y.var(0).mean(), 1e-30))
  return Linear(error, float(STRENGTHS[best]), clip, transform)


def ridge_predictions(x, y):
  """Yields predictions of each row from the others, `[N, C]`, by strength.

  Args:
    x: float64 `[N, F]`.
    y: float64 `[N, C]` of mean 0.
  """
  left, scale, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
  projected = left.T @ y
  for strength in STRENGTHS:
    shrinkage = scale**2 / (scale**2 + strength)
    leverage = np.square(left) @ shrinkage + 1 / len(x)
    fitted = left @ (shrinkage[:, None] * projected)
    residual = (y - fitted) / np.maximum(1 - leverage, 1e-6)[:, None]
    yield y - residual


def compress(sample, clip):
  """Returns the features with compressed numbers, as `models.Tabular` does."""
  x = sample.x.copy()
  if clip:
    numbers = x[:, sample.numbers]
    x[:, sample.numbers] = numbers / np.sqrt(1 + np.square(numbers / clip))
  return x


def random_units(x, count):
  """Returns random ReLU units of features, together of their variance."""
  generator = np.random.default_rng(0)
  scale = np.sqrt(np.square(x).sum(1).mean())
  weights = generator.normal(size=(x.shape[1], count)) / max(scale, 1e-6)
  units = np.maximum(x @ weights + generator.uniform(-1, 1, count), 0)
  units -= units.mean(0)
  units *= np.sqrt(x.shape[1] / count) / np.maximum(units.std(0), 1e-6)
  return units


def curvature(sample, schema):
  """Returns the factor between the penalties of ridge and logistic regression.

  It is the second derivative of the cross-entropy at the shares of the
  classes, for softmax with a logit for each of C classes.
  """
  if not schema.classes:
    return 1.0
  share = sample.y.mean(0)
  variance = float((share * (1 - share)).mean())
  classes = len(share)
  return variance * (1 if schema.multilabel else classes / (classes - 1))
