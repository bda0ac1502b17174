"""Settings that follow from the weights with which a run begins.

Model, size of the images, tokenizer and length of the texts are those of the
source, for the `plan` of a config; the normalization of images is taken in any
run.
"""

import functools
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore import data, models, transfer
from dlcore.errors import UserError
from dlcore.experiment import defaults
from dlcore.experiment.folder import CONFIG, RunFolder
from dlcore.experiment.planning import training_source
from dlcore.experiment.source_checks import (
  IMAGES,
  TEXTS,
  check_language_model,
  check_published,
  check_run,
)
from dlcore.transfer.image_preprocessing import read_preprocessing
from dlcore.transfer.io import sources

LENGTH = 256
"""Tokens of a text for models that take more."""

EMBEDDING, CLASSIFIER = "embedding", "classifier"

BILINEAR = "bilinear"
"""The filter that resizes images of weights without a preprocessor."""

LANGUAGE_MODELS = ("lm",)
"""Values of the field `head` of models that predict the next token."""

logger = logging.getLogger("dlcore")


def image_settings(source: str) -> dict[str, Any]:
  """Returns model and image size for weights of an image model, by path.

  Args:
    source: the setting `init.source`, a run or a published folder.

  Raises:
    UserError: it is neither, or not an image model.
  """
  if run := _run(source):
    settings = _as_leaves("model", run.config()["model"])
    info = run.info()
    check_run(run, source, IMAGES)
    shape, _ = info.inputs["image"]
    interpolation = getattr(info.schema, "interpolation", BILINEAR)
  else:
    model, examples = transfer.published_model(source, head="classifier")
    check_published(model, examples, source, IMAGES)
    settings = _as_leaves("model", model_section(model))
    interpolation = BILINEAR
    shape = examples[0].shape[1:]
    if preprocessing := _read_preprocessing(source, shape[:2]):
      shape = (*preprocessing.size, shape[2])
      interpolation = preprocessing.interpolation
  if "model.image_size" in settings:  # Of the position table, which follows.
    del settings["model.image_size"]
  return {
    **settings,
    "data.image_size": shape[0],
    "data.channels": shape[2],
    "data.interpolation": interpolation,
  }


def text_settings(source: str, head: str) -> dict[str, Any]:
  """Returns model, tokenizer and length for weights of a text model, by path.

  Args:
    source: the setting `init.source`, a run or a published folder.
    head: of the model: "classifier", "embedding" or "lm". Pooling and
      normalization of embeddings are those of the files of
      sentence-transformers, by default the mean of the tokens.

  Raises:
    UserError: it is neither, or has another head.
  """
  if run := _run(source):
    check_run(run, source, TEXTS)
    section = dict(run.config()["model"])
    if head == EMBEDDING and "poolings" not in section:
      raise _no_encoder(source, section["name"])
    if head in LANGUAGE_MODELS:
      check_language_model(run, source, head)
    if "head" in section:
      section["head"] = head
    if head == EMBEDDING and not section["poolings"]:
      section["poolings"] = ("mean",)
    return {**_as_leaves("model", section), **_run_texts(run, source, head)}
  published = None if head == EMBEDDING else head
  try:
    model, examples = transfer.published_model(source, head=published)
  except UserError as error:
    if not error.lines[0].startswith("expected head="):
      raise
    model, examples = transfer.published_model(source)
    check_published(model, examples, source, TEXTS)
    raise UserError(
      f"expected weights of a model with the head {head!r} in init.source",
      f"got {type(model).__name__} in {source!r}, which has other ones",
      "use configs/transfer_text.py" if head in LANGUAGE_MODELS else "",
    ) from error
  check_published(model, examples, source, TEXTS)
  settings = _as_leaves("model", model_section(model))
  limit = settings.get("model.max_length", LENGTH)
  if head != EMBEDDING:
    settings |= _pooling(source, model) if head == CLASSIFIER else {}
  elif not isinstance(model, models.Bert):
    raise _no_encoder(source, type(model).__name__)
  else:
    modules = transfer.sentence_modules(source)
    _check_case(modules)
    if modules.output_layer:
      raise UserError(
        "expected an encoder in init.source, whose last module is Pooling or "
        "Normalize",
        f"got a classifier with a Dense module in {source!r}",
        "use configs/transfer_text.py, or choose another folder",
      )
    limit = min(limit, modules.max_length or limit)
    settings |= {
      "model.head": EMBEDDING,
      "model.pooler": False,
      "model.poolings": modules.poolings,
      "model.normalize": modules.normalize,
    }
  return {
    **settings,
    "data.tokenizer": source,
    "data.max_length": min(limit, LENGTH),
  }


def _run_texts(run: RunFolder, source: str, head: str) -> dict[str, Any]:
  """Returns tokenizer and length of the texts of a run, by path."""
  schema, config = run.info().schema, run.config()
  result = {}
  if getattr(schema, "tokenizer", None) is not None:
    result["data.tokenizer"] = source
  if isinstance(schema, data.CorpusSchema) and head not in LANGUAGE_MODELS:
    # Pieces of running text are shorter than texts with a class may be.
    limit = config["model"].get("max_length", LENGTH)
    result["data.max_length"] = min(limit, LENGTH)
  elif "max_length" in config["data"]:
    result["data.max_length"] = config["data"]["max_length"]
  return result


def _pooling(source: str, model: Any) -> dict[str, Any]:
  """Returns the pooling of a classifier of a sentence-transformers folder."""
  if not isinstance(model, models.Bert):
    return {}
  modules = transfer.sentence_modules(source)
  if not modules.has_files:
    return {}
  return {
    "model.poolings": modules.poolings,
    "model.normalize": modules.normalize,
  }


def _no_encoder(source: str, got: str) -> UserError:
  return UserError(
    "expected weights of a BERT or DistilBERT in init.source, whose tokens are "
    "pooled to an embedding",
    f"got {got} in {source!r}",
    "choose another folder or run",
  )


def _check_case(modules: transfer.SentenceModules) -> None:
  """Checks that texts are not changed before the tokenizer.

  Raises:
    UserError: they become lower case.
  """
  if modules.lowercase:
    raise UserError(
      f"expected a tokenizer with its own lower case in {modules.folder}",
      "got do_lower_case=true in sentence_bert_config.json",
      "set it to false, and add a Lowercase normalizer to tokenizer.json",
    )


def follow_source(
  config: Mapping[str, Any],
  read: Callable[[str], Mapping[str, Any]],
  otherwise: str,
) -> tuple[dict[str, Any], data.Source | None]:
  """Returns the settings of a config that follow from its weights.

  Args:
    config: the complete config. Values of its data that are not the defaults
      are kept.
    read: `source -> settings by path`, such as `image_settings`.
    otherwise: the config file for runs without weights, for the message.

  Returns:
    The settings by path, and the training data with them; None if it cannot be
    loaded, which the run reports.

  Raises:
    UserError: `init.source` is empty, or `read` raises it.
  """
  source = config["init"]["source"]
  if not source:
    raise UserError(
      "expected --config.init.source, the weights to begin with",
      "got none",
      f"{otherwise} trains without weights",
    )
  section = dict(config["data"])
  default = defaults.settings("data", section["name"])
  leaves = {}
  for path, value in read(source).items():
    parent, _, name = path.rpartition(".")
    if parent == "data":
      if name not in default or section[name] != default[name]:
        continue
      section[name] = value
    leaves[path] = value
  return leaves, training_source({**config, "data": section})


def model_section(model: Any) -> dict[str, Any]:
  """Returns name and settings of the row of `models.MODELS` that is `model`.

  Raises:
    UserError: no row has the class of the model.
  """
  for name, row in models.MODELS.items():
    while isinstance(row, functools.partial):
      row = row.func
    if row is type(model):
      fields = defaults.settings("model", name)
      return {"name": name, **{key: getattr(model, key) for key in fields}}
  raise UserError(
    "expected a model of models.MODELS",
    f"got one of the class {type(model).__name__}",
    "add a row for it in a module of --import",
  )


def follow_normalization(splits: data.Splits, source: str) -> data.Splits:
  """Returns splits whose images are normalized as those of the weights were.

  Args:
    splits: of the data.
    source: the setting `init.source`.

  Raises:
    UserError: the weights had images with another number of channels.
  """
  info = splits.train.info
  if info.schema.input != "image":
    return splits
  if run := _run(source):
    own = run.info().schema
    moments = own.normalization if own.input == "image" else None
  else:
    preprocessing = _read_preprocessing(source, (1, 1))
    moments = preprocessing and {
      "mean": list(preprocessing.mean), "std": list(preprocessing.std)
    }  # fmt: skip
  if not moments or moments == info.schema.normalization:
    return splits
  [*_, channels] = info.inputs["image"][0]
  if len(moments["mean"]) not in (1, channels):
    raise UserError(
      f"expected images of {len(moments['mean'])} channels, as those of the "
      f"weights in {source}",
      f"got images of {channels}",
      "set data.channels",
    )
  logger.info(
    "normalization of the weights: mean %s, standard deviation %s",
    *(_numbers(moments[key]) for key in ("mean", "std")),
  )
  return data.with_schema(splits, normalization=dict(moments))


def follow_run(splits: data.Splits, info: data.DataInfo) -> data.Splits:
  """Returns splits with the settings that a run took from its weights.

  Args:
    splits: of the data.
    info: of the run.
  """
  schema = info.schema
  if splits.train.info.schema.input == "image":
    return data.with_schema(splits, normalization=schema.normalization)
  if splits.train.info.schema.vocab_size:
    return data.with_schema(splits, vocab_size=schema.vocab_size)
  return splits


def _numbers(values: list[float]) -> str:
  return ", ".join(f"{value:.3f}" for value in values)


def _run(source: str) -> RunFolder | None:
  """Returns the folder of a run of a config, None for other sources."""
  path = Path(os.path.expanduser(source))
  if not os.path.isdir(path / "checkpoints"):
    return None
  folder = RunFolder(path)
  is_run = (path / CONFIG).exists() and folder.fit_settings() is None
  return folder if is_run else None


def _read_preprocessing(source: str, size: tuple[int, int]) -> Any:
  """Returns the preprocessing that a published folder defines, or None."""
  path, link_root = sources.locate(source)
  if not os.path.isdir(path):
    return None
  config = transfer.read_published(source).get(sources.CONFIG, {})
  result, defined = read_preprocessing(path, config, size, link_root)
  return result if defined else None


def _as_leaves(path: str, section: Mapping[str, Any]) -> dict[str, Any]:
  return {f"{path}.{key}": value for key, value in section.items()}
