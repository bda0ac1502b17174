"""Errors that a user can fix, each reported in at most three lines."""

import difflib
import inspect
import math
import numbers
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

EXTRAS = {
  "arrow": ("pyarrow",),
  "database": ("psycopg[binary]", "pymysql"),
  "heif": ("pillow-heif",),
  "hub": ("huggingface_hub", "jinja2", "tokenizers"),
  "translation": ("sacrebleu",),
}
"""Packages of the optional dependencies that messages name."""


class UserError(Exception):
  """A mistake that the user can fix, printed without a traceback.

  Every other exception is a bug and keeps its traceback.
  """

  def __init__(self, expected: str, got: str = "", remedy: str = ""):
    """Stores the lines that are not empty.

    Args:
      expected: the condition that is violated.
      got: the value that was passed, with its numbers.
      remedy: a way to fix it.
    """
    self.lines = tuple(line for line in (expected, got, remedy) if line)
    super().__init__("\n".join(self.lines))


def install_hint(extra: str) -> str:
  """Returns the command that installs the packages of `EXTRAS[extra]`.

  Without a checkout it names these packages, not dlcore: that name belongs to
  another project on PyPI.
  """
  if (Path(__file__).parents[1] / "pyproject.toml").exists():
    return f"uv sync --extra {extra}"
  return f"pip install {' '.join(EXTRAS[extra])}"


def nearest(name: str, names: Iterable[str]) -> str:
  """Returns a hint with the nearest of `names`, or all if none is similar."""
  names = sorted(names)
  lower = {other.lower(): other for other in reversed(names)}
  similar = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
  if similar:
    return f"did you mean {lower[similar[0]]!r}?"
  return f"choose from: {', '.join(names)}" if names else "none is available"


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
  """Returns `table[name]`.

  Args:
    table: the literal table that resolves the name.
    name: a key of `table`.
    what: singular noun for the entries in the message, such as "model".

  Raises:
    UserError: `name` is not a key of `table`; contains the nearest key.
  """
  if name not in table:
    hint = nearest(str(name), table)
    raise UserError(f"unknown {what} {name!r}", remedy=hint)
  return table[name]


def check_choice(argument: str, value: Any, choices: Collection[str]) -> None:
  """Checks that the argument named `argument` is one of a few strings.

  Raises:
    UserError: `value` is not in `choices`; contains the nearest choice.
  """
  if value not in choices:
    *others, last = (repr(choice) for choice in choices)
    listed = f"{', '.join(others)} or {last}" if others else last
    raise UserError(
      f"expected {argument} to be {listed}",
      f"got {value!r}",
      nearest(str(value), choices) if len(choices) > 3 else "",
    )


def check_settings(
  function: Callable[..., Any],
  settings: Iterable[str],
  what: str,
  exclude: Collection[str] = (),
) -> None:
  """Checks that `function` accepts every one of `settings` by keyword.

  Args:
    function: a function or class. One with `**kwargs` accepts all settings.
    settings: names of keyword arguments.
    what: the function in the message, such as "model 'mlp'".
    exclude: parameters of `function` that are not settings.

  Raises:
    UserError: a name is not a parameter; contains the nearest parameter.
  """
  parameters = inspect.signature(function).parameters.values()
  if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
    return
  known = {
    parameter.name
    for parameter in parameters
    if parameter.kind
    in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
  }.difference(exclude)
  check_names(what, settings, known)


TYPES: dict[type, tuple[type, ...]] = {
  bool: (bool,),
  int: (numbers.Integral,),
  float: (numbers.Real,),
  str: (str, os.PathLike),
  tuple: (tuple, list),
}
"""The types that are accepted for a default of a type."""


def check_types(
  function: Callable[..., Any], settings: Mapping[str, Any]
) -> None:
  """Checks the types of keyword arguments against those of their defaults.

  Args:
    function: a function whose defaults are of the types of a config; other
      defaults are not compared.
    settings: keyword arguments.

  Raises:
    UserError: a value is of another type, or a float is not finite.
  """
  parameters = inspect.signature(function).parameters
  for name, value in settings.items():
    default = parameters[name].default if name in parameters else None
    accepted = TYPES.get(type(default), (object,))
    is_flag = isinstance(value, bool) and type(default) in (int, float)
    if not isinstance(value, accepted) or is_flag:
      raise UserError(
        f"expected {name} of type {type(default).__name__}",
        f"got {value!r:.80}",
      )
    if isinstance(value, float) and not math.isfinite(value):
      raise UserError(f"expected a finite {name}", f"got {value}")


def check_names(
  what: str, names: Iterable[str], known: Collection[str]
) -> None:
  """Checks that `known` contains every name of an argument in `names`.

  Raises:
    UserError: an argument is unknown; contains the nearest known one.
  """
  for name in names:
    if name not in known:
      raise UserError(
        f"{what} has no argument {name!r}", remedy=nearest(name, known)
      )


def check_pattern(argument: str, pattern: Any) -> None:
  """Checks that `pattern` is a regular expression.

  Raises:
    UserError: names the argument and the error in the pattern.
  """
  try:
    re.compile(pattern)
  except (re.error, TypeError) as error:
    raise UserError(
      f"expected {argument} to be a regular expression",
      f"got {pattern!r}: {error}",
    ) from error
