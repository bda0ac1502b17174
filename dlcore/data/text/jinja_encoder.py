"""From conversations to token ids by a chat template in Jinja."""

from collections.abc import Sequence

from dlcore.data.text.chat_files import ASSISTANT, Message
from dlcore.data.text.chat_template import ChatTokens
from dlcore.data.text.jinja_template import JinjaTemplate
from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.data.text.tokenizer import Tokenizer
from dlcore.errors import UserError

PROBE = (Message("user", "a"), Message(ASSISTANT, "a"))


class JinjaEncoder:
  """Encodes conversations as transformers does with a chat template."""

  def __init__(
    self, template: JinjaTemplate, tokenizer: Tokenizer, loss: str = ASSISTANT
  ):
    """Checks that the tokenizer has the tokens of the template.

    Args:
      template: of the tokenizer's folder.
      tokenizer: of the whole text.
      loss: "assistant" or "all", the messages whose tokens are scored.

    Raises:
      UserError: the template is malformed, or no special token follows an
        answer.
    """
    template.check()
    if not isinstance(tokenizer, LibraryTokenizer):
      raise UserError(
        "expected the tokenizer.json of the chat template",
        f"got a tokenizer of the kind {tokenizer.kind!r}",
        "set data.tokenizer, or data.template to 'plain'",
      )
    self._template, self._tokenizer, self._loss = template, tokenizer, loss
    self._added = tokenizer.added_ids
    self.end_id = self._find_end()

  def _find_end(self) -> int:
    """Returns the id behind an answer.

    Raises:
      UserError: it is not a special token.
    """
    ids, scored = self._answers(PROBE)
    ends = [
      id_
      for id_, is_scored in zip(ids, scored, strict=True)
      if is_scored and id_ in self._added
    ]
    if not ends:
      raise UserError(
        "expected a chat template with a special token behind each answer",
        "got none, so that the end of an answer could not be learned",
        "set data.template to 'chatml', 'llama3' or 'plain'",
      )
    return ends[-1]

  def encode(self, messages: Sequence[Message]) -> ChatTokens:
    """Returns the ids of a conversation.

    Raises:
      UserError: the template refuses it.
    """
    ids, scored = self._answers(messages)
    is_all = self._loss != ASSISTANT
    contents = [m.content for m in messages if is_all or m.role == ASSISTANT]
    scored = [True] * len(ids) if is_all else scored
    return ChatTokens(ids, scored, "".join(contents))

  def encode_prompt(self, prompt: str) -> list[int]:
    """Returns the ids of a message of the user, up to the answer's content."""
    messages = [Message("user", prompt)] * bool(prompt.strip())
    text = self._template.prompt(messages)
    return self._tokenizer.encode_with_offsets(text)[0]

  def _answers(
    self, messages: Sequence[Message]
  ) -> tuple[list[int], list[bool]]:
    """Returns ids, and whether each belongs to an answer.

    A special token behind an answer belongs to it, with the white space in
    between, if the answer does not contain one.
    """
    text, answers = self._template.render(messages)
    ids, offsets = self._tokenizer.encode_with_offsets(text)
    scored, position = [False] * len(ids), 0
    for begin, end in answers:
      while position < len(ids) and offsets[position][1] <= begin:
        position += 1
      has_end = False
      while position < len(ids) and offsets[position][0] < end:
        scored[position] = begin < end
        has_end |= ids[position] in self._added
        position += 1
      if not has_end:
        for at in self._end(text, end, ids, offsets, position):
          scored[at] = True
    return ids, scored

  def _end(
    self,
    text: str,
    end: int,
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    position: int,
  ) -> range:
    """Returns the tokens from `position` to a special one, if it follows.

    Args:
      text: of the conversation.
      end: of the answer in the text.
      ids: of the text.
      offsets: of the ids.
      position: of the first token behind the answer.
    """
    for at in range(position, len(ids)):
      if ids[at] in self._added:
        return range(position, at + 1)
      if text[end : offsets[at][1]].strip():
        break
    return range(0)
