"""Metrics and predictions over a whole source, each example exactly once."""

from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from dlcore import data, metrics, sharding
from dlcore.task import CARRY, Task
from dlcore.training.programs import gather
from dlcore.training.signals import StopRequest
from dlcore.training.state import State, evaluation_variables, fresh_carry
from dlcore.typing import Batch, ModelState, Params, PyTree


class Evaluator:
  """Evaluates a task on one source; compiled once, at the first call.

  The last batch is padded and masked, never dropped. Apart from rounding, no
  number depends on the batch size.
  """

  def __init__(
    self,
    task: Task,
    source: data.Source,
    *,
    seed: int = 0,
    batch_size: int = 512,
    placement: str = "auto",
    partitioner: sharding.Partitioner | None = None,
  ):
    """Places the source.

    Args:
      task: the learning problem.
      source: the examples.
      seed: of the run; the randomness of an example comes from it and the
        example's index.
      batch_size: rounded up to a multiple of the number of devices.
      placement: as in `training.fit`.
      partitioner: the devices, by default all.
    """
    size = len(jax.devices())
    self._partitioner = partitioner or sharding.partitioner(size)
    size = self._partitioner.size
    self._batch_size = -(-min(batch_size, source.size) // size) * size
    self._task = task
    self._source = source
    self._key = jax.random.fold_in(jax.random.key(seed), 2)
    self._arrays: Batch = {}
    if sharding.fits_on_device(placement, self._partitioner, source):
      self._arrays = self._partitioner.replicate(dict(source.arrays or {}))
    options = self._partitioner.compiler_options
    self._evaluate = jax.jit(
      self._evaluate_batch,
      static_argnames="with_rows",
      compiler_options=options,
    )
    self._predict = jax.jit(self._predict_batch, compiler_options=options)
    self._init_carry = jax.jit(lambda batch: fresh_carry(task, batch))
    self._programs: dict[bool, jax.stages.Compiled] = {}
    self._target_arrays: dict[str, np.ndarray] | None = None

  def __call__(
    self, state: State, stop: StopRequest | None = None
  ) -> dict[str, float] | None:
    """Returns the metrics of `state`: of its averaged weights, if it has any.

    Args:
      state: of the run.
      stop: checked after every batch; if it is set, None is returned.
    """
    return self.evaluate(*evaluation_variables(state), stop=stop)

  def compile(self, state: State) -> set[str]:
    """Compiles `__call__` and returns the names of the metrics.

    `Task.score` is called with the first batch, for its names.
    """
    params, model_state = evaluation_variables(state)
    lowered = self._compile(params, model_state, self._scores_rows)
    program = self._programs[self._scores_rows]
    _, sums, _ = lowered.out_info
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape), sums)
    names = set(metrics.compute(ones, self._task.derived))
    if self._task.score is None:
      return names
    carry = self._fresh_carry(model_state)
    arguments = self._place(params, model_state)
    if carry:
      batch = next(self._batches(model_state, {}))
      rows = self._predict(*arguments, self._arrays, batch)
    else:
      batch = next(self._batches(model_state, carry))
      _, _, rows = program(*arguments, carry, self._arrays, batch)
    size = min(self._batch_size, self._source.size)
    targets = {name: array[:size] for name, array in self._targets().items()}
    return names | set(self._task.score(_join([rows], size), targets))

  @property
  def program(self) -> jax.stages.Compiled | None:
    """The compiled evaluation of a batch; None before it is compiled."""
    return self._programs.get(self._scores_rows)

  @property
  def _scores_rows(self) -> bool:
    """Whether the metrics need the predictions."""
    return self._task.score is not None

  def evaluate(
    self,
    params: Params,
    model_state: ModelState,
    *,
    stop: StopRequest | None = None,
  ) -> dict[str, float] | None:
    """Returns the metrics, including `Task.derived` and `Task.score`."""
    values, _ = self._run(params, model_state, self._scores_rows, stop)
    return values

  def evaluate_and_predict(
    self, params: Params, model_state: ModelState
  ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Returns what both methods return, in one pass for tasks without carry."""
    values, rows = self._run(params, model_state, with_rows=True)
    assert values is not None
    return values, rows

  def _run(
    self,
    params: Params,
    model_state: ModelState,
    with_rows: bool,
    stop: StopRequest | None = None,
  ) -> tuple[dict[str, float] | None, dict[str, np.ndarray]]:
    """Evaluates the model in one pass over the source.

    Returns:
      The metrics, None after a request to stop, and the predictions, `{}`
      without `with_rows`.
    """
    if with_rows not in self._programs:
      self._compile(params, model_state, with_rows)
    program = self._programs[with_rows]
    parts, pieces, carry = [], [], self._fresh_carry(model_state)
    in_order = not carry
    params, model_state = self._place(params, model_state)
    for batch in self._batches(model_state, carry):
      carry, sums, rows = program(
        params, model_state, carry, self._arrays, batch
      )
      parts.append(sums)
      pieces.append(rows)
      # A few batches are in flight at a time; one on virtual devices.
      in_flight = 2 if self._partitioner.overlaps else 1
      jax.block_until_ready(parts[-in_flight:][0])
      # Predictions of all batches may not fit on the device.
      done = max(0, len(pieces) - in_flight)
      pieces[done] = jax.device_get(pieces[done])
      if stop:
        return None, {}
    values = metrics.compute(metrics.total(parts), self._task.derived)
    predictions = {}
    if with_rows and in_order:
      predictions = _join(pieces, self._source.size)
    elif with_rows:
      predictions = self.predict(params, model_state)
    if self._task.score is not None:
      values |= self._task.score(predictions, self._targets())
    return values, predictions

  def predict(
    self, params: Params, model_state: ModelState
  ) -> dict[str, np.ndarray]:
    """Returns the predictions `[N, ...]` by name, in the source's order."""
    pieces = []
    params, model_state = self._place(params, model_state)
    for batch in self._batches(model_state, {}):
      rows = self._predict(params, model_state, self._arrays, batch)
      pieces.append(jax.device_get(rows))
    return _join(pieces, self._source.size)

  def _compile(
    self, params: Params, model_state: ModelState, with_rows: bool
  ) -> jax.stages.Lowered:
    carry = self._fresh_carry(model_state)
    params, model_state = self._place(params, model_state)
    batch = next(self._batches(model_state, carry))
    lowered = self._evaluate.lower(
      params, model_state, carry, self._arrays, batch, with_rows=with_rows
    )
    self._programs[with_rows] = lowered.compile()
    return lowered

  def _batches(self, model_state: ModelState, carry: PyTree) -> Iterator[Batch]:
    source, size = self._source, self._source.size
    if self._arrays:  # Their rows are gathered on the device.
      source = source._replace(read=lambda indices: {})
    ordered = data.sequential if carry else data.in_order
    order = ordered(size, self._batch_size)
    for batch in data.evaluation_batches(source, order):
      yield self._partitioner.split(batch)

  def _place(
    self, params: Params, model_state: ModelState
  ) -> tuple[Params, ModelState]:
    """Returns the variables on the devices of the evaluator, without carry."""
    others = {k: tree for k, tree in model_state.items() if k != CARRY}
    return self._partitioner.replicate((params, others))

  def _fresh_carry(self, model_state: ModelState) -> PyTree:
    """Returns the `carry` of this batch size, `{}` for tasks without one."""
    if CARRY not in model_state:
      return {}
    indices = np.arange(self._batch_size, dtype=np.int32) % self._source.size
    batch = {**self._source.read(indices), "index": indices}
    return self._init_carry(batch)

  def _targets(self) -> dict[str, np.ndarray]:
    """Returns the arrays `[N, ...]` of the source but the model's inputs.

    A stream is read once: reading its targets reads the inputs too.
    """
    if self._target_arrays is None:
      inputs = self._source.info.inputs
      self._target_arrays = data.read_all(self._source, exclude=inputs)
    return self._target_arrays

  def _evaluate_batch(
    self, params, model_state, carry, arrays, batch, *, with_rows
  ):
    batch, rows = gather(arrays, batch), {}
    if with_rows and not carry:
      # One program: the compiler merges the two forward passes.
      rows = self._task.predict(params, model_state, batch, self._key)
    if carry:
      model_state = {**model_state, CARRY: carry}
    model_state, sums = self._task.evaluate(
      params, model_state, batch, self._key
    )
    return model_state.get(CARRY, {}), sums, rows

  def _predict_batch(self, params, model_state, arrays, batch):
    batch = gather(arrays, batch)
    return self._task.predict(params, model_state, batch, self._key)


def _join(
  pieces: Sequence[Mapping[str, jax.Array]], size: int
) -> dict[str, np.ndarray]:
  """Returns the first `size` rows of the predictions of all batches."""
  pieces = jax.device_get(list(pieces))
  return {
    name: np.concatenate([piece[name] for piece in pieces])[:size]
    for name in pieces[0]
  }


def evaluate_all(
  evaluators: Mapping[str, Evaluator], state: State, stop: StopRequest
) -> dict[str, dict[str, float]]:
  """Returns the metrics of every split; empty if `stop` was set meanwhile."""
  results = {}
  for split, evaluator in evaluators.items():
    values = evaluator(state, stop)
    if values is None:
      return {}
    results[split] = values
  return results
