"""The records and descriptions that `fit` writes and compares."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optax

from dlcore import data, report, sharding, trees
from dlcore.task import Task
from dlcore.training import run_files, run_record, step_history
from dlcore.training.fingerprint import TracedStep
from dlcore.training.intervals import Intervals
from dlcore.training.phases import Phases
from dlcore.training.state import State
from dlcore.training.trivial_comparison import REMEDY, compare_with_trivial

logger = logging.getLogger("dlcore")


class Bookkeeping:
  """The records and descriptions of a run; does nothing without a folder."""

  def __init__(
    self,
    folder: Path | None,
    arguments: Mapping[str, Any],
    order: data.Order,
    splits: Mapping[str, data.Source],
    partitioner: sharding.Partitioner,
    intervals: Intervals,
  ):
    """Takes the folder, and the arguments and parts of `fit`.

    Args:
      folder: of the run, or None.
      arguments: of `fit`.
      order: which examples make a batch.
      splits: the sources by name, `"train"` included.
      partitioner: the devices.
      intervals: of logs and evaluations.
    """
    self._folder, self._arguments = folder, arguments
    self._order, self._splits = order, splits
    self._partitioner, self._intervals = partitioner, intervals
    self._strict = arguments["on_change"] == "error"
    self._has_own_config = folder is not None and run_files.has_own_config(
      folder
    )
    self._content: dict[str, Any] = {}

  def compare(
    self,
    task: Task,
    tx: optax.GradientTransformation,
    state: State,
    *,
    has_begun: bool,
  ) -> None:
    """Compares the arguments with those of the run to continue.

    Args:
      task: the learning problem.
      tx: the optimizer.
      state: shapes and dtypes of the train state.
      has_begun: whether the run has a checkpoint.

    Raises:
      UserError: one differs; contains its name and both values.
    """
    if self._folder is None:
      return
    recorded = run_record.read(self._folder) if has_begun else {}
    steps = run_record.rate_steps(recorded, self._arguments["steps"])
    valid = next((s for k, s in self._splits.items() if k != "train"), None)
    self._content = {
      **run_record.describe(self._arguments, self._order, self._splits),
      **run_record.trace(task, tx, state, steps, valid),
      "conditions": step_history.conditions(self._partitioner),
      "intervals": {
        "eval_every": self._intervals.eval_every,
        "log_every": self._intervals.log_every,
      },
    }
    if recorded:
      on_change = self._arguments["on_change"]
      run_record.check(self._folder, recorded, self._content, on_change)

  def record(self, step: int, traced: TracedStep, *, finished: bool) -> None:
    """Writes the records and descriptions of a run that continues at `step`.

    Args:
      step: the number of steps so far.
      traced: the training step.
      finished: whether the run has made all its steps; then it is only
        compared.

    Raises:
      UserError: another training step has made the run so far.
    """
    if self._folder is None:
      return
    entry = step_history.describe(traced.fingerprint(), self._partitioner)
    if self._strict and traced.is_traced:
      step_history.check(self._folder, step, entry)
    if finished:
      logger.warning(
        "the run in %s is already finished: it has made %d steps, and is "
        "returned as it is",
        self._folder,
        step,
      )
      return
    start = f", continued at step {step}" if step else ""
    logger.info("run folder: %s%s", self._folder, start)
    step_history.record(self._folder, step, entry)
    run_record.write(self._folder, self._content)
    if self._has_own_config:
      run_files.write_description(self._folder, self._arguments, self._splits)
      report.write_data(self._folder, self._splits)

  def finish(
    self, phases: Phases, task: Task, last: State, best: State
  ) -> None:
    """Writes the summary and the page of a run of `fit`, unless they exist.

    Args:
      phases: the wall time.
      task: the learning problem.
      last: the state after the last step.
      best: the best state.
    """
    folder = self._folder
    if folder is None or not self._has_own_config:
      return
    if not phases.steps and (folder / run_files.SUMMARY).exists():
      return
    variables = task.variables(best.params, best.model_state)
    metrics = run_files.read_metrics(folder, int(best.step))
    summary = run_files.summarize(
      phases,
      step=int(last.step),
      best_step=int(best.step),
      steps=self._arguments["steps"],
      metrics=metrics,
      parameters=trees.count(variables["params"]),
      batch_size=self._order.batch_size,
      devices=list(self._partitioner.mesh.devices.flat),
    )
    best_by = self._arguments["best_by"]
    summary |= compare_with_trivial(metrics, best_by, self._splits)
    if remark := report.trivial_remark(summary, REMEDY):
      logger.warning("%s: %s", folder, remark)
    with phases("report"):
      run_files.write_summary(folder, summary)
