"""Writes the folder of an encoder of texts as sentence-transformers does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.errors import UserError
from dlcore.transfer import saving
from dlcore.transfer.io import files, safetensors, sources
from dlcore.transfer.published_json import PublishedJson
from dlcore.transfer.sentence_modules import (
  BIAS,
  IDENTITY,
  MODES,
  MODULES,
  SETTINGS,
  WEIGHT,
)
from dlcore.transfer.tokenizer_export import save_tokenizer, takes_token_types
from dlcore.typing import PyTree

POOLING = "1_Pooling"
HEAD = "head"


def base_encoder(model: Any) -> Any | None:
  """Returns the module of the tokens of an encoder of texts.

  Returns:
    A model without a head; None for other models, and for those with a pooler,
    which sentence-transformers has no module for.
  """
  heads = ("classifier", "embedding")
  if getattr(model, "head", None) not in heads:
    return None
  if not getattr(model, "poolings", ()):
    return None
  return model.clone(head=None, pooler=False, poolings=(), normalize=False)


def save_sentence_encoder(
  folder: str | Path,
  model: Any,
  variables: PyTree,
  tokenizer: LibraryTokenizer,
  *,
  max_length: int,
  published: PublishedJson | None = None,
) -> str:
  """Writes weights, tokenizer, pooling and normalization.

  The output layer of a classifier is a last module, and `encode` of
  sentence-transformers returns its logits. Its inputs are in the order in which
  that library joins the poolings.

  Args:
    folder: created if it does not exist.
    model: a BERT with poolings, see `base_encoder`.
    variables: of the model.
    tokenizer: of the texts.
    max_length: largest number of tokens of a text.
    published: the JSON files that came with the weights.

  Returns:
    The name of the family of the weights.

  Raises:
    UserError: the library joins the poolings of an embedding in another order;
      see also `save_pretrained`.
  """
  path, base = Path(folder), base_encoder(model)
  assert base is not None
  params = dict(variables["params"])
  output_layer = params.pop(HEAD, None)
  _check_poolings(model.poolings, any_order=output_layer is not None)
  kinds = ["Transformer", "Pooling", *["Normalize"] * model.normalize]
  kinds += ["Dense"] * (output_layer is not None)
  places = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds[1:], 1))]
  contents: dict[str, Any] = {
    MODULES: [
      {
        "idx": i,
        "name": str(i),
        "path": place,
        "type": f"sentence_transformers.models.{kind}",
      }
      for i, (kind, place) in enumerate(zip(kinds, places, strict=True))
    ],
    f"{POOLING}/{sources.CONFIG}": {
      "word_embedding_dimension": model.width,
      **{mode: pooling in model.poolings for mode, pooling in MODES.items()},
    },
    SETTINGS[0]: {"max_seq_length": max_length, "do_lower_case": False},
  }
  family = saving.save_pretrained(
    path, base, {**variables, "params": params}, published=published
  )
  save_tokenizer(
    path, tokenizer, max_length, token_types=takes_token_types(model)
  )
  if output_layer is not None:
    rows = _joined_rows(model.poolings, model.width)
    contents |= _write_output_layer(path, places[-1], output_layer, rows)
  for name, content in contents.items():
    files.write(path / name, saving.encoded(name, content))
  return family


def _check_poolings(poolings: Sequence[str], *, any_order: bool) -> None:
  """Checks that sentence-transformers can join the poolings of a model.

  Args:
    poolings: of the model.
    any_order: whether an output layer can have another order of inputs.

  Raises:
    UserError: it joins them in another order, or one occurs twice.
  """
  joined, poolings = _joined(poolings), tuple(poolings)
  if len(joined) != len(poolings) or not (any_order or joined == poolings):
    raise UserError(
      f"expected poolings as sentence-transformers joins them, {joined}",
      f"got {poolings}",
      "choose family='dlcore', or train with these poolings",
    )


def _joined(poolings: Sequence[str]) -> tuple[str, ...]:
  """Returns poolings in the order in which the library joins their outputs."""
  return tuple(name for name in MODES.values() if name in poolings)


def _joined_rows(poolings: Sequence[str], width: int) -> np.ndarray:
  """Returns the row of the model's kernel for each input of the library."""
  starts = [poolings.index(name) * width for name in _joined(poolings)]
  return np.concatenate([start + np.arange(width) for start in starts])


def _write_output_layer(
  folder: Path, place: str, layer: Mapping[str, Any], rows: np.ndarray
) -> dict[str, Any]:
  """Writes the weights of a Dense module, and returns its config.json.

  Args:
    folder: of the modules.
    place: path of the module in the folder.
    layer: kernel and bias.
    rows: rows of the kernel in the order of the module's inputs.
  """
  kernel, bias = np.asarray(layer["kernel"])[rows], np.asarray(layer["bias"])
  arrays = {WEIGHT: kernel.T, BIAS: bias}
  safetensors.write(folder / place / sources.SINGLE, arrays)
  config = {
    "in_features": kernel.shape[0],
    "out_features": kernel.shape[1],
    "bias": True,
    "activation_function": IDENTITY,
  }
  return {f"{place}/{sources.CONFIG}": config}
