"""The chat template of a tokenizer, from its folder, its run or its tokens."""

import os
from pathlib import Path
from typing import Any

from dlcore.data.text.chat_template import (
  AUTO,
  JINJA,
  SUFFIX,
  TEMPLATES,
  ChatEncoder,
)
from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.data.text.published_template import (
  read_template,
  read_template_file,
)
from dlcore.data.text.tokenizer import FITTED, Tokenizer, run_schema
from dlcore.errors import UserError, nearest

PLAIN = "plain"
FIELDS = ("template", "jinja", "named_tokens")
"""Of a `ChatSchema`."""

NAMED = {
  "bos_token": "bos_id",
  "eos_token": "eos_id",
  "pad_token": "pad_id",
  "unk_token": "unknown_id",
}
"""Attributes of a tokenizer by the name of the token in templates."""


def check_template(name: str) -> None:
  """Checks a value of the setting `template`.

  Raises:
    UserError: it is neither a key of `TEMPLATES`, nor "auto", nor the path of a
      file in Jinja.
  """
  known = (AUTO, *TEMPLATES)
  if name in known or name.endswith(SUFFIX):
    return
  raise UserError(
    f"expected template to be one of {', '.join(known)}, or the path of a file "
    f"FILE{SUFFIX}",
    f"got {name!r}",
    nearest(name, known),
  )


def known_template(name: str, tokenizer: str) -> str:
  """Returns the template whose pieces a new tokenizer is fitted to.

  Args:
    name: the setting `template`.
    tokenizer: the setting `tokenizer`.
  """
  if name in TEMPLATES:
    return name
  return PLAIN if name == AUTO and tokenizer in FITTED else ""


def template_fields(
  name: str, setting: str, tokenizer: Tokenizer
) -> dict[str, Any]:
  """Returns the fields of a `ChatSchema` that define the template.

  Args:
    name: the setting `template`.
    setting: the setting `tokenizer`, a kind or a path.
    tokenizer: the one that it stands for.

  Raises:
    UserError: a file is missing or malformed.
  """
  if name.endswith(SUFFIX):
    source = read_template_file(Path(os.path.expanduser(name)))
    return _jinja(source, _named_tokens(setting, tokenizer))
  if name != AUTO:
    return {"template": name}
  if setting in FITTED:
    return {"template": PLAIN}
  if (schema := run_schema(setting)) is not None:
    if schema.get("template") in (*TEMPLATES, JINJA):
      return {field: schema[field] for field in FIELDS if field in schema}
  elif template := read_template(_folder(setting)):
    return _jinja(template.source, template.tokens)
  return {"template": _by_tokens(tokenizer)}


def _jinja(source: str, tokens: Any) -> dict[str, Any]:
  return {"template": JINJA, "jinja": source, "named_tokens": dict(tokens)}


def _folder(setting: str) -> Path:
  path = Path(os.path.expanduser(setting))
  return path if os.path.isdir(path) else path.parent


def _named_tokens(setting: str, tokenizer: Tokenizer) -> dict[str, str]:
  """Returns the special tokens by the name that templates use."""
  tokens = {}
  if isinstance(tokenizer, LibraryTokenizer):
    ids = {name: getattr(tokenizer, key) for name, key in NAMED.items()}
    tokens = {
      name: tokenizer.inner.id_to_token(id_)
      for name, id_ in ids.items()
      if id_ is not None
    }
  published = None if setting in FITTED else read_template(_folder(setting))
  return tokens | dict(published.tokens if published else {})


def _by_tokens(tokenizer: Tokenizer) -> str:
  """Returns the template of whose tokens a tokenizer has all."""
  for name in TEMPLATES:
    try:
      ChatEncoder(name, tokenizer)
    except UserError:
      continue
    if name != PLAIN:
      return name
  return PLAIN
