"""Writes a tokenizer as transformers reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.data.text.tokenizer_options import TOKENIZER, TOKENIZER_CONFIG
from dlcore.transfer import saving
from dlcore.transfer.io import files

FRAMES = {
  True: {"cls_token": "bos_id", "sep_token": "eos_id"},
  False: {"bos_token": "bos_id", "eos_token": "eos_id"},
}
"""Names of the tokens around a text, by whether the tokenizer adds one before
and one after it, as those of encoders do. The values are attributes of it."""

INPUTS = ("input_ids", "attention_mask")
TYPES = "token_type_ids"

SPECIAL = {
  "mask_token": "mask_id",
  "pad_token": "pad_id",
  "unk_token": "unknown_id",
}
"""Attributes of a tokenizer by the entry of tokenizer_config.json."""


def save_tokenizer(
  folder: Path,
  tokenizer: LibraryTokenizer,
  max_length: int,
  *,
  token_types: bool = False,
  chat_template: str = "",
  named_tokens: Mapping[str, str] | None = None,
) -> None:
  """Writes tokenizer.json and tokenizer_config.json.

  Args:
    folder: exists.
    tokenizer: of the texts.
    max_length: largest number of tokens of a text.
    token_types: whether the model takes `token_type_ids`, which mark the second
      text of a pair. GPT-2 in transformers would add word embeddings for them.
    chat_template: in Jinja; empty for none.
    named_tokens: texts of tokens by name, such as `eos_token`, in place of
      those of the tokenizer.

  Raises:
    UserError: the folder is not writable.
  """
  frame = tokenizer.frame(pair=False)
  names = FRAMES[bool(frame.before and frame.after)] | SPECIAL
  ids = {name: getattr(tokenizer, key) for name, key in names.items()}
  content: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_input_names": [*INPUTS, *[TYPES] * token_types],
    "model_max_length": max_length,
    **{
      name: tokenizer.inner.id_to_token(id_)
      for name, id_ in ids.items()
      if id_ is not None
    },
    **(named_tokens or {}),
    **({"chat_template": chat_template} if chat_template else {}),
  }
  files.write(folder / TOKENIZER, tokenizer.to_file())
  files.write(
    folder / TOKENIZER_CONFIG, saving.encoded(TOKENIZER_CONFIG, content)
  )


def takes_token_types(model: Any) -> bool:
  """Returns whether a model tells two texts apart by `token_type_ids`."""
  return getattr(model, "num_token_types", 0) > 1
