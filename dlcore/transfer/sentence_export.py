"""Writes the folder of an encoder of texts as sentence-transformers does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.transfer import saving
from dlcore.transfer.io import files, safetensors, sources
from dlcore.transfer.published_json import PublishedJson
from dlcore.transfer.sentence_modules import MODES, MODULES, SETTINGS
from dlcore.transfer.tokenizer_export import save_tokenizer
from dlcore.typing import PyTree

POOLING = "1_Pooling"
HEAD = "head"
IDENTITY = "torch.nn.modules.linear.Identity"
"""The activation of a Dense module that returns logits."""


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
  sentence-transformers returns its logits.

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
    UserError: see `save_pretrained`.
  """
  path, base = Path(folder), base_encoder(model)
  assert base is not None
  params = dict(variables["params"])
  output_layer = params.pop(HEAD, None)
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
  save_tokenizer(path, tokenizer, max_length)
  if output_layer is not None:
    contents |= _write_output_layer(path, places[-1], output_layer)
  for name, content in contents.items():
    files.write(path / name, saving.encoded(name, content))
  return family


def _write_output_layer(
  folder: Path, place: str, layer: Mapping[str, Any]
) -> dict[str, Any]:
  """Writes the weights of a Dense module, and returns its config.json."""
  kernel, bias = np.asarray(layer["kernel"]), np.asarray(layer["bias"])
  arrays = {"linear.weight": kernel.T, "linear.bias": bias}
  safetensors.write(folder / place / sources.SINGLE, arrays)
  config = {
    "in_features": kernel.shape[0],
    "out_features": kernel.shape[1],
    "bias": True,
    "activation_function": IDENTITY,
  }
  return {f"{place}/{sources.CONFIG}": config}
