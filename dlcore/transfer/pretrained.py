"""Loads published weights into the variables of a model.

`io/sources.py` opens the files, and `model_creation.py` creates the model of a
config.json. `selection.py` selects the family, whose rules (`families/`) map
published names to the model's paths. `weight_loader.py` reads and checks one
array at a time, and `stacked_blocks.py` copies it into a leaf of the variables.
`missing_weights.py` initializes the others.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore import trees
from dlcore.errors import (
  UserError,
  check_choice,
  check_pattern,
)
from dlcore.transfer import (
  argument_checks,
  array_checks,
  config_checks,
  load_errors,
  missing_weights,
  model_creation,
  published_json,
  selection,
  stacked_blocks,
  target_units,
)
from dlcore.transfer.io import sources
from dlcore.transfer.io.sources import Weights
from dlcore.transfer.load_report import Report
from dlcore.transfer.stacked_blocks import Initialize
from dlcore.transfer.weight_loader import WeightLoader
from dlcore.typing import PyTree

logger = logging.getLogger("dlcore")

HEAD_CHOICES = ("published", "reinitialized")
"""Values of `head`."""


def load_pretrained(
  source: str | Path | PyTree,
  model: Any,
  variables: PyTree,
  *,
  family: str = "",
  allow: str = "",
  head: str = "published",
) -> tuple[PyTree, Report]:
  """Returns variables with the initialization replaced by published weights.

  In addition to the variables, this allocates one array at a time. The file is
  memory-mapped. With a `target_normalization` in config.json, see
  `save_pretrained`, the output layer predicts the normalized target.

  Args:
    source: a .safetensors or .npz file, a folder with config.json and
      safetensors (in one file, or in several with an index), a run folder
      (its best checkpoint), `hf:org/name`, or the variables of a model.
    model: the module.
    variables: variables that `model.init` returns, or their shapes
      (`jax.ShapeDtypeStruct`) if the source has all of them.
    family: a key of `FAMILIES`, or "dlcore" for dlcore's own paths. By default
      the family that config.json names, or the one that matches most names.
    allow: regex over the model's paths that may be missing or of another shape,
      and then keep their initialization; over published names that may be
      unused; and over fields such as "model.activation" that may differ from
      config.json. With "model.vocab_size", tokens that the model has in
      addition begin with the mean of the others.
    head: "published" loads the head if its shapes are the model's;
      "reinitialized" keeps its initialization.

  Returns:
    The variables, with the dtypes and devices of the arguments, and the report.

  Raises:
    UserError: the source cannot be read or fails a check, a value is not
      finite, or a missing, unused or reshaped array is not allowed.
  """
  signature = "transfer.load_pretrained(source, model, variables)"
  if isinstance(source, Mapping):
    argument_checks.check_variables(source, signature)
  else:
    argument_checks.check_path("source", source, signature)
  argument_checks.check_model(model, signature)
  argument_checks.check_variables(variables, signature)
  check_pattern("allow", allow)
  check_choice("head", head, HEAD_CHOICES)
  if isinstance(source, Mapping):
    arrays = stacked_blocks.unstack(trees.flatten(source))
    name, weights = "variables", Weights(arrays)
  else:
    name, weights = str(source), sources.open_weights(source)
  return _load(
    weights,
    name,
    model,
    variables,
    family=family,
    allow=allow,
    head=head,
    initialize=missing_weights.require_variables,
  )


def published_model(folder: str | Path, **fields: Any) -> tuple[Any, Any]:
  """Returns the model of a folder's config.json, and an example of its inputs.

  Args:
    folder: a folder with config.json and safetensors, or `hf:org/name`.
    **fields: see `from_pretrained`.

  Raises:
    UserError: the folder cannot be read, or belongs to no known family.
  """
  signature = "transfer.published_model(folder)"
  argument_checks.check_path("folder", folder, signature)
  weights = sources.open_weights(folder)
  family = selection.required_family(weights.config, folder)
  model, inputs, _ = model_creation.create(family, weights, folder, fields)
  return model, inputs


def from_pretrained(
  folder: str | Path, *, allow: str = "", seed: int = 0, **fields: Any
) -> tuple[Any, PyTree]:
  """Creates the model of a folder's config.json and loads its weights.

  With `num_classes` or `head`, the model has a new output layer for
  fine-tuning, which is initialized at random, like layers before it that the
  weights lack, such as a pooler. A published layer of the same shape is loaded.

    model, variables = transfer.from_pretrained(folder, num_classes=3)
    task = tasks.classification(model, input="input_ids")  # of images: "image"
    initial = transfer.initial(variables)
    result = training.fit(task, tx, train, steps=steps, initial=initial)

  The logger "dlcore" reports each array as in `Report`: all of them at level
  INFO, and those that were initialized at random at level WARNING.

  Args:
    folder: a folder with config.json and safetensors, or `hf:org/name`.
    allow: see `load_pretrained`. Paths that may be missing are initialized at
      random.
    seed: of the random initialization.
    **fields: fields of the model to change, such as `dtype`. `num_classes`
      alone implies `head="classifier"` if the published model has no classes.
      `image_size` resizes the position table of a ViT, and `vocab_size` adds
      tokens, which begin with the mean of the others.

  Returns:
    `(model, variables)`. The model has the head of the `architectures` in
    config.json. `save_pretrained` writes the other entries of config.json
    again with this model, but not with a clone of it, which needs
    `published=transfer.read_published(folder)`.

  Raises:
    UserError: the folder cannot be read, belongs to no known family, or lacks
      an array of the model.
  """
  argument_checks.check_path(
    "folder", folder, "transfer.from_pretrained(folder)"
  )
  check_pattern("allow", allow)
  argument_checks.check_integer("seed", seed)
  weights = sources.open_weights(folder)
  family = selection.required_family(weights.config, folder)
  model, inputs, shapes = model_creation.create(family, weights, folder, fields)
  initializer = missing_weights.Initializer(
    model,
    inputs,
    seed,
    stacked_blocks.slices(trees.flatten(shapes)),
    allow=allow,
    allow_all=bool({"head", "num_classes"} & fields.keys()),
  )
  changed = [rf"^model\.{name}$" for name in fields]
  variables, report = _load(
    weights,
    str(folder),
    model,
    shapes,
    allow="|".join(filter(None, [allow, *changed])),
    initialize=initializer,
  )
  if report.reshaped and not {"image_size", "vocab_size"} & fields.keys():
    changes = [f"{path} {note}" for path, note in report.reshaped.items()]
    raise UserError(
      f"expected a config.json in {folder} that matches the weights",
      f"got {len(changes)} of other shapes: {load_errors.listed(changes)}",
      selection.CREATE,
    )
  _log(report, seed)
  published_json.remember(model, report.published)
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
  argument_checks.check_path(
    "source", source, "transfer.read_published(source)"
  )
  return sources.open_weights(source).published


def _load(
  weights: Weights,
  source: str,
  model: Any,
  variables: PyTree,
  *,
  family: str = "",
  allow: str,
  head: str = "published",
  initialize: Initialize,
) -> tuple[PyTree, Report]:
  """Returns variables with published weights, and the report.

  Args:
    weights: the opened source.
    source: where the weights come from, for the report.
    model, variables, family, allow, head: see `load_pretrained`.
    initialize: initial values of arrays of which `variables` has only shapes.
  """
  config_checks.check_not_quantized(weights.config or {})
  leaves = trees.flatten(variables)
  slices = stacked_blocks.slices(leaves)
  names = list(weights.arrays)
  if family:
    selected = selection.by_name(family, model, slices)
  else:
    selected = selection.infer(weights.config, names, model, slices)
  loader = WeightLoader(source, selected, slices, names, allow)
  loader.check_names()
  differing: dict[str, str] = {}
  if weights.config:
    differing = config_checks.differences(
      weights.config, selected.family, model, allow
    )
  if head == "reinitialized":
    loader.skip_head()
  else:
    loader.skip_mismatched_head(weights.arrays)
  builder = stacked_blocks.LeafBuilder(leaves)
  units = target_units.read(weights.config)
  for path, name, published in loader.read(weights.arrays, leaves):
    array = units.from_units(path, published) if units else published
    array_checks.check_finite(name, builder.fill(slices[path], array))
    builder.close(slices[path])
  loader.check_duplicates(weights.arrays)
  initial = [*loader.reinitialized, *loader.missing]
  builder.keep_initial({path: slices[path] for path in initial}, initialize)
  report = loader.report(weights.published, differing)
  return trees.restore(variables, builder.leaves), report


def _log(report: Report, seed: int) -> None:
  """Logs a report, and a warning about arrays that are not published."""
  for line in str(report).splitlines():
    logger.info("%s", line)
  initial = [*report.reinitialized, *report.missing]
  if initial:
    names = load_errors.listed(initial)
    logger.warning("initialized at random with seed %s: %s", seed, names)
