"""The compiled programs of a run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from dlcore import sharding
from dlcore.training.feed import Feed
from dlcore.training.state import State
from dlcore.training.step import Step
from dlcore.typing import Batch

Program = Callable[[State, Batch, Batch], Any]
"""`(state, arrays, batch) -> results`: of a step `(state, log)`."""


def gather(
  arrays: Batch,
  rows: Batch,
  sequences: Sequence[str] = (),
  length: int | None = None,
) -> Batch:
  """Returns a batch: the rows `rows["index"]` of the arrays `[N, ...]`.

  Args:
    arrays: resident data, an empty dict where `rows` is a whole batch.
    rows: `index`, int32 `[B]`, and other arrays `[B, ...]`, which stay.
    sequences: names of the arrays `[N, T, ...]` that are cut to `length`.
    length: number of positions to keep; None keeps all.
  """

  def take(name: str, array: jax.Array) -> jax.Array:
    if length is not None and name in sequences:
      array = array[:, :length]
    return array.at[rows["index"]].get(mode="promise_in_bounds")

  return {**{name: take(name, a) for name, a in arrays.items()}, **rows}


def compile_programs(
  partitioner: sharding.Partitioner,
  step: Step,
  state: State,
  feed: Feed,
  counts: set[int],
) -> Mapping[tuple[int, int | None], Program]:
  """Compiles the step for every dispatch that a run will make.

  Args:
    partitioner: the devices.
    step: `(state, batch) -> (state, log)`.
    state: an example.
    feed: gives the shapes of the batches.
    counts: the numbers of steps in a dispatch.

  Returns:
    Programs by number of steps and length.
  """
  return {
    (count, length): program
    for count in counts
    for length, program in compile_by_length(
      partitioner, step, state, feed, num_steps=count
    ).items()
  }


def compile_by_length(
  partitioner: sharding.Partitioner,
  function: Callable[[State, Batch], Any],
  state: State,
  feed: Feed,
  **options,
) -> dict[int | None, Program]:
  """Compiles `function` for every length of the order of `feed`.

  Args:
    partitioner: the devices.
    function: `(state, batch) -> results`.
    state: an example.
    feed: gives the shapes of the batches.
    **options: of `Partitioner.compile`.
  """
  programs = {}
  for length, rows in feed.examples().items():

    def run(state: State, arrays: Batch, rows: Batch, length=length):
      return function(state, gather(arrays, rows, feed.sequences, length))

    programs[length] = partitioner.compile(
      run, state, feed.arrays, rows, **options
    )
  return programs
