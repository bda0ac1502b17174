"""Reading of conversations: JSON lines of messages, ShareGPT or Alpaca."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlcore.data.tables.text_lines import read_lines
from dlcore.errors import UserError

MAX_LINE = 1 << 24
"""Characters of a line."""

ASSISTANT = "assistant"

ROLES = {
  "system": "system",
  "developer": "system",
  "user": "user",
  "human": "user",
  "assistant": ASSISTANT,
  "gpt": ASSISTANT,
  "model": ASSISTANT,
}
"""Role of a message by its name in files."""


class Message(NamedTuple):
  """A text of one side of a conversation."""

  role: str
  """A value of `ROLES`."""

  content: str


class Conversation(NamedTuple):
  """Messages in their order."""

  line: int
  """Number of the line in the file, from 1."""

  messages: tuple[Message, ...] = ()

  columns: Mapping[str, str] = {}
  """Values of other keys of the line."""

  error: str = ""
  """Reason why the line is malformed, or `""`."""

  @property
  def key(self) -> str:
    """A hash of the messages, which decides the split."""
    content = json.dumps(self.messages).encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def read_conversations(
  path: Path, columns: Sequence[str] = ()
) -> Iterator[Conversation]:
  """Yields the conversations of a file, one for each line that is not empty.

  A line is an object with `messages` (of `role` and `content`), with
  `conversations` (of `from` and `value`, as of ShareGPT), or with
  `instruction`, `output` and optionally `input`, `system` and `history`, as of
  Alpaca.

  Args:
    path: JSON lines; a file whose name ends in ".gz" is decompressed.
    columns: other keys whose values are read.

  Raises:
    UserError: the file is missing, unreadable or not UTF-8.
  """
  if not os.path.isfile(path):  # Opening a pipe would wait.
    raise UserError(
      "expected a file of conversations", f"got no file at {str(path)!r}"
    )
  for number, line in enumerate(read_lines(path, MAX_LINE), start=1):
    if line.strip():
      try:
        yield _parse(number, line, columns)
      except (ValueError, RecursionError) as error:
        yield Conversation(number, error=str(error))


def _parse(number: int, line: str, columns: Sequence[str]) -> Conversation:
  """Returns the conversation of a line.

  Raises:
    ValueError: the line is malformed.
  """
  if len(line) > MAX_LINE:
    raise ValueError(f"more than {MAX_LINE:,} characters in a line")
  if line.lstrip().startswith("["):
    raise ValueError("a JSON array; write an object in each line, as jq -c .[]")
  content = json.loads(line)
  if not isinstance(content, dict):
    raise ValueError(f"expected a JSON object, got {line.strip()[:40]!r}")
  messages = tuple(_messages(content))
  if not any(m.role == ASSISTANT and m.content.strip() for m in messages):
    raise ValueError("no message of the assistant, or an empty one")
  values = {}
  for name in columns:
    if not isinstance(value := content.get(name), str | int | float):
      raise ValueError(f"no text or number {name!r}")
    values[name] = str(value)
  return Conversation(number, messages, values)


def _messages(content: Mapping[str, Any]) -> Iterator[Message]:
  """Yields the messages of an object of one of the formats."""
  content = {key: value for key, value in content.items() if value is not None}
  if "messages" in content:
    yield from _listed(content, "messages", "role", "content")
  elif "conversations" in content:
    if content.get("system"):
      yield Message("system", _text(content, "system"))
    yield from _listed(content, "conversations", "from", "value")
  elif "instruction" in content:
    yield from _instructed(content)
  else:
    known = ", ".join(map(repr, content))[:80]
    raise ValueError(
      "no 'messages', 'conversations' or 'instruction' among the keys "
      f"{known or '(none)'}"
    )


def _listed(
  content: Mapping[str, Any], key: str, role: str, text: str
) -> Iterator[Message]:
  messages = content[key]
  if not isinstance(messages, list):
    raise ValueError(f"{key!r} is no list")
  for i, message in enumerate(messages):
    if not isinstance(message, dict):
      raise ValueError(f"{key}[{i}] is no object")
    name = message.get(role)
    if not isinstance(name, str) or name.lower() not in ROLES:
      raise ValueError(
        f"{key}[{i}] has the {role} {name!r:.40}, none of {', '.join(ROLES)}"
      )
    yield Message(ROLES[name.lower()], _text(message, text, f"{key}[{i}]."))


def _instructed(content: Mapping[str, Any]) -> Iterator[Message]:
  """Yields the messages of an object of Alpaca."""
  if content.get("system"):
    yield Message("system", _text(content, "system"))
  history = content.get("history") or []
  for i, turn in enumerate(history if isinstance(history, list) else [None]):
    if not isinstance(turn, list) or len(turn) != 2:
      raise ValueError(f"history[{i}] is no pair of texts")
    pair = dict(zip(("user", ASSISTANT), turn, strict=True))
    for role in pair:
      yield Message(role, _text(pair, role, f"history[{i}]."))
  parts = [_text(content, "instruction")]
  parts += [_text(content, "input")] if content.get("input") else []
  yield Message("user", "\n\n".join(parts))
  yield Message(ASSISTANT, _text(content, "output"))


def _text(content: Mapping[str, Any], key: str, prefix: str = "") -> str:
  """Returns a text, or the texts of a list of parts, as one."""
  value = content.get(key)
  if isinstance(value, list):
    parts = [p.get("text") if isinstance(p, dict) else p for p in value]
    if all(isinstance(part, str) for part in parts):
      value = "".join(parts)
  if not isinstance(value, str):
    raise ValueError(f"{prefix}{key} is no text")
  return value.encode("utf-8", "replace").decode()
