"""Published weights into variables: what fits, what does not, and why."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax

from dlcore import trees
from dlcore.errors import UserError, lookup, nearest
from dlcore.optim.settings import check_pattern
from dlcore.transfer import blocks, configs, fitting, naming, sources
from dlcore.transfer.blocks import Part
from dlcore.transfer.loading import Loading
from dlcore.transfer.report import Report
from dlcore.typing import PyTree

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
      then stay as they were, over published names that may be unused, and
      over settings, such as "model.activation", that may be others than those
      of config.json.
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
  if found.config:
    loading.differing = configs.differing(
      found.config, chosen.family, model, allow
    )
  if fresh:
    loading.leave_head()
  else:
    loading.fit_head(found.arrays)
  filling = blocks.Filling(leaves)
  for path, name, array in loading.read(found.arrays, leaves, allow):
    fitting.check_finite(name, filling.fill(parts[path], array))
    filling.done(parts[path])
  loading.check_twins(found.arrays)
  kept = [parts[path] for path in (*loading.fresh, *loading.missing)]
  _check_drawn(leaves, kept)
  for part in kept:
    filling.done(part)
  return trees.restore(variables, filling.leaves), loading.report()


def from_pretrained(
  folder: str | Path, *, allow: str = "", **settings: Any
) -> tuple[Any, PyTree]:
  """Builds the model of a folder's config.json and loads its weights.

  Args:
    folder: with config.json and safetensors, or `hf:org/name`.
    allow: see `load_pretrained`.
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
    configs.check_numbers(config)
    model = family.build(config)
    if _lacks_pooler(model, found.arrays):
      model = model.clone(pooler=False)
    model = _with(model, settings)
    configs.check_sizes(model, found.arrays)
    inputs = family.inputs(config)
    for example in inputs:
      configs.at_most("input", math.prod(example.shape), configs.LARGEST)
    variables = jax.eval_shape(
      partial(model.init, train=False),
      jax.random.key(0),
      *inputs,
    )
  except configs.MISTAKES as error:
    raise UserError(
      f"expected a whole config.json in {folder}",
      f"got {type(error).__name__}: {error}",
      "download the folder again",
    ) from error
  allow = "|".join(filter(None, [allow, *(rf"^model\.{s}$" for s in settings)]))
  variables, report = load_pretrained(folder, model, variables, allow=allow)
  for path, change in report.reshaped.items():
    raise UserError(
      f"expected a config.json in {folder} that fits the weights",
      f"got another shape of {path}: {change}",
      "build the model, and give it to transfer.load_pretrained",
    )
  return model, variables


def _with(model: Any, settings: Mapping[str, Any]) -> Any:
  """Returns the model with other settings.

  Raises:
    UserError: it has no such setting.
  """
  known = {field.name for field in dataclasses.fields(model)}
  for name in settings:
    if name not in known - {"name", "parent"}:
      raise UserError(
        f"expected a setting of {type(model).__name__}",
        f"got {name!r}",
        nearest(name, known - {"name", "parent"}),
      )
  return model.clone(**settings) if settings else model


def _lacks_pooler(model: Any, names: Iterable[str]) -> bool:
  """Tells whether a base model was published without its pooler."""
  pooled = getattr(model, "pooler", False) and model.head is None
  return pooled and not any("pooler." in name for name in names)


def _check_drawn(leaves: Mapping[str, Any], kept: Iterable[Part]) -> None:
  """Refuses to leave as it was what is a mere shape."""
  for part in kept:
    if isinstance(leaves[part.leaf], jax.ShapeDtypeStruct):
      raise UserError(
        "expected weights for the whole model",
        f"got none for {part.leaf}",
        "draw it by model.init, and give that to transfer.load_pretrained",
      )
