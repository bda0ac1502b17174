"""An estimate of the temporary memory of a program that is not compiled.

Arrays are counted from the equation that computes them to their last use.
XLA fuses elementwise equations into their consumers, so an array that only
such equations and reductions read takes no memory; instead, the arrays that it
is computed from stay.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import Literal, jaxprs_in_params

FUSED = """
abs add add_any and atan2 broadcast_in_dim cbrt ceil clamp convert_element_type
copy copy_p cos div eq erf erf_inv exp exp2 expm1 floor ge gt
integer_pow iota is_finite le log log1p logistic lt max min mul ne neg nextafter
not or pad pow random_bits random_fold_in random_seed random_split random_unwrap
random_wrap rem rev round rsqrt select_n shift_left
shift_right_arithmetic shift_right_logical sign sin slice split sqrt square
stop_gradient sub tan tanh threefry2x32 transpose xor
"""
"""Primitives whose results XLA computes inside of their consumers."""

REDUCTIONS = """
argmax argmin reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
"""
"""Primitives that read fused arrays, and whose own results are in memory."""

VIEWS = frozenset({"expand_dims", "reshape", "squeeze"})
"""Primitives whose results are their inputs with another shape."""

INLINED = {
  "pjit": "jaxpr",
  "jit": "jaxpr",
  "closed_call": "call_jaxpr",
  "core_call": "call_jaxpr",
  "custom_jvp_call": "call_jaxpr",
  "custom_vjp_call": "call_jaxpr",
  "custom_vjp_call_jaxpr": "fun_jaxpr",
}
"""Calls that XLA inlines, with the parameter that holds their program."""


class _Row(NamedTuple):
  """An equation; arrays are numbers."""

  name: str
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  inside: int
  """The memory of the loop or the branches in it, in bytes."""


def temporary_bytes(program: Any) -> int:
  """Returns an estimate of the largest memory of temporary arrays, in bytes.

  Inputs and results of the program do not count: the results of a training
  step take the memory of its inputs.

  Args:
    program: a `ClosedJaxpr` of `jax.make_jaxpr`, or a `Jaxpr`.
  """
  jaxpr = getattr(program, "jaxpr", program)
  numbers = itertools.count()
  sizes: dict[int, int] = {}
  environment: dict[Any, int] = {}
  for variable in (*jaxpr.constvars, *jaxpr.invars):
    environment[variable] = next(numbers)
  rows = list(_rows(jaxpr, environment, numbers, sizes))
  for variable in jaxpr.outvars:
    if not isinstance(variable, Literal):
      sizes[environment[variable]] = 0
  return _peak(rows, sizes)


def _peak(rows: list[_Row], sizes: dict[int, int]) -> int:
  """Returns the largest sum of the sizes of arrays that exist together."""
  materialized = _materialized(rows)
  # Backwards, so that the last use of a fused result is known.
  last_uses: dict[int, int] = {}
  for index in range(len(rows) - 1, -1, -1):
    row, end = rows[index], index
    fused = [n for n in row.outputs if n not in materialized]
    end = max([index, *(last_uses.get(n, index) for n in fused)])
    for number in row.inputs:
      last_uses[number] = max(last_uses.get(number, 0), end)
  ends: dict[int, int] = {}
  live = largest = 0
  for index, row in enumerate(rows):
    for number in row.outputs:
      if number in materialized and number in last_uses:
        size = sizes.get(number, 0)
        live += size
        end = last_uses[number]
        ends[end] = ends.get(end, 0) + size
    largest = max(largest, live + row.inside)
    live -= ends.pop(index, 0)
  return largest


def _materialized(rows: list[_Row]) -> set[int]:
  """Returns the arrays that are in memory."""
  fused, reductions = set(FUSED.split()), set(REDUCTIONS.split())
  result = set()
  for row in rows:
    if row.name not in fused:
      result.update(row.outputs)
      if row.name not in reductions:
        result.update(row.inputs)
  return result


def _rows(
  jaxpr: Any,
  environment: dict[Any, int],
  numbers: Iterator[int],
  sizes: dict[int, int],
) -> Iterator[_Row]:
  """Yields the equations of a program and of the calls in it.

  Args:
    jaxpr: the program.
    environment: the numbers of its inputs; those of its variables are added.
    numbers: unused numbers.
    sizes: receives the bytes of each array by its number.
  """
  for equation in jaxpr.eqns:
    inputs = [
      next(numbers) if isinstance(atom, Literal) else environment[atom]
      for atom in equation.invars
    ]
    name = equation.primitive.name
    if name in VIEWS:
      environment[equation.outvars[0]] = inputs[0]
      continue
    inner = equation.params.get(INLINED.get(name, ""))
    if inner is not None:
      inner = getattr(inner, "jaxpr", inner)
      names = {v: next(numbers) for v in inner.constvars}
      names |= dict(zip(inner.invars, inputs, strict=True))
      yield from _rows(inner, names, numbers, sizes)
      for outer, atom in zip(equation.outvars, inner.outvars, strict=True):
        is_number = isinstance(atom, Literal)
        environment[outer] = next(numbers) if is_number else names[atom]
      continue
    for variable in equation.outvars:
      environment[variable] = next(numbers)
      sizes[environment[variable]] = _num_bytes(variable.aval)
    inside = map(temporary_bytes, jaxprs_in_params(equation.params))
    outputs = tuple(environment[v] for v in equation.outvars)
    yield _Row(name, tuple(inputs), outputs, max(inside, default=0))


def _num_bytes(aval: Any) -> int:
  dtype = getattr(aval, "dtype", None)
  if not isinstance(dtype, np.dtype):  # Of random keys.
    return 0
  return math.prod(aval.shape) * dtype.itemsize
