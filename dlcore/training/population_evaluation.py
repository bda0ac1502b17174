"""The metrics of all members of a population."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dlcore import data, metrics, sharding
from dlcore.errors import UserError
from dlcore.task import CARRY
from dlcore.training.population_programs import Build, Member, map_members
from dlcore.training.programs import gather
from dlcore.training.state import State, evaluation_variables
from dlcore.typing import Batch


class PopulationEvaluator:
  """Evaluates the members on one source, as `Evaluator` does with one run."""

  def __init__(
    self,
    build: Build,
    source: data.Source,
    partitioner: sharding.Partitioner,
    *,
    batch_size: int,
    placement: str,
  ):
    """Places the source; see `Evaluator` for the arguments."""
    self._build, self._source = build, source
    self._batch_size = min(batch_size, source.size)
    self._arrays: Batch = {}
    if sharding.fits_on_device(placement, partitioner, source):
      self._arrays = partitioner.replicate(dict(source.arrays or {}))
    self._options = partitioner.compiler_options
    self._programs: dict[int, Callable] = {}
    self._targets: dict[str, np.ndarray] = {}

  def __call__(
    self, states: State, members: Sequence[Member]
  ) -> list[dict[str, float]]:
    """Returns the metrics of each member.

    Args:
      states: `[P, ...]`.
      members: P of them.

    Raises:
      UserError: the task carries a state from batch to batch.
    """
    task = self._build(members[0].hparams).task
    count = len(members)
    if CARRY in states.model_state:
      raise UserError(
        "expected a task without carry for several runs in one program",
        "got one whose evaluation carries a state",
        "train them one after the other",
      )
    if count not in self._programs:
      self._programs[count] = self._compile(count, task.score is not None)
    variables = evaluation_variables(states)
    keys = np.stack([_raw_key(member.seed) for member in members])
    source = self._source
    if self._arrays:
      source = source._replace(read=lambda indices: {})
    order = data.in_order(source.size, self._batch_size)
    parts, pieces = [], []
    for batch in data.evaluation_batches(source, order):
      sums, rows = self._programs[count](
        variables, states.hparams, keys, self._arrays, batch
      )
      parts.append(jax.device_get(sums))
      pieces.append(jax.device_get(rows))
    return [self._values(task, parts, pieces, index) for index in range(count)]

  def _values(
    self, task: Any, parts: list, pieces: list, index: int
  ) -> dict[str, float]:
    """Returns the metrics of one member."""

    def own(tree: Any) -> Any:
      return jax.tree.map(lambda leaf: leaf[index], tree)

    values = metrics.compute(metrics.total(list(map(own, parts))), task.derived)
    if task.score is not None:
      rows = [own(piece) for piece in pieces]
      predictions = {
        name: np.concatenate([row[name] for row in rows])[: self._source.size]
        for name in rows[0]
      }
      values |= task.score(predictions, self._read_targets())
    return values

  def _compile(self, count: int, with_rows: bool) -> Callable:
    def member(variables, hparams: Mapping[str, Any], key, batch: Batch):
      task, key = self._build(hparams).task, jax.random.wrap_key_data(key)
      _, sums = task.evaluate(*variables, batch, key)
      rows = task.predict(*variables, batch, key) if with_rows else {}
      return sums, rows

    def evaluate(variables, hparams, keys, arrays: Batch, batch: Batch):
      mapped = map_members(member, count, (0, 0, 0, None))
      return mapped(variables, hparams, keys, gather(arrays, batch))

    return jax.jit(evaluate, compiler_options=self._options)

  def _read_targets(self) -> dict[str, np.ndarray]:
    if not self._targets:
      inputs = self._source.info.inputs
      self._targets = data.read_all(self._source, exclude=inputs)
    return self._targets


@functools.cache
def _raw_key(seed: int) -> np.ndarray:
  """Returns the key of the evaluations of a run, as `Evaluator` has it."""
  key = jax.random.fold_in(jax.random.key(seed), 2)
  return np.asarray(jax.random.key_data(key))
