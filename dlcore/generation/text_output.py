"""Text from generated tokens, piece by piece, up to a stop string."""

from collections.abc import Callable, Sequence

from dlcore.errors import UserError

INCOMPLETE = "\ufffd"
"""Character in place of bytes that are not yet a whole one."""


class TextOutput:
  """Decodes the tokens of one sequence as they come.

  Text is held back while a later token may change it: the bytes of an
  incomplete character, and the beginning of a stop string.

  Attributes:
    text: the text so far; it ends before a stop string.
    stopped: whether a stop string has occurred.
  """

  def __init__(
    self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()
  ):
    """Begins a text.

    Args:
      decode: token ids -> text.
      stop: strings that end the text.

    Raises:
      UserError: a stop string is empty.
    """
    if "" in stop:
      raise UserError("expected stop strings of at least one character")
    self._decode, self._stop = decode, tuple(stop)
    self._ids: list[int] = []
    self.text, self.stopped = "", False
    self._shown = 0

  def push(self, token_id: int) -> str:
    """Returns the text that is certain with one more token."""
    if self.stopped:
      return ""
    self._ids.append(token_id)
    self._update()
    return self._show(self._end_of_certain())

  def finish(self) -> str:
    """Returns the rest of the text; no token follows."""
    return self._show(len(self.text))

  def _update(self) -> None:
    text = self._decode(self._ids)
    found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
    self.stopped = bool(found)
    self.text = text[: min(found)] if found else text

  def _end_of_certain(self) -> int:
    """Returns the number of characters that no later token changes."""
    if self.stopped:
      return len(self.text)
    certain = len(self.text.rstrip(INCOMPLETE))
    longest = max(map(len, self._stop), default=1)
    for start in range(max(0, certain - longest + 1), certain):
      rest = self.text[start:certain]
      if any(stop.startswith(rest) for stop in self._stop):
        return start
    return certain

  def _show(self, end: int) -> str:
    piece = self.text[self._shown : end]
    self._shown = max(self._shown, end)
    return piece
