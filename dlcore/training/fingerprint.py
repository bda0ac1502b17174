"""A checksum of the program of the training step and its constants.

Functions cannot be compared, but the programs that JAX traces from them can.
Every setting of the model, the task and the optimizer that has an effect is an
equation, a shape or a constant of the program.
"""

import functools
import hashlib
import itertools
import re
from collections.abc import Iterator
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxpr_as_fun

from dlcore.training.state import State
from dlcore.training.step import Step
from dlcore.typing import Batch

IGNORED = frozenset(
  {
    "name",  # Of a function.
    "weak_type",  # The first state of a run may have such types, restored not.
    "sharding",
    "out_sharding",
    "in_shardings",
    "out_shardings",
    "in_layouts",
    "out_layouts",
    "ctx_mesh",
    "donated_invars",
    "inline",
    "keep_unused",
  }
)
"""Parameters of equations that change no number. The shardings of intermediate
arrays follow from the placement of the data."""

LAYOUT = "reshard"
"""The primitive that changes nothing but the sharding of an array."""

ADDRESS = re.compile(r"\b0x[0-9a-f]+")


class TracedStep:
  """A step that is traced once for each shape of its batches.

  It is equal to the step, equation by equation, in every program that calls
  it, whatever the number of steps in a call or the placement of the data.
  """

  def __init__(self, step: Step):
    """Takes the step, `(state, batch) -> (state, log)`."""
    self._step = step
    self._jaxprs: dict[int, Any] = {}

  def __call__(self, state: State, batch: Batch) -> tuple[State, dict]:
    """Calls the step with tracers."""
    # `make_jaxpr` has a cache: one trace serves the programs of all dispatches.
    # An inner `jit` would hide from `scan` which arrays of the state it leaves.
    trace = jax.make_jaxpr(self._step, return_shape=True)
    jaxpr, result = trace(state, batch)
    self._jaxprs[id(jaxpr)] = jaxpr
    outputs = jaxpr_as_fun(jaxpr)(*jax.tree.leaves((state, batch)))
    return jax.tree.unflatten(jax.tree.structure(result), outputs)

  @property
  def is_traced(self) -> bool:
    """Whether the step was called."""
    return bool(self._jaxprs)

  def fingerprint(self) -> str:
    """Returns the sha256 of the step for all shapes that were traced."""
    every = {fingerprint(jaxpr) for jaxpr in self._jaxprs.values()}
    return _sha256("\n".join(sorted(every)).encode())


def fingerprint(jaxpr: Any) -> str:
  """Returns the sha256 of the equations, shapes and constants of a program.

  It is the same in every process. Names of variables and functions, addresses
  of objects and line numbers do not count.
  """
  return _digest(jaxpr, {})


def digest_arrays(tree: Any) -> str:
  """Returns the sha256 of the arrays of a tree; other leaves do not count."""
  arrays = (x for x in jax.tree.leaves(tree) if hasattr(x, "__array__"))
  return _sha256("\n".join(map(_array, arrays)).encode())


def _digest(jaxpr: Any, digests: dict[int, str]) -> str:
  """Returns the sha256 of a program; `digests` has those so far, by `id`."""
  if id(jaxpr) not in digests:
    text = "\n".join(_lines(jaxpr, digests))
    digests[id(jaxpr)] = _sha256(text.encode())
  return digests[id(jaxpr)]


def _lines(jaxpr: Any, digests: dict[int, str]) -> Iterator[str]:
  """Yields constants, inputs, equations and outputs; variables are numbers."""
  consts = getattr(jaxpr, "consts", ())
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  names: dict[Any, str] = {}
  count = itertools.count()

  def define(variables: Any) -> str:
    for variable in variables:
      names[variable] = str(next(count))
    return " ".join(_type(variable.aval) for variable in variables)

  def use(atoms: Any) -> str:
    return " ".join(
      _type(atom.aval) + _array(atom.val)
      if isinstance(atom, Literal)
      else names[atom]
      for atom in atoms
    )

  yield " ".join(map(_array, consts))
  yield define([*jaxpr.constvars, *jaxpr.invars])
  for equation in jaxpr.eqns:
    if equation.primitive.name == LAYOUT:
      names[equation.outvars[0]] = use(equation.invars)
      continue
    settings = _text(equation.params, digests)
    inputs = use(equation.invars)
    outputs = define(equation.outvars)
    yield f"{outputs} = {equation.primitive} {settings} {inputs}"
  yield use(jaxpr.outvars)


def _text(value: Any, digests: dict[int, str]) -> str:
  """Returns a parameter of an equation as text, the same in every process."""
  match value:
    case None | bool() | int() | float() | str():
      return repr(value)
    case dict():
      items = sorted((str(name), item) for name, item in value.items())
      pairs = (
        f"{name}={_text(item, digests)}"
        for name, item in items
        if name not in IGNORED
      )
      return f"[{' '.join(pairs)}]"
    case tuple() | list():
      return f"({' '.join(_text(item, digests) for item in value)})"
    case set() | frozenset():
      return f"({' '.join(sorted(_text(item, digests) for item in value))})"
  if hasattr(value, "eqns"):  # A program: the class depends on JAX's version.
    return _digest(value, digests)
  if hasattr(value, "__qualname__"):  # A function or a type.
    return value.__qualname__
  if hasattr(value, "__array__"):
    return _array(value)
  return ADDRESS.sub("", repr(value))


def _type(aval: Any) -> str:
  """Returns the dtype and the shape of an array."""
  shape = getattr(aval, "shape", "")
  return f"{_name(getattr(aval, 'dtype', type(aval)))}{shape}"


@functools.cache
def _name(dtype: Any) -> str:
  return str(dtype)  # Of NumPy, 3 us each.


def _array(value: Any) -> str:
  """Returns the type of a number or an array and the sha256 of its content."""
  if not (isinstance(value, Number) or hasattr(value, "__array__")):
    return _type(value)  # The content of a `jax.Ref` is not of the program.
  if isinstance(value, jax.Array) and jnp.issubdtype(
    value.dtype, jax.dtypes.prng_key
  ):
    value = jax.random.key_data(value)
  array = np.asarray(value)
  return _type(array) + _sha256(array.tobytes())


def _sha256(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()
