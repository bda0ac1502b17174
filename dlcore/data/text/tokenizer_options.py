"""Settings of tokenizer_config.json that change ids: applied, or refused.

Transformers applies most of them when it loads a folder, so a tokenizer.json
that contradicts them gives other ids there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.data.text import tokenizer_checks
from dlcore.errors import UserError
from dlcore.filesystem import quoted

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"

SIDES = ("left", "right")

BERT_OPTIONS = {
  "do_lower_case": "lowercase",
  "strip_accents": "strip_accents",
  "tokenize_chinese_chars": "handle_chinese_chars",
}
"""Arguments of `tokenizers.normalizers.BertNormalizer` by the setting."""


def side(
  name: str, saved: Mapping[str, Any] | None, config: Mapping, folder: Path
) -> str:
  """Returns the side of padding or truncation.

  Args:
    name: "padding_side" or "truncation_side".
    saved: the padding or truncation of the tokenizer.json.
    config: the settings of its folder, which take precedence.
    folder: of both files, for the message.

  Raises:
    UserError: the settings contain another value than "left" or "right".
  """
  value = config.get(name, saved["direction"] if saved else "right")
  if value not in SIDES:
    raise UserError(
      f"expected {name} to be 'left' or 'right' in {folder / TOKENIZER_CONFIG}",
      f"got {quoted(value)}",
      "correct the file, or download it again",
    )
  return value


def apply_normalization(
  inner: Any, config: Mapping[str, Any], folder: Path
) -> None:
  """Applies `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`.

  Raises:
    UserError: `do_lower_case` contradicts a normalizer that is not BERT's.
  """
  import tokenizers

  old = inner.normalizer
  if isinstance(old, tokenizers.normalizers.BertNormalizer):
    names = ("clean_text", *BERT_OPTIONS.values())
    options = {name: getattr(old, name) for name in names}
    for key, name in BERT_OPTIONS.items():
      if isinstance(value := config.get(key), bool):
        options[name] = value
    inner.normalizer = tokenizers.normalizers.BertNormalizer(**options)
    return
  expected = config.get("do_lower_case")
  if isinstance(expected, bool) and expected != _is_lowercase(inner, folder):
    raise _contradiction("do_lower_case", expected, folder)


def check_special_tokens(
  inner: Any, config: Mapping[str, Any], folder: Path
) -> None:
  """Checks `add_bos_token`, `add_eos_token` and `add_prefix_space`.

  Raises:
    UserError: tokenizer.json contradicts one.
  """
  import tokenizers

  for key, token, index in (
    ("add_bos_token", "bos_token", 0),
    ("add_eos_token", "eos_token", -1),
  ):
    expected, id_ = config.get(key), token_id(inner, config.get(token))
    if not isinstance(expected, bool) or id_ is None:
      continue
    ids = _call(lambda: inner.encode("").ids, folder)
    if expected != (bool(ids) and ids[index] == id_):
      raise _contradiction(key, expected, folder)
  expected, layer = config.get("add_prefix_space"), inner.pre_tokenizer
  is_byte_level = isinstance(layer, tokenizers.pre_tokenizers.ByteLevel)
  if is_byte_level and expected is (not layer.add_prefix_space):
    raise _contradiction("add_prefix_space", expected, folder)


def token_content(token: Any) -> str | None:
  """Returns the string of a token in settings, an object or a string."""
  token = token.get("content") if isinstance(token, dict) else token
  return token if isinstance(token, str) else None


def token_id(inner: Any, token: Any) -> int | None:
  """Returns the id of a token in settings, None if it is not in use."""
  content = token_content(token)
  try:
    return None if content is None else inner.token_to_id(content)
  except UnicodeEncodeError:  # Half of a surrogate pair, as in "\\ud800".
    return None


def _is_lowercase(inner: Any, folder: Path) -> bool:
  """Returns whether the normalizer converts letters to lower case."""
  if inner.normalizer is None:
    return False
  text = _call(lambda: inner.normalizer.normalize_str("A"), folder)
  return "A" not in text


def _call(function: Any, folder: Path) -> Any:
  return tokenizer_checks.call(
    function,
    f"expected a tokenizer that encodes strings in {folder / TOKENIZER}",
    "download or write the file again",
  )


def _contradiction(key: str, value: Any, folder: Path) -> UserError:
  return UserError(
    f"expected a {TOKENIZER} that agrees with {key}={value} in "
    f"{folder / TOKENIZER_CONFIG}",
    f"got one that does the opposite, as if {key}={not value}",
    "correct one of them: with transformers, run AutoTokenizer.from_pretrained"
    "(FOLDER).save_pretrained(FOLDER)",
  )
