"""Quick checks of an experiment: its config with a few changes."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore import augment
from dlcore.experiment.defaults import DEFAULTS, leaves
from dlcore.experiment.folder import SUMMARY, RunFolder
from dlcore.experiment.overrides import with_leaves

FAST_STEPS = 2
EVAL_BATCHES = 2

OVERFIT_STEPS = 300
"""The steps of `overfit_one_batch` for a config without `training.steps`."""

FIRST_SHARE = 0.02
"""The share of the first loss up to which the last one counts as about 0."""

LAST_LOSSES = 5

DROPOUT = ("dropout", "drop_block", "stochastic_depth")
"""Ends of the names of settings of models that drop activations or layers."""


class QuickCheck(NamedTuple):
  """A flag of `train.py` that changes the config."""

  change: Callable[[Mapping[str, Any]], dict[str, Any]]
  """Returns the changed config; changing it twice is changing it once."""

  suffix: str
  """End of the name of its default folder."""

  conclude: Callable[[Path], str]
  """Returns the last line of the output, from the folder of the run."""


def fast_dev_run(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config that makes two steps, and everything else once.

  It evaluates once, on at most two batches of each split.

  Args:
    config: the complete tree, see `complete`.
  """
  statistics = config["training"]["layer_statistics_every"]
  return with_leaves(
    config,
    {
      **_few_evaluations(config, FAST_STEPS),
      "training.steps": FAST_STEPS,
      "training.log_every": 1,
      "training.layer_statistics_every": min(statistics, 1),
    },
  )


def overfit_one_batch(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config that trains on a single batch, without regularization.

  Augmentation, dropout, label smoothing, weight decay and penalties are off, so
  that the loss falls to about 0 if data, model, loss and optimizer fit
  together, and no state is carried. `training.steps` is kept, and 300 if the
  config has epochs.

  Args:
    config: the complete tree, see `complete`.
  """
  steps = config["training"]["steps"] or OVERFIT_STEPS
  off: dict[str, Any] = {
    f"data.augment.{name}": value
    for table in augment.TABLES
    for name, (value, _) in table.items()
  }
  off |= {
    f"model.{name}": 0.0 for name in config["model"] if name.endswith(DROPOUT)
  }
  numbers = ("optim.weight_decay", "optim.l1", "optim.l2")
  numbers += ("task.label_smoothing", "task.scheduled_sampling")
  off |= dict.fromkeys(numbers, 0.0)
  off["task.carry"] = False
  present = leaves(config)
  return with_leaves(
    config,
    {
      **_few_evaluations(config, steps),
      **{path: value for path, value in off.items() if path in present},
      "data.limit": config["data"]["batch_size"],
      "data.sampling": DEFAULTS["data"]["sampling"],
      "training.steps": steps,
      "training.log_every": 1,
      "training.patience": 0,
    },
  )


def begin_again(workdir: Path, check: QuickCheck) -> None:
  """Removes the state of an earlier run of the same check.

  A check is repeated to test code that has changed. Runs of other configs stay,
  and are refused as ever.

  Raises:
    UserError: another process uses the folder, or its config is malformed.
  """
  folder = RunFolder(workdir)
  if not folder.has_begun():
    return
  with folder.locked():
    recorded = folder.config()
    if check.change(recorded) == recorded:
      (workdir / SUMMARY).unlink(missing_ok=True)
      for state in (folder.checkpoints, folder.phases):
        if state.exists():
          shutil.rmtree(state)


def conclude_fast_dev_run(workdir: Path) -> str:
  """Returns the last line of a fast run."""
  return (
    f"--fast_dev_run: {FAST_STEPS} steps, an evaluation, a checkpoint and the "
    f"report in {workdir} work; the scores above are no result"
  )


def conclude_overfit(workdir: Path) -> str:
  """Returns whether the loss of a single batch fell to about 0."""
  losses = _read_losses(workdir)
  if not losses:
    return "--overfit_one_batch: metrics.jsonl has no losses"
  first, last = losses[0], float(np.median(losses[-LAST_LOSSES:]))
  fell = last <= FIRST_SHARE * first < math.inf
  course = f"from {first:.4g} to {last:.4g} in {len(losses):,} steps"
  if fell:
    return (
      f"--overfit_one_batch: the loss of one batch fell {course}, about 0: "
      "data, model, loss and optimizer fit together; the scores above are no "
      "result"
    )
  return (
    f"--overfit_one_batch: the loss of one batch went {course}, and not to "
    f"about 0 ({FIRST_SHARE:.0%} of the first): try another "
    "optim.learning_rate "
    "(experiments/lr_find.py suggests one), more --config.training.steps or a "
    "larger model; otherwise check the labels, the scale of the inputs and "
    "whether equal inputs have different labels"
  )


QUICK_CHECKS = {
  "fast_dev_run": QuickCheck(fast_dev_run, "dev", conclude_fast_dev_run),
  "overfit_one_batch": QuickCheck(
    overfit_one_batch, "overfit", conclude_overfit
  ),
}
"""The checks by their flags."""


def _few_evaluations(config: Mapping[str, Any], steps: int) -> dict[str, Any]:
  """Returns the leaves for one evaluation, of few batches, after the steps."""
  limit = EVAL_BATCHES * config["training"]["eval_batch_size"]
  limits = filter(None, (config["data"]["eval_limit"], limit))
  return {
    "data.eval_limit": min(limits),
    "training.eval_every": steps,
    "training.checkpoint_every": steps,
  }


def _read_losses(workdir: Path) -> list[float]:
  """Returns the training losses of the log; those not finite are infinite."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  rows = (row for row in map(json.loads, lines) if row["split"] == "train")
  losses = [row.get("loss") for row in rows]
  return [
    float(x) if isinstance(x, int | float) and math.isfinite(x) else math.inf
    for x in losses
  ]
