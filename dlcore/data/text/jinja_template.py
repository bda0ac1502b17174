"""Chat templates in Jinja, which tokenizers are published with."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dlcore.data.text.chat_files import ASSISTANT, Message
from dlcore.data.text.jinja_sandbox import (
  Budget,
  bounded,
  environment_class,
)
from dlcore.errors import UserError
from dlcore.filesystem import first_line

MAX_SOURCE = 1 << 18
"""Characters of a template."""

MARKED = re.compile(r"{%[-+]?\s*generation\b")
"""A template that marks the answers itself."""

NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Code points that no text contains, so that they can mark answers."""


class Rendered(NamedTuple):
  """The text of a conversation."""

  text: str
  answers: list[tuple[int, int]]
  """Begin and end of each answer in the text."""


class JinjaTemplate(NamedTuple):
  """A template and the special tokens that it names."""

  source: str
  tokens: Mapping[str, str] = {}
  """Texts of tokens by name, such as `bos_token`."""

  def render(self, messages: Sequence[Message]) -> Rendered:
    """Returns the text of a conversation, and where its answers are.

    A template with `{% generation %}` says where. In others it is the content
    of the messages of the assistant.

    Raises:
      UserError: the template fails, refuses the messages, or changes answers.
    """
    marks = _unused(messages)
    rows = [(m.role, m.content) for m in messages]
    text = self._run(rows, marks)
    if MARKED.search(self.source):
      return _split(text, marks)
    marked = [
      (role, _wrapped(content, marks) if role == ASSISTANT else content)
      for role, content in rows
    ]
    found = _split(self._run(marked, marks), marks)
    answers = sum(role == ASSISTANT for role, _ in rows)
    if found.text != text or len(found.answers) != answers:
      raise UserError(
        "expected a chat template that writes the answers as they are, or "
        "marks them by {% generation %}",
        "got one that changes or drops them",
        "choose a template that keeps the answers, or set data.template to "
        "'chatml', 'llama3' or 'plain'",
      )
    return found

  def prompt(self, messages: Sequence[Message]) -> str:
    """Returns the text of a conversation up to the next answer.

    Raises:
      UserError: the template fails, or refuses the messages.
    """
    marks = _unused(messages)
    rows = [(m.role, m.content) for m in messages]
    return _split(self._run(rows, marks, prompt=True), marks).text

  def check(self) -> None:
    """Checks that it is a template.

    Raises:
      UserError: it is not, or the package `jinja2` is not installed.
    """
    _compiled(self.source, *NONCHARACTERS[:2])

  def _run(
    self,
    rows: Sequence[tuple[str, str]],
    marks: tuple[str, str],
    *,
    prompt: bool = False,
  ) -> str:
    template = _compiled(self.source, *marks)
    messages = [{"role": role, "content": content} for role, content in rows]
    size = sum(len(content) for _, content in rows)
    budget, parts = Budget(len(rows), size), []
    try:
      with bounded(budget):
        for part in template.generate(
          messages=messages,
          tools=None,
          documents=None,
          add_generation_prompt=prompt,
          **self.tokens,
        ):
          budget.make(len(part))
          parts.append(part)
    except (KeyboardInterrupt, SystemExit, MemoryError):
      raise
    except Exception as error:  # A template may raise any exception.
      raise _refusal(error) from error
    return "".join(parts)


def _refusal(error: Exception) -> UserError:
  return UserError(
    "expected a conversation that the chat template accepts",
    f"got {type(error).__name__}: {first_line(error)}",
    "change the messages, or set data.template to 'chatml', 'llama3' or "
    "'plain'",
  )


def _unused(messages: Sequence[Message]) -> tuple[str, str]:
  """Returns two characters that no message contains.

  Raises:
    UserError: the messages contain almost all noncharacters.
  """
  used = set().union(*(m.content for m in messages))
  free = [mark for mark in NONCHARACTERS if mark not in used]
  if len(free) < 2:
    raise UserError(
      "expected messages of characters",
      "got noncharacters, U+FDD0 to U+FDEF",
      "remove them",
    )
  return free[0], free[1]


def _wrapped(content: str, marks: tuple[str, str]) -> str:
  """Returns a text with marks inside of the white space at its ends."""
  core = content.strip()
  before, _, after = content.partition(core) if core else ("", "", content)
  return f"{before}{marks[0]}{core}{marks[1]}{after}"


def _split(text: str, marks: tuple[str, str]) -> Rendered:
  """Returns a text without its marks, and where they were."""
  begin, end = marks
  pieces, answers, size, start = [], [], 0, 0
  for piece in re.split(f"([{begin}{end}])", text):
    if piece == begin:
      start = size
    elif piece == end:
      answers.append((start, size))
    else:
      pieces.append(piece)
      size += len(piece)
  return Rendered("".join(pieces), answers)


@functools.lru_cache(maxsize=64)
def _compiled(source: str, begin: str, end: str) -> Any:
  """Returns the compiled template.

  Raises:
    UserError: it is malformed or too long, or the package is not installed.
  """
  environment = environment_class()(begin, end)
  if len(source) > MAX_SOURCE:
    raise _malformed(f"{len(source):,} characters")
  try:
    with bounded(Budget()):
      return environment.from_string(source)
  except (KeyboardInterrupt, SystemExit, MemoryError):
    raise
  except Exception as error:
    raise _malformed(f"{type(error).__name__}: {first_line(error)}") from error


def _malformed(got: str) -> UserError:
  return UserError(
    f"expected a chat template in Jinja of at most {MAX_SOURCE:,} characters",
    f"got {got}",
    "set data.template to 'chatml', 'llama3' or 'plain'",
  )
