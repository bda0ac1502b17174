"""The sandbox of Jinja in which chat templates of any origin run.

Jinja's own sandbox keeps templates from Python's internals. This one also
bounds what they count and what they write: no loop, recursion, product, format
or replacement takes long or much memory.
"""

import functools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from dlcore.errors import UserError, install_hint

MAX_TEXT = 1 << 24
"""Characters of a string, or items of a list."""

MAX_STEPS = 1_000_000
"""Turns of loops and calls in one run."""

MAX_POWER = 1 << 10
"""Size of a number that is raised, and of an exponent."""

BUDGET = "_budget"
"""Name of the steps that are left among the variables of a template."""

FILTERS = (
  *("abs", "attr", "batch", "capitalize", "count", "d", "default", "dictsort"),
  *("e", "escape", "first", "float", "int", "items", "join", "last", "length"),
  *("list", "lower", "map", "max", "min", "reject", "rejectattr", "replace"),
  *("reverse", "round", "safe", "select", "selectattr", "sort", "string"),
  *("sum", "title", "trim", "unique", "upper", "wordcount"),
)
"""Jinja's filters whose results are not much longer than their arguments, or
that are bounded here."""

GROWING = (
  *("center", "expandtabs", "format", "format_map", "ljust", "rjust"),
  *("translate", "zfill"),
)
"""Methods of strings whose result may be of any length."""


class Budget:
  """The steps that a run of a template has left."""

  def __init__(self):
    self._left = MAX_STEPS

  def spend(self) -> None:
    """Takes one step.

    Raises:
      OverflowError: none is left.
    """
    self._left -= 1
    if self._left < 0:
      raise OverflowError(f"more than {MAX_STEPS:,} turns of loops and calls")

  def counted(self, items: Iterable[Any]) -> Iterator[Any]:
    """Yields items, each of which takes a step."""
    for item in items:
      self.spend()
      yield item


@functools.cache
def environment_class() -> Any:
  """Returns the class of environments, `(begin mark, end mark)`.

  It has the settings, filters and functions that transformers gives to chat
  templates. The text of `{% generation %}` is put between both marks.

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
      self.write("environment.concatenate((")
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
        extensions=[Generation, ext.loopcontrols],
      )
      self.begin, self.end = begin, end
      self.filters = {
        **{name: filters.FILTERS[name] for name in FILTERS},
        "join": join,
        "replace": replace,
        "tojson": _to_json,
        "_counted": counted,
      }
      del self.globals["lipsum"]
      self.globals["raise_exception"] = refuse

    def _parse(self, *arguments: Any) -> Any:
      """Returns the nodes of a source, whose loops are counted."""
      tree = super()._parse(*arguments)
      for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None)
      return tree

    def call(
      self, context: Any, function: Any, *arguments: Any, **settings: Any
    ) -> Any:
      context[BUDGET].spend()
      owner = getattr(function, "__self__", None)
      if isinstance(owner, str):
        if function.__name__ == "join":
          arguments = (_check_join(owner, *arguments),)
        elif function.__name__ == "replace":
          _check_replace(owner, *arguments[:2])
      return super().call(context, function, *arguments, **settings)

    def wrap_str_format(self, value: Any) -> None:
      """Leaves `str.format` to the check below."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
      grows = isinstance(obj, str) and attr in GROWING
      return not grows and super().is_safe_attribute(obj, attr, value)

    def call_binop(
      self, context: Any, operator: str, left: Any, right: Any
    ) -> Any:
      if operator == "%" and isinstance(left, str):
        raise TypeError("% of a string")
      if operator in ("*", "**"):
        sizes = [_size(value) for value in (left, right)]
        is_power = operator == "**"
        size = max(sizes) if is_power else math.prod(sizes)
        _check_size(size, MAX_POWER if is_power else MAX_TEXT)
      result = super().call_binop(context, operator, left, right)
      return _checked(result)

    def concatenate(self, parts: tuple[Any, ...]) -> str:
      texts = [*map(str, parts)]
      _check_size(sum(map(len, texts)), MAX_TEXT)
      return "".join(texts)

  @jinja2.pass_context
  def counted(context: Any, items: Any) -> Iterator[Any]:
    return context[BUDGET].counted(items)

  @jinja2.pass_eval_context
  def join(
    evaluation: Any, value: Any, d: str = "", attribute: Any = None
  ) -> str:
    if attribute is None:
      value = _check_join(str(d), map(str, value))
    return filters.do_join(evaluation, value, d, attribute)

  @jinja2.pass_eval_context
  def replace(
    evaluation: Any, s: str, old: str, new: str, count: int | None = None
  ) -> str:
    _check_replace(str(s), str(old), str(new))
    return filters.do_replace(evaluation, s, old, new, count)

  def refuse(message: str) -> None:
    raise jinja2.TemplateError(message)

  return Environment


def _check_size(size: float, limit: int) -> None:
  if size > limit:
    raise OverflowError(f"a value of a size above {limit:,}")


def _size(value: Any) -> float:
  """Returns the length of a string or list, and the size of a number."""
  if isinstance(value, str | list | tuple):
    return len(value)
  return max(1, abs(value)) if isinstance(value, int | float) else 1


def _checked(value: Any) -> Any:
  if isinstance(value, str | list | tuple):
    _check_size(len(value), MAX_TEXT)
  return value


def _check_join(separator: str, items: Iterable[Any]) -> list[Any]:
  texts = list(items)
  size = sum(len(text) for text in texts if isinstance(text, str))
  _check_size(size + len(separator) * len(texts), MAX_TEXT)
  return texts


def _check_replace(text: str, old: str, new: str) -> None:
  _check_size(len(text) + text.count(old) * len(new), MAX_TEXT)


def _to_json(
  value: Any,
  ensure_ascii: bool = False,
  indent: int | None = None,
  separators: tuple[str, str] | None = None,
  sort_keys: bool = False,
) -> str:
  """Returns JSON without the escapes of HTML that Jinja would add."""
  _check_size(0 if indent is None else _size(indent), 16)
  return json.dumps(
    value,
    ensure_ascii=ensure_ascii,
    indent=indent,
    separators=separators,
    sort_keys=sort_keys,
  )
