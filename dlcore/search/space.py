"""The space of a search: distributions of leaves of the config."""

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from optuna import distributions

from dlcore.errors import UserError

Value = bool | int | float | str | tuple
"""A leaf of the config."""


class Interval(NamedTuple):
  """Numbers from `low` to `high`, both included."""

  low: float
  high: float
  log: bool = False
  """Whether the logarithm is distributed uniformly."""

  integer: bool = False

  def check(self, path: str) -> None:
    """Checks the bounds.

    Raises:
      UserError: they are reversed, not finite, or not above 0 for `log`.
    """
    bounds = (self.low, self.high)
    numbers = [is_number(bound) and math.isfinite(bound) for bound in bounds]
    whole = all(numbers) and all(float(bound).is_integer() for bound in bounds)
    if not all(numbers) or (self.integer and not whole):
      kind = "integers" if self.integer else "finite numbers"
      raise UserError(
        f"expected the bounds of {path} to be {kind}", f"got {self}"
      )
    if self.low >= self.high:
      raise UserError(
        f"expected a lower bound of {path} below the upper one",
        f"got {self}",
        *((f"write {self._replace(low=self.high, high=self.low)}",)
          if self.low > self.high else ()),
      )  # fmt: skip
    if self.log and self.low <= 0:
      raise UserError(
        f"expected a lower bound of {path} above 0, on a logarithmic scale",
        f"got {self}",
      )

  def contains(self, value: Any) -> bool:
    """Returns whether a trial can have the value."""
    if not is_number(value) or not self.low <= value <= self.high:
      return False
    return not self.integer or float(value).is_integer()

  def distribution(self) -> distributions.BaseDistribution:
    """Returns the distribution of Optuna."""
    if self.integer:
      return distributions.IntDistribution(
        int(self.low), int(self.high), log=self.log
      )
    return distributions.FloatDistribution(
      float(self.low), float(self.high), log=self.log
    )

  def store(self, value: Any) -> Any:
    """Returns a value as Optuna stores it."""
    return int(value) if self.integer else float(value)

  def load(self, stored: Any) -> Any:
    """Returns the value of a leaf that Optuna has stored."""
    return stored

  def grid(self, points: int) -> list[Any]:
    """Returns values at equal distances, at most `points`."""
    low, high = (math.log(b) if self.log else b for b in (self.low, self.high))
    steps = max(points - 1, 1)
    values = [low + (high - low) * i / steps for i in range(points)]
    values = [math.exp(value) if self.log else value for value in values]
    values = [self.low, *values[1:-1], self.high][:points]
    if not self.integer:
      return values
    return list(dict.fromkeys(round(value) for value in values))

  def __str__(self) -> str:
    """Returns the text of `parse`."""
    if self.integer:
      log = ", log" if self.log else ""
      return f"integer({self.low:g}, {self.high:g}{log})"
    name = "log" if self.log else "uniform"
    return f"{name}({self.low:g}, {self.high:g})"


class Choice(NamedTuple):
  """A few values."""

  values: tuple[Value, ...]

  def check(self, path: str) -> None:
    """Checks the values.

    Raises:
      UserError: there are fewer than two, two are equal, or one is no leaf of
        a config.
    """
    labels = [label(value) for value in self.values]
    if len(labels) < 2 or len(set(labels)) < len(labels):
      raise UserError(
        f"expected two or more different values of {path}", f"got {self}"
      )
    for value in self.values:
      if not is_leaf(value):
        raise UserError(
          f"expected bools, numbers, strings or tuples as values of {path}",
          f"got {value!r:.80}",
        )

  def contains(self, value: Any) -> bool:
    """Returns whether a trial can have the value."""
    return label(value) in map(label, self.values)

  def distribution(self) -> distributions.BaseDistribution:
    """Returns the distribution of Optuna."""
    return distributions.CategoricalDistribution(
      [self.store(value) for value in self.values]
    )

  def store(self, value: Any) -> Any:
    """Returns a value as Optuna stores it: a number, or a label."""
    is_ordered = all(map(is_number, self.values))
    return value if is_ordered else label(value)

  def load(self, stored: Any) -> Any:
    """Returns the value of a leaf that Optuna has stored."""
    by_label = {label(value): value for value in self.values}
    return by_label[stored if isinstance(stored, str) else label(stored)]

  def grid(self, points: int) -> list[Any]:
    """Returns all values."""
    del points
    return list(self.values)

  def __str__(self) -> str:
    """Returns the text of `parse`."""
    return "|".join(map(label, self.values))


class When(NamedTuple):
  """A distribution of trials in which another leaf has one of some values."""

  path: str
  """Of the other leaf."""

  values: tuple[Value, ...]
  inner: Interval | Choice


Distribution = Interval | Choice | When
Space = Mapping[str, Distribution]
"""Distributions by the path of a leaf, such as `"optim.learning_rate"`."""


def uniform(low: float, high: float) -> Interval:
  """Returns the numbers from `low` to `high`."""
  return Interval(low, high)


def log(low: float, high: float) -> Interval:
  """Returns the numbers from `low` to `high`, on a logarithmic scale."""
  return Interval(low, high, log=True)


def integer(low: int, high: int, *, log: bool = False) -> Interval:
  """Returns the integers from `low` to `high`."""
  return Interval(low, high, log=log, integer=True)


def choice(*values: Value) -> Choice:
  """Returns a choice of values; a tuple such as `(128, 64)` is one value."""
  return Choice(values)


def when(path: str, values: Value | Sequence[Value], inner: Any) -> When:
  """Returns a distribution of some trials alone.

  Args:
    path: another leaf of the config, which the search may vary.
    values: one value of it, or a list of several, with which the trials have
      the parameter.
    inner: the distribution.
  """
  several = values if isinstance(values, list) else [values]
  return When(path, tuple(several), inner)


def inner(distribution: Distribution) -> Interval | Choice:
  """Returns the distribution without its condition."""
  return distribution.inner if isinstance(distribution, When) else distribution


def is_active(space: Space, path: str, values: Mapping[str, Any]) -> bool:
  """Returns whether trials with some values have a parameter.

  Args:
    space: the distributions.
    path: of the parameter.
    values: of all leaves of the config and of the trial, by path.
  """
  one = space[path]
  if not isinstance(one, When):
    return True
  if one.path in space and not is_active(space, one.path, values):
    return False
  return label(values.get(one.path)) in map(label, one.values)


def check(space: Any) -> None:
  """Checks a space without the config that it belongs to.

  Raises:
    UserError: it is empty or no mapping, a distribution is invalid, or a
      condition refers to its own path or to a value that its path cannot have.
  """
  if not isinstance(space, Mapping) or not space:
    raise UserError(
      "expected a space with one path or more",
      f"got {space!r:.80}",
      'such as {"optim.learning_rate": search.log(1e-4, 1e-1)}',
    )
  for path, one in space.items():
    if not isinstance(path, str) or not isinstance(one, Distribution):
      raise UserError(
        "expected a space of paths and distributions",
        f"got {path!r}: {one!r:.80}",
        "distributions are search.uniform, log, integer, choice and when",
      )
    if not isinstance(inner(one), Interval | Choice):
      raise UserError(
        f"expected one condition of {path}", f"got {inner(one)!r:.80}"
      )
    inner(one).check(path)
    if isinstance(one, When):
      _check_condition(space, path, one)


def _check_condition(space: Space, path: str, one: When) -> None:
  """Checks that the condition of a distribution can be met.

  Raises:
    UserError: it cannot, or conditions refer to one another.
  """
  seen, at = {path}, one.path
  while True:
    if at in seen:
      raise UserError(
        f"expected the condition of {path} to be on another path",
        f"got one that leads back to {at}",
      )
    seen.add(at)
    other = space.get(at)
    if not isinstance(other, When):
      break
    at = other.path
  if one.path in space:
    wrong = [v for v in one.values if not inner(space[one.path]).contains(v)]
    if wrong:
      raise UserError(
        f"expected the condition of {path} on a value that {one.path} can have",
        f"got {wrong[0]!r}, not one of {inner(space[one.path])}",
      )


def is_number(value: Any) -> bool:
  """Returns whether a value is an int or a float."""
  return isinstance(value, int | float) and not isinstance(value, bool)


def is_leaf(value: Any) -> bool:
  """Returns whether a config can hold a value."""
  if isinstance(value, tuple):
    return all(map(is_leaf, value))
  return isinstance(value, bool | int | float | str)


def label(value: Any) -> str:
  """Returns a value as on the command line, such as `(128, 64)`."""
  return value if isinstance(value, str) else repr(value)


def parse(text: str) -> dict[str, Distribution]:
  """Returns the space of a text such as that of `--space`.

  Items `path=distribution` are separated by blanks. Distributions are
  `uniform(0, 0.5)`, `log(1e-4, 1e-1)`, `integer(1, 8)`, `integer(16, 512,
  log)` and choices `a|b|c`, whose values have the types of the config:
  `(64,)|(128, 64)`. `path[other=a|b]=...` is a parameter of the trials in which
  another leaf has one of some values.

  Raises:
    UserError: an item has another form.
  """
  space: dict[str, Distribution] = {}
  for item in _split(text):
    path, condition, definition = _parts(item)
    one = _parse_distribution(item, definition)
    if path in space:
      raise UserError(
        "expected each path of the space once", f"got {path} again"
      )
    if condition:
      other, _, values = condition.partition("=")
      one = When(other.strip(), tuple(map(_literal, values.split("|"))), one)
    space[path] = one
  return space


def _split(text: str) -> list[str]:
  """Returns the items, which blanks outside of brackets separate."""
  items, depth = [""], 0
  for character in text:
    depth += (character in "([") - (character in ")]")
    if character.isspace() and depth <= 0:
      items.append("")
    elif not character.isspace():
      items[-1] += character
  return [item for item in items if item]


def _parts(item: str) -> tuple[str, str, str]:
  """Returns the path, the condition and the distribution of an item."""
  path, bracket, rest = item.partition("[")
  equals = path.find("=")
  if equals >= 0 or not bracket:
    path, equals, definition = item.partition("=")
    condition = ""
  else:
    condition, _, definition = rest.partition("]=")
  if not path or not definition:
    raise UserError(
      "expected PATH=DISTRIBUTION in the space",
      f"got {item!r}",
      'such as "optim.learning_rate=log(1e-4,1e-1) model.width=64|128"',
    )
  return path, condition, definition


def _parse_distribution(item: str, text: str) -> Interval | Choice:
  name, bracket, arguments = text.partition("(")
  if not (bracket and name in ("uniform", "log", "integer")):
    return Choice(tuple(map(_literal, text.split("|"))))
  parts = arguments.removesuffix(")").split(",")
  is_log = name == "integer" and parts[2:] == ["log"]
  numbers = [_literal(part) for part in parts[: 2 if is_log else None]]
  closed = arguments.endswith(")")
  if not closed or len(numbers) != 2 or not all(map(is_number, numbers)):
    raise UserError(
      f"expected {name}(LOW, HIGH) with two numbers", f"got {item!r}"
    )
  low, high = numbers
  return Interval(
    low, high, log=name == "log" or is_log, integer=name == "integer"
  )


def _literal(text: str) -> Any:
  """Returns a number, bool or tuple as such, any other text as it is."""
  if text.lower() in ("true", "false"):
    return text.lower() == "true"
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    return text
  return value if is_leaf(value) else text
