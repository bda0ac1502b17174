"""A network for any table of 50 to 1,000,000 rows, made for its size.

experiments/train.py --config=configs/table.py --workdir=runs/mine \
  --config.data.path=FILE --config.data.target=COLUMN

FILE is CSV, TSV, JSON lines (also .gz), Parquet or Arrow; in place of
`data.path` there may be `data.train`, `data.valid` and `data.test`. The columns
may be numbers, dates, categories and have gaps. The task, the network, its
regularization and the number of steps follow from the training rows, once:
config.json keeps them. Values on the command line take precedence.
"""

import inspect

from dlcore import data, experiment
from dlcore.errors import UserError

SIZES = (
  # rows, widths, dropout, batch size, epochs, learning rate
  (500, (), 0.0, 32, 200.0, 1e-2),
  (3_000, (64, 64), 0.3, 32, 60.0, 1e-3),
  (20_000, (128, 128), 0.2, 64, 30.0, 1e-3),
  (100_000, (256, 256), 0.1, 256, 25.0, 2e-3),
  (1_000_000, (512, 256), 0.1, 1024, 12.0, 2e-3),
)
"""Settings for at most so many training rows; larger tables have the last.
Without hidden layers the model is linear."""


def get_config(variant=""):
  """Returns the config for a table that `plan` completes."""
  experiment.no_variant(variant)
  return experiment.config(
    data={"name": "table_file"},
    model={"name": "mlp"},
    optim={"name": "adamw", "clip_norm": 1.0, "weight_decay": 0.0},
    training={"ema": 0.99},
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
  return decide(train.size, train.info.schema)


def decide(rows, schema):
  """Returns the settings for so many training rows, a pure function.

  Args:
    rows: number of training rows.
    schema: of the table.
  """
  fitting = (size for size in SIZES if rows <= size[0])
  _, widths, dropout, batch_size, epochs, rate = next(fitting, SIZES[-1])
  task = "classification" if schema.classes else "regression"
  return {
    "task.name": "multilabel" if schema.multilabel else task,
    "data.batch_size": min(batch_size, rows),
    "model.widths": widths,
    "model.dropout": dropout,
    # That of scikit-learn's logistic regression for a linear model.
    "optim.l2": 1.0 / rows,
    "optim.learning_rate": rate,
    "training.epochs": epochs,
  }
