"""The files of a sentence-transformers folder: pooling and normalization.

modules.json lists a Transformer, a Pooling and, in some folders, a Normalize
module. The folder of a classifier has a Dense module at the end. A plain folder
of transformers has none of these files; its embedding is the mean of the
tokens, as in sentence-transformers.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from dlcore.errors import UserError
from dlcore.filesystem import parse_json, quoted
from dlcore.layers import POOLINGS
from dlcore.transfer import array_checks
from dlcore.transfer.io import files, safetensors, sources

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
SETTINGS = ("sentence_bert_config.json", "sentence_distilbert_config.json")

MODES = {
  "pooling_mode_cls_token": "cls",
  "pooling_mode_max_tokens": "max",
  "pooling_mode_mean_tokens": "mean",
  "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
}
"""Poolings by the entry of the module's config.json, in the order in which
sentence-transformers joins their outputs."""

WEIGHT, BIAS = "linear.weight", "linear.bias"
"""Names of the arrays of a Dense module."""

IDENTITY = "torch.nn.modules.linear.Identity"
"""The activation of a Dense module that returns logits."""

KINDS = {"Transformer": "T", "Pooling": "P", "Normalize": "N", "Dense": "D"}
SUPPORTED = ("TP", "TPN", "TPD", "TPND")
"""Sequences of modules that dlcore has, by their letters in `KINDS`."""

REMEDY = "compute these embeddings with sentence-transformers itself"


class SentenceModules(NamedTuple):
  """The steps from the tokens of a BERT to the embedding of a text."""

  folder: Path
  """That of config.json and the weights of the Transformer."""

  poolings: tuple[str, ...] = ("mean",)
  """Keys of `POOLINGS`, whose outputs are joined."""

  normalize: bool = False
  """Whether embeddings have the norm 1."""

  max_length: int = 0
  """Largest number of tokens; 0 if no file has it."""

  lowercase: bool = False

  output_layer: Path | None = None
  """Folder of the module of the logits of a classifier, see
  `read_output_layer`."""

  has_files: bool = False
  """Whether the folder has a modules.json."""


def sentence_modules(source: str | Path) -> SentenceModules:
  """Returns pooling and normalization of a published folder.

  Args:
    source: a folder, or `hf:ORG/NAME`.

  Raises:
    UserError: see `read_sentence_modules`.
  """
  folder, link_root = sources.locate(source)
  return read_sentence_modules(Path(folder), link_root)


def read_sentence_modules(
  folder: Path, link_root: Path | None = None
) -> SentenceModules:
  """Reads modules.json and the files that it names.

  Args:
    folder: the published folder.
    link_root: see `files.open_plain`.

  Raises:
    UserError: a file is malformed, or names a module or a pooling that dlcore
      lacks.
  """
  path = folder / MODULES
  if not os.path.lexists(path):
    return SentenceModules(folder)
  parse = partial(parse_json, expect=list, strict=True)
  entries = files.parse_file(path, parse, "a JSON list", link_root)
  _check_prompts(folder, link_root)
  kinds = "".join(_kind(entry, path) for entry in entries)
  if kinds not in SUPPORTED:
    names = [str(e.get("type")).rpartition(".")[2] for e in entries]
    raise UserError(
      "expected the modules Transformer, Pooling, Normalize and Dense in "
      f"{path}",
      f"got {quoted(', '.join(names))}",
      REMEDY,
    )
  paths = [_inside(folder, entry, path) for entry in entries]
  settings = _transformer_settings(paths[0], link_root)
  pooling = paths[1] / sources.CONFIG
  return SentenceModules(
    paths[0],
    _poolings(files.read_json(pooling, link_root), pooling),
    "N" in kinds,
    output_layer=paths[-1] if kinds.endswith("D") else None,
    has_files=True,
    **settings,
  )


def _kind(entry: Any, path: Path) -> str:
  """Returns the letter of a module in `KINDS`, "?" for others."""
  if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
    raise UserError(
      f"expected modules with a type in {path}",
      f"got {quoted(entry)}",
      "download the folder again",
    )
  return KINDS.get(entry["type"].rpartition(".")[2], "?")


def _inside(folder: Path, entry: Mapping[str, Any], path: Path) -> Path:
  """Returns the folder of a module, which is inside of the published one."""
  name = entry.get("path", "")
  parts = PurePosixPath(name).parts if isinstance(name, str) else ("..",)
  if ".." in parts or "\\" in name or PurePosixPath(name).is_absolute():
    raise UserError(
      f"expected the path of a folder in {folder} for each module in {path}",
      f"got {quoted(name)}",
      "download the folder again",
    )
  return folder.joinpath(*parts)


def _poolings(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
  """Returns the poolings of a config.json.

  Raises:
    UserError: there is none, or one that dlcore lacks.
  """
  active = [
    name
    for name, value in config.items()
    if name.startswith("pooling_mode") and value not in (False, None)
  ]
  unknown = [n for n in active if n not in MODES or config[n] is not True]
  if unknown or not active:
    entries = [f"{name}={config[name]!r}" for name in unknown]
    raise UserError(
      f"expected one or more of {', '.join(MODES)} to be true in {path}",
      f"got {quoted(', '.join(entries)) if entries else 'none'}",
      REMEDY,
    )
  poolings = tuple(pooling for name, pooling in MODES.items() if name in active)
  assert set(poolings) <= set(POOLINGS)
  return poolings


def read_output_layer(
  folder: Path, size: int, link_root: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Reads the Dense module of a classifier.

  Args:
    folder: of the module.
    size: D, the size of its inputs.
    link_root: see `files.open_plain`.

  Returns:
    The kernel `[D, C]` and the bias `[C]`, float32.

  Raises:
    UserError: a file is missing or malformed, or the module has an activation.
  """
  config = files.read_json(folder / sources.CONFIG, link_root)
  activation = config.get("activation_function")
  if activation != IDENTITY or not config.get("bias", True):
    raise UserError(
      f"expected a Dense module with a bias and the activation {IDENTITY} in "
      f"{folder}",
      f"got {quoted(activation)} and bias={quoted(config.get('bias', True))}",
      REMEDY,
    )
  path = folder / sources.SINGLE
  arrays = safetensors.File(path, link_root)
  shapes = {name: array.shape for name, array in arrays.items()}
  classes = shapes.get(BIAS, ())
  if shapes != {WEIGHT: (*classes, size), BIAS: classes} or len(classes) != 1:
    raise UserError(
      f"expected {WEIGHT} of the shape [C, {size}] and {BIAS} of [C] in {path}",
      f"got {quoted(shapes)}",
      "download the folder again",
    )
  for name, array in arrays.items():
    array_checks.check_dtype(name, array.dtype, np.dtype(np.float32))
    array_checks.check_finite(name, array)
  kernel, bias = np.asarray(arrays[WEIGHT]).T, np.asarray(arrays[BIAS])
  return kernel.astype(np.float32), bias.astype(np.float32)


def _transformer_settings(
  folder: Path, link_root: Path | None
) -> dict[str, Any]:
  """Returns `max_length` and `lowercase` of the Transformer module."""
  names = [name for name in SETTINGS if os.path.lexists(folder / name)]
  if not names:
    return {}
  path = folder / names[0]
  settings = files.read_json(path, link_root)
  length = settings.get("max_seq_length")
  lowercase = settings.get("do_lower_case") or False
  is_length = length is None or (type(length) is int and length >= 1)
  if not is_length or not isinstance(lowercase, bool):
    raise UserError(
      f"expected max_seq_length of at least 1, and do_lower_case true or "
      f"false, in {path}",
      f"got {quoted(length)} and {quoted(lowercase)}",
      "correct the file, or download it again",
    )
  return {"max_length": length or 0, "lowercase": lowercase}


def _check_prompts(folder: Path, link_root: Path | None) -> None:
  """Raises if a text before every input is part of the model.

  Raises:
    UserError: config_sentence_transformers.json has a default prompt.
  """
  settings = sources.read_settings(folder, PROMPTS, link_root) or {}
  name = settings.get("default_prompt_name")
  if name is not None:
    raise UserError(
      f"expected no default_prompt_name in {folder / PROMPTS}",
      f"got {quoted(name)}",
      "set it to null, and write the prompt before each of your texts",
    )
