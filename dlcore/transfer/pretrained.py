"""Loads published weights into the variables of a model.

`io/sources.py` opens the files; `selection.py` selects the family, whose rules
(`families/`) map published names to the model's paths; `loading.py` reads and
checks one array at a time; `stacked_blocks.py` copies it into a leaf of the
variables.
"""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax

from dlcore import trees
from dlcore.errors import (
  UserError,
  check_choice,
  check_pattern,
  check_settings,
)
from dlcore.transfer import (
  array_checks,
  config_checks,
  published_json,
  selection,
  stacked_blocks,
)
from dlcore.transfer.families import Family
from dlcore.transfer.io import sources
from dlcore.transfer.load_report import Report
from dlcore.transfer.loading import Loading
from dlcore.transfer.stacked_blocks import Slot
from dlcore.typing import PyTree

HEADS = ("published", "reinitialized")
"""Values of `head`."""

INTERNAL = ("name", "parent")
"""Fields of modules that Flax sets."""


def load_pretrained(
  source: str | Path,
  model: Any,
  variables: PyTree,
  *,
  family: str = "",
  allow: str = "",
  head: str = "published",
) -> tuple[PyTree, Report]:
  """Returns variables with the initialization replaced by published weights.

  In addition to the variables, this allocates one array at a time. The file is
  memory-mapped.

  Args:
    source: a .safetensors or .npz file, a folder with config.json and
      safetensors (in one file, or in several with an index), a run folder
      (its best checkpoint), or `hf:org/name`.
    model: the module.
    variables: variables that `model.init` returns, or their shapes
      (`jax.ShapeDtypeStruct`) if the source has all of them.
    family: a key of `FAMILIES`, or "dlcore" for dlcore's own paths. By default
      the family that config.json names, or the one that matches most names.
    allow: regex over the model's paths that may be missing or of another shape,
      and then keep their initialization; over published names that may be
      unused; and over fields such as "model.activation" that may differ from
      config.json.
    head: "published" loads the head if its shapes are the model's;
      "reinitialized" keeps its initialization.

  Returns:
    The variables, with the dtypes and devices of the arguments, and the report.

  Raises:
    UserError: the source cannot be read or fails a check, a value is not
      finite, or a missing, unused or reshaped array is not allowed.
  """
  check_pattern("allow", allow)
  check_choice("head", head, HEADS)
  weights = sources.open_weights(source)
  config_checks.check_not_quantized(weights.config or {})
  leaves = trees.flatten(variables)
  slots = stacked_blocks.slots(leaves)
  names = list(weights.arrays)
  if family:
    naming = selection.by_name(family, model, slots)
  else:
    naming = selection.infer(weights.config, names, model, slots)
  loading = Loading(str(source), naming, slots, names)
  loading.check_names(allow)
  if weights.config:
    loading.differing = config_checks.differences(
      weights.config, naming.family, model, allow
    )
  if head == "reinitialized":
    loading.skip_head()
  else:
    loading.skip_mismatched_head(weights.arrays)
  builder = stacked_blocks.LeafBuilder(leaves)
  for path, name, array in loading.read(weights.arrays, leaves, allow):
    array_checks.check_finite(name, builder.fill(slots[path], array))
    builder.close(slots[path])
  loading.check_duplicates(weights.arrays)
  unchanged = [
    slots[path] for path in (*loading.reinitialized, *loading.missing)
  ]
  _check_initialized(leaves, unchanged)
  for slot in unchanged:
    builder.close(slot)
  report = loading.report(weights.published)
  return trees.restore(variables, builder.leaves), report


def from_pretrained(
  folder: str | Path, *, allow: str = "", **fields: Any
) -> tuple[Any, PyTree]:
  """Creates the model of a folder's config.json and loads its weights.

  Args:
    folder: a folder with config.json and safetensors, or `hf:org/name`.
    allow: see `load_pretrained`.
    **fields: fields of the model to change, such as `dtype`.

  Returns:
    `(model, variables)`. The model has the head of the `architectures` in
    config.json. `save_pretrained` writes the other entries of config.json
    again with this model, but not with a clone of it, which needs
    `published=transfer.read_published(folder)`.

  Raises:
    UserError: the folder cannot be read, belongs to no known family, or lacks
      an array of the model.
  """
  weights = sources.open_weights(folder)
  config = weights.config or {}
  family = selection.required_family(config, folder)
  try:
    config_checks.check_integers(config)
    config_checks.check_not_quantized(config)
    model = _build(family, config, fields)
    check_settings(type(model), fields, type(model).__name__, INTERNAL)
    model = model.clone(**fields)
    if "pooler" not in fields and _lacks_pooler(model, weights.arrays):
      model = model.clone(pooler=False)
    config_checks.check_sizes(model, weights.arrays)
    inputs = family.inputs(config)
    for example in inputs:
      size = math.prod(example.shape)
      config_checks.check_limit("input", size, config_checks.MAX_INTEGER)
    variables = jax.eval_shape(
      partial(model.init, train=False),
      jax.random.key(0),
      *inputs,
    )
  except config_checks.INVALID as error:
    raise UserError(
      f"expected a complete config.json in {folder}",
      f"got {type(error).__name__}: {error}",
      "download the folder again",
    ) from error
  changed = [rf"^model\.{name}$" for name in fields]
  allow = "|".join(filter(None, [allow, *changed]))
  variables, report = load_pretrained(folder, model, variables, allow=allow)
  for path, change in report.reshaped.items():
    raise UserError(
      f"expected a config.json in {folder} that matches the weights",
      f"got another shape of {path}: {change}",
      "create the model, and load the weights by transfer.load_pretrained",
    )
  published_json.remember(model, weights.published)
  return model, variables


def read_published(source: str | Path) -> dict[str, dict[str, Any]]:
  """Returns the JSON files of a source for `save_pretrained`.

  Args:
    source: see `load_pretrained`.

  Returns:
    Content of config.json and generation_config.json by file name, without
    missing ones.

  Raises:
    UserError: the source cannot be read.
  """
  return sources.open_weights(source).published


def _build(
  family: Family, config: Mapping[str, Any], fields: Mapping[str, Any]
) -> Any:
  """Returns the model of a config.json, maybe with another head.

  With `head=None` the config.json may name a head that dlcore lacks.
  """
  try:
    return family.build(config)
  except UserError:
    if "head" not in fields or fields["head"] is not None:
      raise
    return family.build({**config, "architectures": None})


def _lacks_pooler(model: Any, names: Iterable[str]) -> bool:
  """Returns whether a base model was published without its pooler."""
  has_pooler = getattr(model, "pooler", False) and model.head is None
  return has_pooler and not any("pooler." in name for name in names)


def _check_initialized(
  leaves: Mapping[str, Any], unchanged: Iterable[Slot]
) -> None:
  """Checks that leaves that are not loaded are arrays, not only shapes."""
  for slot in unchanged:
    if isinstance(leaves[slot.leaf], jax.ShapeDtypeStruct):
      raise UserError(
        "expected weights for every array of the model",
        f"got none for {slot.leaf}",
        "call model.init, and pass its variables to transfer.load_pretrained",
      )
