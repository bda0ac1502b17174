"""Keeps the entries of JSON files that came with weights.

A config.json also has end-of-sequence ids, class names and entries that dlcore
does not read. They are written again with the weights, unless they contradict
the model.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.transfer.config_checks import INVALID
from dlcore.transfer.families import Family
from dlcore.transfer.io import sources

PublishedJson = Mapping[str, Mapping[str, Any]]
"""Content of config.json and generation_config.json by file name."""

FROM_MODEL = ("architectures", "model_type")
"""Entries that describe the arrays that are written."""

LABELS = (
  "id2label",
  "label2id",
  "label_descriptions",
  "label_names",
  "num_labels",
)
"""Entries that describe the classes of the head."""

TASK = (
  "problem_type",
  "target_normalization",
  "target_offset",
  "target_transform",
)
"""Entries that describe the task of the head and the units of its outputs."""

DTYPES = ("dtype", "torch_dtype")
"""Entries with the dtype of the arrays."""

ATTRIBUTE = "_published_json"


def remember(model: Any, published: PublishedJson) -> None:
  """Stores the files that came with the weights of a module.

  The attribute belongs to this object: a clone of it does not have it.
  """
  object.__setattr__(model, ATTRIBUTE, published)


def remembered(model: Any) -> PublishedJson:
  """Returns the files that `remember` stored, or `{}`."""
  return getattr(model, ATTRIBUTE, {})


def without_labels(published: PublishedJson) -> PublishedJson:
  """Returns the files without class names, for weights with a new head."""
  return {
    file: {key: value for key, value in entries.items() if key not in LABELS}
    for file, entries in published.items()
  }


def without_task(published: PublishedJson) -> PublishedJson:
  """Returns the files without the task of the weights, for another task."""
  return {
    file: {key: value for key, value in entries.items() if key not in TASK}
    for file, entries in published.items()
  }


def merge(
  entries: Mapping[str, Any], published: PublishedJson, family: Family
) -> dict[str, Any]:
  """Adds published entries of config.json to those that describe a model.

  A published entry is kept, and replaces the one of the model, if both describe
  the same model: `{"activation": "gelu_python"}` and `"gelu"`.

  Args:
    entries: `Family.describe` of the model.
    published: the files that came with the weights.
    family: the family of `entries`.
  """
  config = published.get(sources.CONFIG, {})
  described = _describe(family, entries)
  kept = {
    key: value
    for key, value in config.items()
    if described is not None
    and key not in FROM_MODEL
    and _describe(family, {**entries, key: value}) == described
  }
  if config.get("num_classes") != entries.get("num_classes"):  # Of timm.
    kept = {k: x for k, x in kept.items() if k not in (*LABELS, *TASK)}
  if "id2label" in config and "id2label" not in kept:  # Of another head.
    kept = {k: x for k, x in kept.items() if k not in TASK}
  if "id2label" in entries:
    kept = _with_inverse_labels(kept)
  return {**entries, **kept}


def _with_inverse_labels(kept: Mapping[str, Any]) -> dict[str, Any]:
  """Returns entries whose labels by id and ids by label belong together."""
  others = {key: value for key, value in kept.items() if key not in LABELS}
  try:
    labels = {int(i): str(label) for i, label in kept["id2label"].items()}
  except INVALID:
    return others
  ids = {label: i for i, label in labels.items()}
  return {**others, "id2label": kept["id2label"], "label2id": ids}


def _describe(family: Family, config: Mapping[str, Any]) -> Any:
  """Returns the description of the model of a config.json, None if invalid."""
  try:
    return family.describe(family.build(config))
  except (UserError, *INVALID):
    return None


def merge_own(model: Any, published: PublishedJson, family: Family) -> dict:
  """Returns the published config.json of dlcore's own family for a model.

  Fields in which the model differs from the published one replace its fields.
  """
  config = published.get(sources.CONFIG, {})
  try:
    built = family.build(config)
  except (UserError, *INVALID):
    return dict(config)
  if type(built) is not type(model):
    return {}
  changed = {
    field.name: value
    for field in dataclasses.fields(model)
    if _is_json(value := getattr(model, field.name))
    and value != getattr(built, field.name)
  }
  return {**config, "model": {**config["model"], **changed}}


def _is_json(value: Any) -> bool:
  if isinstance(value, tuple):
    return all(map(_is_json, value))
  return value is None or isinstance(value, bool | int | float | str)


def with_dtype(
  entries: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Returns entries whose dtype, if they have one, is that of the arrays."""
  floats = {a.dtype.name for a in arrays.values() if "float" in a.dtype.name}
  name = floats.pop() if len(floats) == 1 else None
  return {
    key: name if key in DTYPES else value for key, value in entries.items()
  }
