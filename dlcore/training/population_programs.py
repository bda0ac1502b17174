"""The compiled programs of a population of runs."""

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from dlcore import data, sharding
from dlcore.task import Task
from dlcore.training.intervals import Intervals
from dlcore.training.programs import gather
from dlcore.training.setup import needs_average
from dlcore.training.signals import StopRequest
from dlcore.training.state import (
  State,
  init_guard,
  init_state,
  init_variables,
)
from dlcore.training.step import average, guard, make_step
from dlcore.training.update import Penalty
from dlcore.typing import Array, Batch, Initial, PyTree


class Parts(NamedTuple):
  """The parts of a step that depend on hyperparameters."""

  task: Task
  tx: optax.GradientTransformation
  penalty: Penalty | None = None


Build = Callable[[Mapping[str, Any]], Parts]
"""`hparams -> Parts`, called while a program is traced."""


class Member(NamedTuple):
  """The hyperparameters and the seed of one run of a population."""

  hparams: Mapping[str, float]
  """See `State.hparams`; of the same names for all members."""

  seed: int = 0


def map_members(function: Callable, count: int, in_axes: Sequence) -> Callable:
  """Returns `function` for arrays with a leading axis of members.

  One member is not mapped: the program is that of an ordinary run.

  Args:
    function: of positional arguments.
    count: number of members.
    in_axes: 0 for each argument with the axis, None for one without it.
  """
  if count > 1:
    return jax.vmap(function, tuple(in_axes))

  def single(*arguments: PyTree) -> PyTree:
    own = (
      value if axis is None else jax.tree.map(lambda leaf: leaf[0], value)
      for value, axis in zip(arguments, in_axes, strict=True)
    )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], function(*own))

  return single


class PopulationPrograms:
  """Compiles the first state and the steps, for any number of members.

  The members are divided among the devices. Where all have the same seed,
  their batches are the same and are gathered once.
  """

  def __init__(
    self,
    build: Build,
    source: data.Source,
    order: data.Order,
    partitioner: sharding.Partitioner,
    *,
    initial: Initial | None,
    ema: float,
    accumulate: int,
    spike_factor: float,
    max_consecutive_skips: int,
    placement: str,
    others: Sequence[data.Source],
  ):
    """Places the data; see `Population` for the arguments.

    Args:
      build: `hparams -> Parts`.
      source: the examples.
      order: which of them make a batch.
      partitioner: the devices.
      initial: replaces random values before the first step.
      ema: decay of the average of the weights.
      accumulate: number of micro-batches.
      spike_factor: of the gradient norm.
      max_consecutive_skips: number of skipped updates in a row.
      placement: of the data.
      others: sources that need a place on the devices too.
    """
    self._build, self._source, self._order = build, source, order
    self._initial = initial
    self._ema, self._accumulate = ema, accumulate
    self._spike_factor = spike_factor
    self._max_consecutive_skips = max_consecutive_skips
    self.partitioner = partitioner
    resident = sharding.fits_on_device(placement, partitioner, source, *others)
    self.arrays: Batch = {}
    if resident:
      self.arrays = partitioner.replicate(dict(source.arrays or {}))
    self._compiled: dict[tuple, Callable] = {}

  def init(self, members: Sequence[Member]) -> State:
    """Returns the states before the first step, `[P, ...]`."""
    hparams = {
      name: np.array([member.hparams[name] for member in members], np.float32)
      for name in members[0].hparams
    }
    seeds = np.array([member.seed for member in members], np.int32)
    batch = self._read(members[0].seed, 0)
    averages = self._averages(members[0], batch)

    def create(hparams: Mapping[str, Any], seed, batch, *variables) -> State:
      parts = self._build(hparams)
      return init_state(
        parts.task,
        parts.tx,
        batch,
        seed=seed,
        hparams=hparams,
        variables=variables or None,
        average=averages,
        guard=init_guard(spikes=self._spike_factor > 0),
      )

    variables = self._initial_variables(members, batch)
    axes = (0, 0, None, *[0] * len(variables))
    options = self.partitioner.init_compiler_options
    program = jax.jit(
      map_members(create, len(members), axes), compiler_options=options
    )
    states = program(hparams, seeds, batch, *variables)
    jax.block_until_ready(states)
    return self.put(states)

  def put(self, states: PyTree) -> PyTree:
    """Puts arrays `[P, ...]` on the devices, P / devices on each."""
    return jax.device_put(states, self._layout(0))

  def copy(self, states: PyTree) -> PyTree:
    """Returns a copy, since a step donates its states."""
    return jax.tree.map(jnp.copy, states)

  def select(self, chosen: np.ndarray, new: PyTree, old: PyTree) -> PyTree:
    """Returns `new` in the rows that are chosen, bool `[P]`, else `old`."""

    def pick(new: Array, old: Array) -> Array:
      column = chosen.reshape(-1, *[1] * (new.ndim - 1))
      return jnp.where(column, new, old)

    return jax.tree.map(pick, new, old)

  def take(self, states: PyTree, rows: np.ndarray) -> PyTree:
    """Returns some rows of arrays `[P, ...]`."""
    return self.put(jax.tree.map(lambda leaf: leaf[rows], states))

  def advance(
    self,
    states: State,
    seeds: Sequence[int],
    step: int,
    intervals: Intervals,
    pause: int,
    stop: StopRequest,
  ) -> tuple[State, int]:
    """Makes the steps up to `pause`, or to a request to stop.

    Args:
      states: `[P, ...]`; they are donated.
      seeds: of the P members.
      step: of the states.
      intervals: the steps of each call.
      pause: the last step.
      stop: checked after every call.

    Returns:
      The states, and their step.
    """
    distinct = seeds[:1] if len(set(seeds)) == 1 else seeds
    streams = [self._stream(seed, step, pause) for seed in distinct]
    try:
      for count in intervals.step_counts(step):
        if step == pause or stop:
          break
        length = self._order(seeds[0], step).length
        group = [_stack(list(map(next, streams))) for _ in range(count)]
        batch = group[0] if count == 1 else _stack(group)
        states = self._program(states, count, length, batch, len(distinct))(
          states, self.arrays, batch
        )
        step += count
    finally:
      for stream in streams:
        stream.close()
    return states, step

  def _program(
    self,
    states: State,
    count: int,
    length: int | None,
    batch: Batch,
    seeds: int,
  ) -> Callable:
    """Returns the compiled program of `count` steps."""
    key = (len(states.step), seeds, count, length)
    if key not in self._compiled:
      self._compiled[key] = self._compile(states, count, length, batch, seeds)
    return self._compiled[key]

  def _compile(
    self,
    states: State,
    count: int,
    length: int | None,
    batch: Batch,
    seeds: int,
  ) -> Callable:
    sequences = self._source.info.schema.sequences
    shared = seeds == 1

    def member_step(state: State, batch: Batch) -> State:
      parts = self._build(state.hparams)
      step = make_step(
        parts.task,
        parts.tx,
        penalty=parts.penalty,
        accumulate=self._accumulate,
      )
      if state.average:
        step = average(step, self._ema)
      step = guard(
        step,
        spike_factor=self._spike_factor,
        max_consecutive_skips=self._max_consecutive_skips,
      )
      return step(state, batch)[0]

    def run(states: State, arrays: Batch, batch: Batch) -> State:
      take = functools.partial(
        gather, arrays, sequences=sequences, length=length
      )
      rows = map_members(take, seeds, (0,))(batch)
      if shared:
        rows = jax.tree.map(lambda leaf: leaf[0], rows)
      axes = (0, None if shared else 0)
      return map_members(member_step, len(states.step), axes)(states, rows)

    def repeat(states: State, arrays: Batch, batches: Batch) -> State:
      return jax.lax.scan(
        lambda states, batch: (run(states, arrays, batch), None),
        states,
        batches,
      )[0]

    axis = 0 if count == 1 else 1
    whole = self._layout(None)
    layout = self._layout(0)
    jitted = jax.jit(
      run if count == 1 else repeat,
      in_shardings=(layout, whole, whole if shared else self._layout(axis)),
      out_shardings=layout,
      donate_argnums=0,
    )
    return jitted.lower(states, self.arrays, batch).compile(
      compiler_options=self.partitioner.compiler_options
    )

  def _layout(self, axis: int | None) -> NamedSharding:
    """Returns the layout of arrays whose `axis` is that of the members."""
    [name] = self.partitioner.mesh.axis_names
    spec = () if axis is None else (*[None] * axis, name)
    return NamedSharding(self.partitioner.mesh, PartitionSpec(*spec))

  def _initial_variables(
    self, members: Sequence[Member], batch: Batch
  ) -> tuple[PyTree, ...]:
    """Returns `(params, model_state)` of all members, `()` for random ones."""
    if self._initial is None:
      return ()
    task = self._build(members[0].hparams).task
    by_seed = {
      seed: self._initial(*jax.jit(init_variables, static_argnums=(0, 2))(
        task, batch, seed
      ))
      for seed in {member.seed for member in members}
    }  # fmt: skip
    own = [by_seed[member.seed] for member in members]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *own)

  def _averages(self, member: Member, batch: Batch) -> bool:
    parts = self._build(member.hparams)
    return needs_average(parts.task, parts.tx, batch, self._ema)

  def _rows(self, seed: int, index: int) -> Batch:
    rows = self._order(seed, index)
    return data.rows_to_arrays(rows, mask=self._order.padded)

  def _read(self, seed: int, index: int) -> Batch:
    """Returns a batch `[B, ...]` on the host, uncut."""
    rows = self._rows(seed, index)
    return {**self._source.read(rows["index"]), **rows}

  def _stream(
    self, seed: int, first: int, stop: int
  ) -> Generator[Batch, None, None]:
    if self.arrays:
      return (self._rows(seed, index) for index in range(first, stop))
    return data.batches(self._source, self._order, seed, first, stop)


def _stack(batches: Sequence[Batch]) -> Batch:
  return jax.tree.map(lambda *rows: np.stack(rows), *batches)
