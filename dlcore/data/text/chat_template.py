"""From conversations to token ids: the roles and ends of messages."""

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dlcore.data.info import IGNORED
from dlcore.data.text.chat_files import ASSISTANT, Message
from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.data.text.tokenizer import Tokenizer
from dlcore.errors import UserError

LOSSES = ("assistant", "all")

AUTO, JINJA = "auto", "jinja"
"""The template that belongs to the tokenizer, and one of its own in Jinja."""

SUFFIX = ".jinja"


class Template(NamedTuple):
  """The pieces around a message. One such as "<|im_end|>" is a single token."""

  header: tuple[str, ...]
  """Before the content; "{role}" and "{Role}" stand for the role."""

  end: str = ""
  """The token behind the content; without one, the end of the tokenizer behind
  that of the assistant alone."""

  after: str = ""
  """Text behind the end."""

  begin: str = ""
  """The token at the begin of a conversation, or `""`."""


TEMPLATES = {
  "chatml": Template(("<|im_start|>", "{role}\n"), "<|im_end|>", "\n"),
  "llama3": Template(
    ("<|start_header_id|>", "{role}", "<|end_header_id|>", "\n\n"),
    "<|eot_id|>",
    begin="<|begin_of_text|>",
  ),
  "plain": Template(("{Role}: ",), after="\n\n"),
}
"""Templates by name: those of Qwen and SmolLM, and of Llama 3, whose roles are
between tokens, and plain text for tokenizers without such tokens."""


class ChatTokens(NamedTuple):
  """Token ids of a conversation."""

  ids: list[int]

  scored: list[bool]
  """Whether the loss includes the token."""

  text: str
  """The contents of the messages that are scored."""

  def labels(self, length: int) -> list[int]:
    """Returns the token after each of the first `length`, where it is scored.

    The last token has no label, see `padded`.
    """
    following = zip(self.ids[1:length], self.scored[1:length], strict=True)
    return [id_ if scored else IGNORED for id_, scored in following]


class ChatEncoder:
  """Encodes conversations by a template."""

  def __init__(self, name: str, tokenizer: Tokenizer, loss: str = ASSISTANT):
    """Checks that the tokenizer has the tokens of the template.

    Args:
      name: key of `TEMPLATES`.
      tokenizer: of the contents.
      loss: "assistant" or "all", the messages whose tokens are scored.

    Raises:
      UserError: it lacks one.
    """
    self._template, self._tokenizer = TEMPLATES[name], tokenizer
    self._loss = loss
    self._ids = {piece: self._id(piece, name) for piece in self._tokens()}
    if not self._template.end and tokenizer.eos_id is None:
      raise UserError(
        f"expected a tokenizer with a token of the end, for template={name!r}",
        f"got one of the kind {tokenizer.kind!r} without one",
        "choose another tokenizer",
      )

  @property
  def end_id(self) -> int:
    """Id behind a message of the assistant."""
    end = self._template.end
    known = self._ids[end] if end else self._tokenizer.eos_id
    assert known is not None
    return known

  def encode(self, messages: Iterable[Message]) -> ChatTokens:
    """Returns the ids of a conversation."""
    template, ids, scored = self._template, self._begin(), []
    is_all = self._loss == "all"
    scored += [is_all] * len(ids)
    texts = []
    for message in messages:
      answers = message.role == ASSISTANT
      texts += [message.content] * (is_all or answers)
      ends = [self.end_id] if answers or template.end else []
      content = self._content(message.content) + ends
      for piece, counts in (
        (self._header(message.role), is_all),
        (content, is_all or answers),
        (self._piece(template.after), is_all),
      ):
        ids += piece
        scored += [counts] * len(piece)
    return ChatTokens(ids, scored, "".join(texts))

  def encode_prompt(self, prompt: str) -> list[int]:
    """Returns the ids of a message of the user, up to the answer's content."""
    messages = [Message("user", prompt)] * bool(prompt.strip())
    return [*self.encode(messages).ids, *self._header(ASSISTANT)]

  def _begin(self) -> list[int]:
    begin = self._template.begin
    return self._piece(begin) if begin else []

  def _header(self, role: str) -> list[int]:
    pieces = (self._piece(piece, role) for piece in self._template.header)
    return list(itertools.chain.from_iterable(pieces))

  def _piece(self, piece: str, role: str = "") -> list[int]:
    if piece in self._ids:
      return [self._ids[piece]]
    text = piece.format(role=role, Role=role.capitalize())
    return self._content(text) if text else []

  def _content(self, text: str) -> list[int]:
    """Returns the ids of a text, in which no piece is a special token."""
    if isinstance(self._tokenizer, LibraryTokenizer):
      return self._tokenizer.encode_as_text(text)
    return self._tokenizer.encode(text)

  def _tokens(self) -> list[str]:
    pieces = (*self._template.header, self._template.end, self._template.begin)
    return [piece for piece in pieces if piece.startswith("<|")]

  def _id(self, token: str, name: str) -> int:
    tokenizer = self._tokenizer
    is_library = isinstance(tokenizer, LibraryTokenizer)
    known = tokenizer.token_id(token) if is_library else None
    if known is None:
      raise UserError(
        f"expected a tokenizer with the token {token!r} of template={name!r}",
        f"got one of the kind {tokenizer.kind!r} without it",
        "set template='plain', or tokenizer to that of a chat model",
      )
    return known


def as_jinja(name: str) -> str:
  """Returns a template as a program in Jinja, which transformers reads.

  Args:
    name: key of `TEMPLATES` with a token for the end of a message.
  """
  template = TEMPLATES[name]

  def written(pieces: Iterable[str], role: str) -> str:
    fields = {"{role}": role, "{Role}": f"{role} | capitalize"}
    parts = re.split(r"(\{role\}|\{Role\})", "".join(pieces))
    return "".join(
      f"{{{{ {fields.get(part) or json.dumps(part)} }}}}"
      for part in parts
      if part
    )

  content, role = "{{ m['content'] }}", "m['role']"
  whole = content + written([template.end], "")
  parts = (
    written([template.begin], ""),
    "{% for m in messages %}",
    written(template.header, role),
    f"{{% if {role} == {ASSISTANT!r} %}}{{% generation %}}{whole}",
    f"{{% endgeneration %}}{{% else %}}{whole}{{% endif %}}",
    written([template.after], ""),
    "{% endfor %}{% if add_generation_prompt %}",
    written(template.header, repr(ASSISTANT)),
    "{% endif %}",
  )
  return "".join(parts)


def template_texts(name: str, messages: Sequence[Message]) -> list[str]:
  """Returns the texts that a tokenizer is fitted to.

  Args:
    name: key of `TEMPLATES`, or empty for the contents alone.
    messages: of a conversation.
  """
  template = TEMPLATES.get(name, Template(()))
  pieces = (*template.header, template.after)
  texts = [p for p in pieces if not p.startswith("<|")]
  return [
    text
    for message in messages
    for text in (
      *(p.format(role=message.role, Role=message.role.title()) for p in texts),
      message.content,
    )
  ]
