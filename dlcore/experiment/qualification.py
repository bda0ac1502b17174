"""The paths of settings in messages that name arguments."""

import contextlib
import re
from collections.abc import Iterable, Iterator

from dlcore.errors import UserError


@contextlib.contextmanager
def qualify(
  section: str, settings: Iterable[str], **renamed: str
) -> Iterator[None]:
  """Adds the section to arguments in the messages of errors in the block.

  Functions name their Python arguments ("expected clip_norm >= 0"). If the
  value came from a config, the user needs its path ("expected optim.clip_norm
  >= 0").

  Args:
    section: path of the section, such as `"optim"`.
    settings: names of the arguments that came from it.
    **renamed: leaves by arguments that have another name.
  """
  leaves = {**{name: name for name in settings}, **renamed}
  try:
    yield
  except UserError as error:
    if not leaves:
      raise
    names = "|".join(map(re.escape, sorted(leaves, key=len, reverse=True)))
    # An argument follows "expected" or "set", or an equals sign follows it.
    argument = re.compile(
      rf"(?<=expected )({names})\b|(?<=set )({names})\b"
      rf"|(?<![\w.-])({names})(?==)"
    )
    lines = [
      argument.sub(lambda match: f"{section}.{leaves[match.group()]}", line)
      for line in error.lines
    ]
    raise UserError(*lines) from error
