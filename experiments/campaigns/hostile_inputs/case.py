"""A hostile input, and the call of a user that reads it."""

import json
import os
import random
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from dlcore import command

ROOT = Path(__file__).resolve().parents[3]


class Case(NamedTuple):
  """A call on a hostile input."""

  call: Callable[[], Any]
  """Returns a value, or raises as a script's main function does."""

  silent: Callable[[Any], str] = lambda _: ""
  """Returns why the value of `call` is known to be wrong, else ""."""


class Kind(NamedTuple):
  """The inputs of one kind."""

  written: dict[str, Callable[[Path, random.Random, Path], Case]]
  """Inputs written on purpose, by name: `(folder, generator, valid)`."""

  mutate: Callable[[Path, random.Random, Path], Case]
  """A valid input, mutated at random."""


class Script(NamedTuple):
  """A call of a script in experiments/, in this process."""

  name: str
  arguments: tuple[str, ...]
  closed: tuple[int, ...] = ()
  """The file descriptors that are closed, as by `2>&-`."""

  def __call__(self) -> None:
    """Runs it; raises SystemExit with its exit code."""
    for name in list(flags.FLAGS):
      delattr(flags.FLAGS, name)
    for number in self.closed:
      os.close(number)
      setattr(sys, ("stdin", "stdout", "stderr")[number], None)
    path = str(ROOT / "experiments" / f"{self.name}.py")
    sys.argv = [path, *self.arguments]
    runpy.run_path(path, run_name="__main__")


def run(call: Callable[[], Any]) -> tuple[int, Any]:
  """Returns the exit code that the shell gives a call, and its value.

  Unexpected exceptions propagate.
  """
  values = []
  try:
    if isinstance(call, Script):
      call()
    else:
      sys.argv = ["hostile"]
      command.run(lambda: values.append(call()))
  except SystemExit as end:
    code = end.code if isinstance(end.code, int) else 1
    return code, values[0] if values else None
  return 0, None


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
  """Returns JSON brackets of that depth."""
  return opening * depth + closing * depth


def digits(generator: random.Random) -> int:
  """Returns an integer of 30 to 4,000 digits, which Python can print."""
  count = generator.choice((30, 39, 309, 400, 4000))
  return generator.choice((1, -1)) * (10**count - generator.randrange(10**9))


def write_json(path: Path, content: Any) -> None:
  """Writes JSON."""
  path.write_text(json.dumps(content))


EXTREMES: tuple[Any, ...] = (
  *(None, True, False, "", "x", [], {}, [[]], {"a": {}}, [None]),
  *(-1, 0, 1, 2**31 - 1, 2**31, 2**32, 2**63, 10**9, 10**12, 10**30, 10**400),
  *(-(2**31), -(10**30), 0.5, -0.0, 1e-320, 1e300, float("nan")),
  *(float("inf"), "1", "1e3", "\0", "\ud800", "a" * 100_000, [0] * 100_000),
)
"""Values that a field of a JSON file does not expect."""
