"""Writes the folder of an encoder of texts as sentence-transformers does."""

from pathlib import Path
from typing import Any

from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.transfer import saving
from dlcore.transfer.io import files, sources
from dlcore.transfer.published_json import PublishedJson
from dlcore.transfer.sentence_modules import MODES, MODULES, SETTINGS
from dlcore.transfer.tokenizer_export import save_tokenizer
from dlcore.typing import PyTree

TRANSFORMER, POOLING, NORMALIZE = "", "1_Pooling", "2_Normalize"
"""Folders of the modules."""


def base_encoder(model: Any) -> Any | None:
  """Returns the module of the tokens of an encoder of texts.

  Returns:
    A model without a head; None for other models, and for embeddings that
    sentence-transformers has no modules for, those of a pooler.
  """
  if getattr(model, "head", None) != "embedding" or not model.poolings:
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

  Args:
    folder: created if it does not exist.
    model: a BERT with `head="embedding"` and poolings.
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
  modules = [("Transformer", TRANSFORMER), ("Pooling", POOLING)]
  modules += [("Normalize", NORMALIZE)] * model.normalize
  contents: dict[str, Any] = {
    MODULES: [
      {
        "idx": i,
        "name": str(i),
        "path": place,
        "type": f"sentence_transformers.models.{kind}",
      }
      for i, (kind, place) in enumerate(modules)
    ],
    f"{POOLING}/{sources.CONFIG}": {
      "word_embedding_dimension": model.width,
      **{mode: pooling in model.poolings for mode, pooling in MODES.items()},
    },
    SETTINGS[0]: {"max_seq_length": max_length, "do_lower_case": False},
  }
  family = saving.save_pretrained(path, base, variables, published=published)
  save_tokenizer(path, tokenizer, max_length)
  for name, content in contents.items():
    files.write(path / name, saving.encoded(name, content))
  return family
