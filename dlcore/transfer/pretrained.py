"""Published weights into variables: what fits, what does not, and why."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError, lookup
from dlcore.optim.settings import check_pattern
from dlcore.transfer import blocks, files, fitting, naming, sources
from dlcore.transfer.blocks import Part
from dlcore.transfer.loading import Loading
from dlcore.transfer.report import Report
from dlcore.typing import PyTree

MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a config.json of wrong values raises where these are used."""

LARGEST = 2**31 - 1
"""Of the numbers of a config.json."""

DEPTHS = ("depth", "target_depth", "depths", "stages")
"""The fields of models that count blocks."""

WIDTHS = (
  "width",
  "widths",
  "hidden",
  "target_hidden",
  "vocabulary",
  "heads",
  "head_size",
)
"""Some that are sizes of arrays, or divide one."""

HEADS = {"published": False, "fresh": True}
"""Whether the output layer stays as it was drawn even where one would fit."""


def load_pretrained(
  source: str | Path,
  model: Any,
  variables: PyTree,
  *,
  family: str = "",
  allow: str = "",
  head: str = "published",
) -> tuple[PyTree, Report]:
  """Returns variables with published weights in the place of random ones.

  Beside the variables it needs the memory of one array at a time; a file is
  mapped and may fill what memory is free.

  Args:
    source: a .safetensors or .npz file, a folder with config.json and
      safetensors (in one file, or in several with an index), a run folder
      (its best checkpoint), or `hf:org/name`.
    model: the module.
    variables: of the module, as `init` returns them, or their shapes
      (`jax.ShapeDtypeStruct`) where `source` has them all.
    family: a key of `FAMILIES`, or "dlcore" for our own paths. By default the
      one that config.json tells, or that the names fit best.
    allow: regex over our paths that may be missing or of another shape, which
      then stay as they were, and over published names that may be unused.
    head: "published" takes the output layer where it has our width; "fresh"
      leaves ours as it was drawn.

  Returns:
    The variables, of the same dtypes and on the same devices, and the report.

  Raises:
    UserError: the source cannot be read or trusted, an array is not finite,
      or something is missing, unused or of another shape that may not be.
  """
  check_pattern("init.allow", allow)
  fresh = lookup(HEADS, head, "choice of the head")
  found = sources.find(source)
  leaves = trees.flatten(variables)
  parts = blocks.parts(leaves)
  names = list(found.arrays)
  if family:
    chosen = naming.of(family, model, parts)
  else:
    chosen = naming.guess(found.config, names, model, parts)
  loading = Loading(str(source), chosen, parts, names)
  loading.check(allow)
  if fresh:
    loading.leave_head()
  else:
    loading.fit_head(found.arrays)
  filling = blocks.Filling(leaves)
  for path, name, array in loading.read(found.arrays, leaves, allow):
    fitting.check_finite(name, filling.fill(parts[path], array))
    filling.done(parts[path])
  kept = [parts[path] for path in (*loading.fresh, *loading.missing)]
  _check_drawn(leaves, kept)
  for part in kept:
    filling.done(part)
  return trees.restore(variables, filling.leaves), loading.report()


def from_pretrained(folder: str | Path, **settings: Any) -> tuple[Any, PyTree]:
  """Builds the model of a folder's config.json and loads its weights.

  Args:
    folder: with config.json and safetensors, or `hf:org/name`.
    **settings: fields of the model that are set otherwise, such as `dtype`.

  Returns:
    `(model, variables)`, the model with the head that the config names in
    `architectures`.

  Raises:
    UserError: the folder cannot be read, is of no known family, or lacks an
      array of the model.
  """
  found = sources.find(folder)
  config = found.config or {}
  family = naming.family(config, folder)
  try:
    _check_numbers(config)
    model = family.build(config)
    model = model.clone(**settings) if settings else model
    _check_sizes(model, found.arrays)
    inputs = family.inputs(config)
    for example in inputs:
      _at_most("input", math.prod(example.shape), LARGEST)
    variables = jax.eval_shape(
      partial(model.init, train=False),
      jax.random.key(0),
      *inputs,
    )
  except MISTAKES as error:
    raise UserError(
      f"expected a whole config.json in {folder}",
      f"got {type(error).__name__}: {error}",
      "download the folder again",
    ) from error
  variables, report = load_pretrained(folder, model, variables)
  for path, change in report.reshaped.items():
    raise UserError(
      f"expected a config.json in {folder} that fits the weights",
      f"got another shape of {path}: {change}",
      "build the model, and give it to transfer.load_pretrained",
    )
  return model, variables


def _check_numbers(value: Any) -> None:
  """Refuses whole numbers that no array could have as a size.

  Raises:
    ValueError: tells the number.
  """
  if isinstance(value, Mapping):
    value = list(value.values())
  if isinstance(value, list):
    for part in value:
      _check_numbers(part)
  elif isinstance(value, int) and abs(value) > LARGEST:
    raise ValueError(f"the number {files.shown(value)}")


def _check_sizes(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
  """Refuses a model that is too large for its weights, before it is traced.

  A width needs an array at least as long, and a block has arrays of its own.

  Raises:
    ValueError: tells the field and the number.
  """
  elements = sum(array.size for array in arrays.values())
  for field in dataclasses.fields(model):
    value = getattr(model, field.name)
    if field.name in DEPTHS and not getattr(model, "scan", False):
      counts = value if isinstance(value, tuple) else (value,)
      blocks = sum(n if isinstance(n, int) else len(n) for n in counts)
      _at_most(field.name, blocks, len(arrays))
    elif field.name in WIDTHS:
      for number in value if isinstance(value, tuple) else (value,):
        _at_most(field.name, number, elements)


def _at_most(name: str, number: int, most: int) -> None:
  if number and number > most:
    raise ValueError(f"{name}={number:,}, above {most:,}")


def _check_drawn(leaves: Mapping[str, Any], kept: Iterable[Part]) -> None:
  """Refuses to leave as it was what is a mere shape."""
  for part in kept:
    if isinstance(leaves[part.leaf], jax.ShapeDtypeStruct):
      raise UserError(
        "expected weights for the whole model",
        f"got none for {part.leaf}",
        "draw it by model.init, and give that to transfer.load_pretrained",
      )
