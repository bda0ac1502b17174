"""The sandbox of Jinja in which chat templates of any origin run.

Jinja's own sandbox blocks access to Python's internals. This one also limits
the number of steps and of characters, in proportion to the messages, so that a
template cannot run forever or exhaust the memory.
"""

import contextlib
import contextvars
import functools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from dlcore.errors import UserError, install_hint

STEPS = 100_000
"""Turns of loops, calls and values in a run without messages."""

STEPS_PER_MESSAGE = 1_000

CHARACTERS = 1 << 22
"""Characters and items that all operations of such a run may make."""

CHARACTERS_PER_CHARACTER = 16
"""Further ones for each character of the messages."""

MAX_FACTOR = 1 << 16
"""Length of a product with a string or a list."""

MAX_POWER = 1 << 10
"""Size of a number that is raised, and of an exponent."""

MAX_DIGITS = 20
"""Precision to which a number is rounded, and indentation of JSON."""

FILTERS = (
  *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape"),
  *("first", "float", "int", "items", "last", "length", "list", "lower"),
  *("map", "max", "min", "reject", "rejectattr", "reverse", "safe", "select"),
  *("selectattr", "sort", "title", "trim", "unique", "upper", "wordcount"),
)
"""Jinja's filters whose results are not much longer than their arguments."""

GROWING = (
  *("center", "encode", "expandtabs", "format", "format_map", "ljust"),
  *("rjust", "translate", "zfill"),
)
"""Methods of strings whose result may be of any length, or not a string."""


class Budget:
  """What a run of a template may still do."""

  def __init__(self, messages: int = 0, characters: int = 0):
    """Takes the number of messages, and that of their characters."""
    self._steps = STEPS + STEPS_PER_MESSAGE * messages
    self._left = CHARACTERS + CHARACTERS_PER_CHARACTER * characters

  def spend(self) -> None:
    """Takes one step.

    Raises:
      OverflowError: none is left.
    """
    self._steps -= 1
    if self._steps < 0:
      raise OverflowError("too many turns of loops and calls")

  def make(self, size: int) -> None:
    """Takes the characters of a string, or the items of a list.

    Raises:
      OverflowError: fewer are left.
    """
    self._left -= size
    if self._left < 0:
      raise OverflowError("too many characters or items")


_BUDGET: contextvars.ContextVar[Budget] = contextvars.ContextVar("budget")


@contextlib.contextmanager
def bounded(budget: Budget) -> Iterator[None]:
  """Gives a budget to the templates that are compiled and run inside."""
  token = _BUDGET.set(budget)
  try:
    yield
  finally:
    _BUDGET.reset(token)


@functools.cache
def environment_class() -> Any:
  """Returns the class of environments, `(begin mark, end mark)`.

  It has the settings, filters and functions that transformers gives to chat
  templates, but for `strftime_now`: the tokens do not depend on the date. The
  text of `{% generation %}` is put between both marks.

  Raises:
    UserError: the package `jinja2` is not installed.
  """
  try:
    import jinja2
    from jinja2 import compiler, ext, filters, nodes, sandbox
  except ImportError:
    raise UserError(
      "expected the package jinja2, which runs the chat template of the "
      "tokenizer",
      "it is not installed",
      f"install it: {install_hint('hub')}, or set data.template to 'chatml', "
      "'llama3' or 'plain'",
    ) from None

  class Generation(ext.Extension):
    """The tag `generation`, whose block is an answer."""

    tags: ClassVar[Any] = {"generation"}

    def parse(self, parser: Any) -> Any:
      line = next(parser.stream).lineno
      body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
      call = self.call_method("mark")
      return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def mark(self, caller: Any) -> str:
      environment: Any = self.environment
      return f"{environment.begin}{caller()}{environment.end}"

  class Generator(compiler.CodeGenerator):
    """Compiles `a ~ b` to a bounded function."""

    def visit_Concat(self, node: Any, frame: Any) -> None:  # noqa: N802
      self.write("environment.concat((")
      for part in node.nodes:
        self.visit(part, frame)
        self.write(", ")
      self.write("))")

  class Environment(sandbox.ImmutableSandboxedEnvironment):
    """The environment of a template."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))
    code_generator_class = Generator

    def __init__(self, begin: str, end: str):
      super().__init__(
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_text,
        extensions=[Generation, ext.loopcontrols],
      )
      self.begin, self.end = begin, end
      self.filters = {
        **{name: _measured(filters.FILTERS[name]) for name in FILTERS},
        "join": join,
        "replace": replace,
        "round": round_number,
        "string": _text,
        "tojson": _to_json,
        "_counted": _counted,
      }
      del self.globals["lipsum"]
      self.globals["raise_exception"] = refuse

    def _parse(self, *arguments: Any) -> Any:
      """Returns the nodes of a source, whose loops are counted."""
      tree = super()._parse(*arguments)
      for loop in tree.find_all(nodes.For):
        if loop.recursive:
          raise jinja2.TemplateSyntaxError("a recursive loop", loop.lineno)
        loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None)
      return tree

    def call(
      self, context: Any, function: Any, *arguments: Any, **settings: Any
    ) -> Any:
      _BUDGET.get().spend()
      owner = getattr(function, "__self__", None)
      if isinstance(owner, str):
        if function.__name__ == "join":
          arguments = (_check_join(owner, *arguments),)
        elif function.__name__ == "replace":
          _check_replace(owner, *arguments[:2])
      return _checked(super().call(context, function, *arguments, **settings))

    def wrap_str_format(self, value: Any) -> None:
      """Leaves `str.format` to the check below."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
      if isinstance(obj, bytes | int | float):
        return False
      grows = isinstance(obj, str) and attr in GROWING
      return not grows and super().is_safe_attribute(obj, attr, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
      found = super().getitem(obj, argument)
      return _checked(found) if isinstance(argument, slice) else found

    def call_binop(
      self, context: Any, operator: str, left: Any, right: Any
    ) -> Any:
      if operator == "%" and isinstance(left, str):
        raise TypeError("% of a string")
      values = (left, right)
      if operator == "**" and max(map(_size, values)) > MAX_POWER:
        raise OverflowError("a power of large numbers")
      if operator == "*" and math.prod(map(_size, values)) > MAX_FACTOR:
        if any(isinstance(value, str | list | tuple) for value in values):
          raise OverflowError("a product with a long string or list")
        if max(map(_size, values)) > 2**63:
          raise OverflowError("a product of large numbers")
      return _checked(super().call_binop(context, operator, left, right))

    def concat(self, parts: Iterable[Any]) -> str:
      return _checked("".join(map(_text, parts)))

  @jinja2.pass_eval_context
  def join(
    evaluation: Any, value: Any, d: str = "", attribute: Any = None
  ) -> str:
    if attribute is None:
      value = _check_join(str(d), map(_text, value))
    return _checked(filters.do_join(evaluation, value, d, attribute))

  @jinja2.pass_eval_context
  def replace(
    evaluation: Any, s: str, old: str, new: str, count: int | None = None
  ) -> str:
    texts = [*map(_text, (s, old, new))]
    _check_replace(*texts)
    return filters.do_replace(evaluation, *texts, count)

  def round_number(
    value: float, precision: int = 0, method: Any = "common"
  ) -> float:
    if abs(precision) > MAX_DIGITS:
      raise OverflowError(f"a precision of more than {MAX_DIGITS} digits")
    return filters.do_round(value, precision, method)

  def refuse(message: str) -> None:
    raise jinja2.TemplateError(message)

  return Environment


def _measured(function: Any) -> Any:
  """Returns a filter whose result counts."""

  @functools.wraps(function)  # Keeps the arguments that Jinja passes.
  def call(*arguments: Any, **settings: Any) -> Any:
    result = function(*arguments, **settings)
    return (
      _counted(result) if isinstance(result, Iterator) else _checked(result)
    )

  return call


def _counted(items: Iterable[Any]) -> Iterator[Any]:
  """Yields items, each of which takes a step."""
  budget = _BUDGET.get()
  for item in items:
    budget.spend()
    yield item


def _size(value: Any) -> float:
  """Returns the length of a string or list, and the size of a number."""
  if isinstance(value, str | list | tuple):
    return len(value)
  return max(1, abs(value)) if isinstance(value, int | float) else 1


def _checked(value: Any) -> Any:
  """Returns a value whose length has been taken from the budget."""
  if isinstance(value, str | bytes | list | tuple):
    _BUDGET.get().make(len(value))
  return value


def _text(value: Any) -> Any:
  """Returns the text of a value, each part of which takes a step."""
  if isinstance(value, list | tuple | dict):
    _walk(value)
  return value if isinstance(value, str) else _checked(str(value))


def _walk(value: Any) -> None:
  """Takes a step for each part of a value, the same ones again as well."""
  budget, stack = _BUDGET.get(), [value]
  while stack:
    budget.spend()
    part = stack.pop()
    if isinstance(part, dict):
      stack += [*part, *part.values()]
    elif isinstance(part, list | tuple):
      stack += part
    elif isinstance(part, str):
      budget.make(len(part))


def _check_join(separator: str, items: Iterable[Any]) -> list[Any]:
  texts = list(_counted(items))
  size = sum(len(text) for text in texts if isinstance(text, str))
  _BUDGET.get().make(size + len(separator) * len(texts))
  return texts


def _check_replace(text: str, old: str, new: str) -> None:
  _BUDGET.get().make(len(text) + text.count(old) * len(new))


def _to_json(
  value: Any,
  ensure_ascii: bool = False,
  indent: int | None = None,
  separators: tuple[str, str] | None = None,
  sort_keys: bool = False,
) -> str:
  """Returns JSON without the escapes of HTML that Jinja would add."""
  _walk(value)
  if indent is not None and _size(indent) > MAX_DIGITS:
    raise OverflowError(f"an indentation above {MAX_DIGITS}")
  text = json.dumps(
    value,
    ensure_ascii=ensure_ascii,
    indent=indent,
    separators=separators,
    sort_keys=sort_keys,
  )
  return _checked(text)
