"""The chat template that a tokenizer is published with."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.data.text.jinja_template import MAX_SOURCE, JinjaTemplate
from dlcore.data.text.tokenizer_options import TOKENIZER_CONFIG, token_content
from dlcore.errors import UserError
from dlcore.filesystem import first_line, hub_cache, open_plain, read_json

FILE, OLD_FILE = "chat_template.jinja", "chat_template.json"
"""Files of a template alone: in newer folders, and in those of processors."""

SPECIAL_TOKENS = "special_tokens_map.json"
KEY, DEFAULT = "chat_template", "default"
MAX_BYTES = 1 << 26


def read_template(folder: Path) -> JinjaTemplate | None:
  """Returns the chat template in a folder, None if it has none.

  Of several templates it is the one with the name "default".

  Raises:
    UserError: a file is malformed.
  """
  config = _read_object(folder, TOKENIZER_CONFIG)
  source = _read_text(folder)
  if source is None:
    source = _default(config.get(KEY), folder / TOKENIZER_CONFIG)
  if source is None:
    source = _default(
      _read_object(folder, OLD_FILE).get(KEY), folder / OLD_FILE
    )
  if source is None:
    return None
  named = _read_object(folder, SPECIAL_TOKENS) | config
  tokens = {
    name: content
    for name, token in named.items()
    if name.endswith("_token") and (content := token_content(token))
  }
  return JinjaTemplate(source, tokens)


def read_template_file(path: Path) -> str:
  """Returns the template in a file.

  Raises:
    UserError: it is missing, too long or not UTF-8.
  """
  try:
    with open_plain(
      hub_cache.followed(path, hub_cache.blobs(path.parent))
    ) as f:
      content = f.read(4 * MAX_SOURCE + 1)
    if len(content) > 4 * MAX_SOURCE:
      raise ValueError(f"more than {4 * MAX_SOURCE:,} bytes")
    return content.decode("utf-8")
  except (OSError, ValueError) as error:
    raise _unreadable(path, error) from error


def _read_text(folder: Path) -> str | None:
  path = folder / FILE
  return read_template_file(path) if os.path.lexists(path) else None


def _read_object(folder: Path, name: str) -> dict[str, Any]:
  """Returns the object in a JSON file, `{}` without the file."""
  path = folder / name
  if not os.path.lexists(path):
    return {}
  try:
    plain = hub_cache.followed(path, hub_cache.blobs(folder))
    return read_json(plain, max_bytes=MAX_BYTES, strict=True)
  except (OSError, ValueError) as error:
    raise _unreadable(path, error) from error


def _default(value: Any, path: Path) -> str | None:
  """Returns the template of an entry, a string or a list of named ones."""
  if value is None or isinstance(value, str):
    return value
  rows = value if isinstance(value, list) else []
  for row in rows:
    if isinstance(row, Mapping) and row.get("name") == DEFAULT:
      value = row.get("template")
  if not isinstance(value, str):
    raise UserError(
      f"expected a string in {KEY} of {path}, or a list with the template "
      f"{DEFAULT!r}",
      f"got {type(value).__name__}",
      "download the file again, or set data.template",
    )
  return value


def _unreadable(path: Path, error: Exception) -> UserError:
  return UserError(
    f"expected a chat template or its settings in the plain file {path}",
    f"got: {getattr(error, 'strerror', None) or first_line(error)}",
    "download the file again, or set data.template",
  )
