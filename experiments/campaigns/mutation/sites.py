"""Small changes of a source file, each of which should fail a test."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

COMPARISONS = {
  ast.Lt: ("<", "<="),
  ast.LtE: ("<=", "<"),
  ast.Gt: (">", ">="),
  ast.GtE: (">=", ">"),
  ast.Eq: ("==", "!="),
  ast.NotEq: ("!=", "=="),
  ast.In: ("in", "not in"),
  ast.NotIn: ("not in", "in"),
  ast.Is: ("is", "is not"),
  ast.IsNot: ("is not", "is"),
}
ARITHMETIC = {
  ast.Add: ("+", "-"),
  ast.Sub: ("-", "+"),
  ast.Mult: ("*", "/"),
  ast.Div: ("/", "*"),
  ast.FloorDiv: ("//", "*"),
  ast.Mod: ("%", "*"),
  ast.Pow: ("**", "*"),
}
FUNCTIONS = {
  "all": "any",
  "any": "all",
  "ceil": "floor",
  "floor": "ceil",
  "max": "min",
  "maximum": "minimum",
  "mean": "sum",
  "min": "max",
  "minimum": "maximum",
  "ones": "zeros",
  "ones_like": "zeros_like",
  "sum": "mean",
  "zeros": "ones",
  "zeros_like": "ones_like",
}
Node = ast.stmt | ast.expr
MESSAGES = ("UserError", "warning", "info", "debug")
"""Calls whose arguments are text for people."""


class Site(NamedTuple):
  """One mutant: `text[start:stop]` of a file becomes `new`."""

  path: str
  first_line: int
  last_line: int
  start: int
  stop: int
  old: str
  new: str

  def apply(self, text: str) -> str:
    """Returns the text of the mutated file."""
    assert text[self.start : self.stop] == self.old
    return text[: self.start] + self.new + text[self.stop :]

  def mutated_line(self, text: str) -> str:
    """Returns the line of the mutated file that has the change."""
    mutated = self.apply(text)
    start = mutated.rfind("\n", 0, self.start) + 1
    stop = mutated.find("\n", self.start + len(self.new))
    return mutated[start:stop].strip()


def find_sites(root: Path, path: Path) -> list[Site]:
  """Returns all mutants of a file whose text is still valid Python."""
  text = path.read_text()
  finder = _Finder(text)
  finder.visit(ast.parse(text))
  name = str(path.relative_to(root))
  sites = (Site(name, *change) for change in finder.changes)
  return [site for site in sites if _is_valid(site.apply(text))]


class _Finder(ast.NodeVisitor):
  """Collects `(first line, last line, start, stop, old, new)`."""

  def __init__(self, text: str):
    self.changes: list[tuple[int, int, int, int, str, str]] = []
    self._text = text
    lines = text.splitlines(keepends=True)
    self._offsets = [0]
    for line in lines:
      self._offsets.append(self._offsets[-1] + len(line))
    self._lines = lines

  def visit_Compare(self, node: ast.Compare) -> None:
    left = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
      self._between(left, right, *COMPARISONS[type(operator)])
      left = right
    self.generic_visit(node)

  def visit_BinOp(self, node: ast.BinOp) -> None:
    texts = (ast.JoinedStr, ast.List, ast.Tuple)
    operands = (node.left, node.right)
    is_text = any(
      isinstance(side, texts)
      or (isinstance(side, ast.Constant) and isinstance(side.value, str))
      for side in operands
    )
    if type(node.op) in ARITHMETIC and not is_text:
      self._between(*operands, *ARITHMETIC[type(node.op)])
    self.generic_visit(node)

  def visit_BoolOp(self, node: ast.BoolOp) -> None:
    pair = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    if len(node.values) == 2:
      left, right = node.values
      self._between(left, right, *pair)
    self.generic_visit(node)

  def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
    if isinstance(node.op, (ast.Not, ast.USub)):
      start, stop = self._start(node), self._start(node.operand)
      self._add(node, start, stop, "")
    self.generic_visit(node)

  def visit_Constant(self, node: ast.Constant) -> None:
    value = node.value
    if isinstance(value, bool):
      self._replace(node, str(not value))
    elif isinstance(value, int):
      self._replace(node, str(value + 1))
    elif isinstance(value, float):
      self._replace(node, repr(2 * value if value else 1.0))

  def visit_Call(self, node: ast.Call) -> None:
    function = node.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    if name in MESSAGES:
      return
    if name in FUNCTIONS:
      stop = self._stop(function)
      self._add(node, stop - len(name), stop, FUNCTIONS[name])
    self.generic_visit(node)

  def visit_Expr(self, node: ast.Expr) -> None:
    if isinstance(node.value, ast.Call):
      self._replace(node, "pass")
      self.generic_visit(node)

  def visit_AugAssign(self, node: ast.AugAssign) -> None:
    self._replace(node, "pass")
    self.visit(node.value)

  def visit_If(self, node: ast.If) -> None:
    self._replace(node.test, f"not ({ast.unparse(node.test)})")
    self.generic_visit(node)

  def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
    """Leaves texts alone."""

  def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
    if node.value is not None:
      self.visit(node.value)

  def visit_arg(self, node: ast.arg) -> None:
    """Leaves annotations alone."""

  def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
    for part in (*node.decorator_list, node.args, *node.body):
      self.visit(part)

  def _between(
    self, left: ast.expr, right: ast.expr, old: str, new: str
  ) -> None:
    """Replaces the operator between two operands."""
    start, stop = self._stop(left), self._start(right)
    at = self._text.find(old, start, stop)
    if at >= 0:
      self._add(left, at, at + len(old), new, last=right)

  def _replace(self, node: Node, new: str) -> None:
    self._add(node, self._start(node), self._stop(node), new)

  def _add(self, node, start: int, stop: int, new: str, last=None) -> None:
    lines = node.lineno, (last or node).end_lineno
    self.changes.append((*lines, start, stop, self._text[start:stop], new))

  def _start(self, node: Node) -> int:
    return self._offset(node.lineno, node.col_offset)

  def _stop(self, node: Node) -> int:
    line, column = node.end_lineno, node.end_col_offset
    assert line is not None  # Nodes of a parser have an end.
    assert column is not None
    return self._offset(line, column)

  def _offset(self, line: int, column: int) -> int:
    """Returns the position of a UTF-8 column in the text."""
    before = self._lines[line - 1].encode()[:column]
    return self._offsets[line - 1] + len(before.decode())


def _is_valid(text: str) -> bool:
  try:
    ast.parse(text)
  except SyntaxError:
    return False
  return True


def sites_of(root: Path, packages: Sequence[str]) -> Iterator[Site]:
  """Yields the mutants of all files of some packages, sorted by file."""
  for package in packages:
    for path in sorted((root / "dlcore" / package).rglob("*.py")):
      if path.name != "__init__.py":
        yield from find_sites(root, path)
