"""Calls of a function for many files, in threads."""

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

PIECE = 64
"""Values for which a thread calls the function in turn. One call at a time
would take twice as long for small images."""


def map_in_threads(function: Callable[[T], R], values: Sequence[T]) -> list[R]:
  """Returns `function(value)` for every value, computed in threads."""

  def call(piece: Sequence[T]) -> list[R]:
    return [function(value) for value in piece]

  pieces = [values[i : i + PIECE] for i in range(0, len(values), PIECE)]
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    return list(itertools.chain.from_iterable(threads.map(call, pieces)))
