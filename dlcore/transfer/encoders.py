"""Published models as encoders of images or texts: one vector for each.

The features of an image are the input of the model's output layer, those of a
text pooled tokens, see `sentence_modules`.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.info import TOKENS, Inputs, Schema
from dlcore.data.text.library_tokenizer import LibraryTokenizer, read_tokenizer
from dlcore.data.text.text_encoding import MASK
from dlcore.data.text.text_schema import TextSchema
from dlcore.errors import UserError
from dlcore.layers import pool_tokens, recorded_head_input
from dlcore.models import Bert
from dlcore.transfer import argument_checks, pretrained, selection
from dlcore.transfer.image_preprocessing import (
  PREPROCESSOR,
  ImagePreprocessing,
  read_preprocessing,
)
from dlcore.transfer.io import sources
from dlcore.transfer.sentence_modules import (
  MODULES,
  SentenceModules,
  read_output_layer,
  read_sentence_modules,
)
from dlcore.typing import Array, PyTree

LEAST_LENGTH = 32
"""Tokens of the shortest batch; longer batches have twice as many, and so on,
which bounds the number of programs."""

KINDS = "expected a BERT, a DistilBERT or a model of images"
REMEDY = "choose another folder, or train a run and pass it as workdir"

logger = logging.getLogger("dlcore")


class Encoder(NamedTuple):
  """A model that maps each example to a vector."""

  apply: Callable[[PyTree, dict[str, Array]], Array]
  """`(variables, batch) -> features [B, D]`; the batch has `inputs`."""

  variables: PyTree
  schema: Schema
  """It reads files, and texts, in the form that the model takes."""

  inputs: Inputs
  """See `data.DataInfo`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedImages(ImageSchema):
  """Schema of images that are read as a published model requires."""

  preprocessing: ImagePreprocessing | None = None

  def decode(self, file: Path, shape: Sequence[int]) -> np.ndarray:
    """Decodes an image to uint8 `[Y, X, C]`."""
    assert self.preprocessing is not None
    return self.preprocessing.decode(file, shape[-1])


def load_encoder(source: str | Path) -> Encoder:
  """Loads the encoder of a published folder.

  Args:
    source: a folder with config.json and safetensors, or `hf:ORG/NAME`: a BERT
      or DistilBERT with its tokenizer.json, also in the form of
      sentence-transformers, or a model of images. Of a classifier in this form
      the features are the logits, as `encode` of that library returns them.

  Raises:
    UserError: a file is missing or malformed, or the model is another one.
  """
  argument_checks.check_path("source", source, "transfer.load_encoder(source)")
  folder, link_root = sources.locate(source)
  if not os.path.isdir(folder):
    raise sources.not_found(
      source, f"expected a published folder with {sources.CONFIG}"
    )
  if os.path.isdir(folder / "checkpoints"):
    raise UserError(
      f"expected a published folder with {sources.CONFIG} and weights",
      f"got the run {folder}",
      "pass a run as workdir",
    )
  modules = read_sentence_modules(folder, link_root)
  config = sources.read_settings(modules.folder, sources.CONFIG, link_root)
  family = selection.required_family(config, modules.folder)
  inputs = family.inputs(config or {})
  if len(inputs) == 1 and issubclass(family.model, Bert):
    return _text_encoder(modules, link_root)
  if len(inputs) == 1 and inputs[0].ndim == 4 and not modules.has_files:
    return _image_encoder(folder, config or {}, inputs[0].shape[1:], link_root)
  model = selection.config_family(config)
  raise UserError(f"{KINDS} in {folder}", f"got {model!r}", REMEDY)


def _text_encoder(modules: SentenceModules, link_root: Path | None) -> Encoder:
  folder = modules.folder
  tokenizer: Any = read_tokenizer(folder)
  if modules.lowercase:
    tokenizer = _lowercased(tokenizer)
  model, variables = pretrained.from_pretrained(folder, head=None)
  if not modules.has_files:
    logger.warning("without %s, a text is the mean of its tokens", MODULES)
  if tokenizer.vocab_size > model.vocab_size:
    raise UserError(
      f"expected a tokenizer of at most {model.vocab_size:,} ids in {folder}",
      f"got {tokenizer.vocab_size:,}",
      "put the tokenizer.json of this model there",
    )
  limit = min(modules.max_length or model.max_length, model.max_length)
  frame = tokenizer.frame(pair=False).size
  if limit <= frame:
    raise UserError(
      f"expected max_seq_length above {frame}, with room for a text",
      f"got {limit} in {folder}",
      "correct sentence_bert_config.json",
    )
  schema = TextSchema(
    tokenizer=tokenizer,
    max_length=min(LEAST_LENGTH, limit),
    prediction_length=limit,
    vocab_size=model.vocab_size,
  )

  layer = None
  if modules.output_layer:
    size = model.width * len(modules.poolings)
    layer = read_output_layer(modules.output_layer, size, link_root)

  def apply(variables: PyTree, batch: dict[str, Array]) -> Array:
    output = model.apply(
      variables, batch[TOKENS], attention_mask=batch[MASK], train=False
    )
    tokens = output[0] if model.pooler else output
    pooled = pool_tokens(
      tokens, batch[MASK], modules.poolings, normalize=modules.normalize
    )
    return pooled if layer is None else pooled @ layer[0] + layer[1]

  shape = (schema.max_length,)
  inputs = {TOKENS: (shape, "int32"), MASK: (shape, "uint8")}
  return Encoder(apply, variables, schema, inputs)


def _lowercased(tokenizer: LibraryTokenizer) -> LibraryTokenizer:
  """Returns a tokenizer that converts texts to lower case first."""
  from tokenizers import normalizers

  inner = tokenizer.inner
  steps = [normalizers.Lowercase()]
  if inner.normalizer is not None:
    steps.append(inner.normalizer)
  inner.normalizer = normalizers.Sequence(steps)
  return LibraryTokenizer.of(inner, tokenizer.padding, tokenizer.named)


def _image_encoder(
  folder: Path,
  config: dict[str, Any],
  shape: Sequence[int],
  link_root: Path | None,
) -> Encoder:
  """Returns the encoder of images of a shape `(Y, X, C)` by default."""
  rows, columns, channels = shape
  preprocessing, is_published = read_preprocessing(
    folder, config, (rows, columns), link_root
  )
  if not is_published:
    logger.warning(
      "without %s, images are cropped to %d x %d and normalized as ImageNet's",
      PREPROCESSOR,
      *preprocessing.size,
    )
  model, variables = pretrained.from_pretrained(folder)
  mean, std = (
    np.asarray(values, np.float32)
    for values in (preprocessing.mean, preprocessing.std)
  )
  if channels == 1:
    mean, std = mean[:1], std[:1]

  def apply(variables: PyTree, batch: dict[str, Array]) -> Array:
    images = (batch["image"].astype(np.float32) / 255 - mean) / std
    with recorded_head_input() as recorded:
      output = model.apply(variables, images, train=False)
    return recorded.value if model.head else _pooled(model, output)

  schema = PublishedImages(preprocessing=preprocessing)
  inputs = {"image": ((*preprocessing.size, channels), "uint8")}
  return Encoder(apply, variables, schema, inputs)


def _pooled(model: Any, output: Any) -> Array:
  """Returns the features `[B, D]` that a head would take, of its model.

  Args:
    model: without a head.
    output: `(features, pooled)`, or tokens `[B, T, D]`. The pooled output of a
      ViT has a layer more than the input of its head.
  """
  features, pooled = output if isinstance(output, tuple) else (output, output)
  if features.ndim != 3:
    return pooled
  pool = getattr(model, "pool", "mean")
  return features[:, 0] if pool == "class" else features.mean(1)
