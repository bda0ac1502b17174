"""Damages to the content of files of texts."""

import json
import random
from typing import Any

from hostile_inputs.case import EXTREMES, digits, nested
from hostile_inputs.text_cases import damaged

TABLES = ("table", "table of pairs", "similar texts")
JSON = ("JSON lines", "running JSON", "tags in JSON", "chats")
STRANGE = (
  *("\0", "\x1a", "\x7f", "\x85", "\x0b", "\ufffd", "\ufeff", "\u2028"),
  *("\u200d" * 9, "e" + "\u0301" * 999, "\u202e", "\U0001f642" * 9, "\t"),
  *("\U000e0001", "\U0001d518", "漢字" * 50, "İ" * 50, "ß", "a" * 200_000),
  *("\\", '"', "'", "=1+1", "\u2063", "#", ",", ";"),
)
"""Characters that a vocabulary, a parser or lower case may not expect."""


@damaged()
def empty(content: str, generator: random.Random) -> str:
  """Nothing, white space, or lines without a text."""
  first = content.splitlines()[0]
  return generator.choice(
    ("", "\n", " \t\n \n", first, f"{first}\n", f"{first}\n,\n , \n",
     "\n" * 999, "\ufeff", "\u200b\n", '""\n""\n', "{}\n", "[]\n", "null\n")
  )  # fmt: skip


@damaged()
def empty_cells(content: str, generator: random.Random) -> str:
  """Some or all lines without a text, a token or a target."""
  lines = content.splitlines()
  for _ in range(generator.choice((1, 5, 500))):
    at = generator.randrange(1, len(lines)) if len(lines) > 1 else 0
    first, comma, last = lines[at].partition(",")
    lines[at] = generator.choice(
      (f"{comma}{last}", f"{first}{comma}", comma, "", f" {comma} ", "\t", '""')
    )
  return "\n".join(lines) + "\n"


@damaged()
def long(content: str, generator: random.Random) -> str:
  """A text, a word or a line that is longer than any context."""
  word = generator.choice(("a", "a ", "é", "字", "\u0301", "a\n", "a\n\n"))
  count = generator.choice((600, 20_000, 500_000))
  at = content.find(" ", generator.randrange(len(content)))
  return content[:at] + word * count + content[at:]


@damaged()
def strange(content: str, generator: random.Random) -> str:
  """Characters that are rare, invisible, combined or control something."""
  for _ in range(generator.choice((1, 3, 30))):
    at = generator.randrange(len(content) + 1)
    content = content[:at] + generator.choice(STRANGE) + content[at:]
  return content


@damaged(*JSON)
def surrogates(content: str, generator: random.Random) -> str:
  """Escapes of JSON that are no characters."""
  escape = generator.choice(
    ("\\ud800", "\\udfff\\ud800", "\\u0000", "\\uffff", "\\ud83d\\ude42")
  )
  return content.replace("the ", f"the {escape} ", generator.choice((1, 99)))


@damaged(expect="refused")
def encoding(content: str, generator: random.Random) -> bytes:
  """Another encoding than UTF-8, in a file that has no mark of it."""
  name = generator.choice(
    ("latin-1", "cp1252", "utf-16-le", "utf-16-be", "utf-32-le", "cp037")
  )
  if name.startswith("utf"):  # Whose bytes are valid UTF-8.
    return content.encode("ascii", "ignore").decode().encode(name)
  return ("é" + content).encode(name, "replace")


@damaged(expect="same")
def mark(content: str, generator: random.Random) -> bytes:
  """A byte order mark, with the encoding that it names, and line ends."""
  end = generator.choice(("\n", "\r\n"))
  name = generator.choice(("utf-8-sig", "utf-16", "utf-8"))
  return content.replace("\n", end).encode(name)


@damaged()
def line_ends(content: str, generator: random.Random) -> bytes:
  """Unusual or mixed line ends, and marks in places where none belongs."""
  ends = ("\r", "\r\n", "\n\r", "\x0b", "\u2028", "\x85", "\r\r\n", "\x0c")
  parts = content.split("\n")
  mixed = generator.random() < 0.5
  end = generator.choice(ends)
  text = parts[0] + "".join(
    (generator.choice((end, "\n")) if mixed else end) + part
    for part in parts[1:]
  )
  return generator.choice(("", "\ufeff\ufeff", "\n\ufeff")).encode() + (
    text.encode()
  )


@damaged(*JSON)
def broken(content: str, generator: random.Random) -> str:
  """Lines of JSON that are cut, deep, of another type or repeated."""
  lines = content.splitlines()
  row = json.loads(lines[0])
  key = generator.choice(sorted(row))
  others = [{**row, key: value} for value in EXTREMES if _is_json(value)]
  first = lines[0]
  text = generator.choice(
    (first[:-3], nested(generator.choice((900, 100_000))), "{", "NaN", "\0",
     f'{{"{key}": {digits(generator)}}}', first * 2, first.replace('"', "'"),
     f"{first[:-1]}, {first[1:]}", f"[{first}]",
     *[json.dumps(generator.choice(others))] * 6)
  )  # fmt: skip
  if generator.random() < 0.3:
    return (text + "\n") * generator.choice((1, 40))
  lines[generator.randrange(len(lines))] = text
  return "\n".join(lines) + "\n"


def _is_json(value: Any) -> bool:
  return not isinstance(value, str) or "\ud800" not in value


@damaged(*TABLES, *JSON, expect="refused")
def missing_column(content: str, generator: random.Random) -> str:
  """Another name in place of that of a column."""
  first, _, rest = content.partition("\n")
  is_json = first.startswith("{")
  names = list(json.loads(first)) if is_json else first.split(",")
  old = generator.choice(names)
  new = generator.choice((old.upper(), f"{old} 2", "é", f"{old}."))
  if is_json:
    return content.replace(f'"{old}"', json.dumps(new))
  return f"{first.replace(old, new)}\n{rest}"


@damaged("table", "JSON lines")
def one_class(content: str, generator: random.Random) -> str:
  """The same class everywhere, which a note reports."""
  del generator
  return content.replace("bad", "good")


@damaged("CoNLL", "tags in JSON", expect="refused")
def one_tag(content: str, generator: random.Random) -> str:
  """The same tag everywhere."""
  del generator
  lines = []
  for line in content.splitlines():
    if line.startswith("{"):
      row = json.loads(line)
      line = json.dumps({**row, "tags": ["N"] * len(row["tags"])})
    elif line:
      line = line.partition("\t")[0] + "\tN"
    lines.append(line)
  return "\n".join(lines) + "\n"


@damaged("parallel files", expect="refused")
def unequal_files(content: str, generator: random.Random) -> str:
  """Parallel files of which one has a line more, or fewer."""
  lines = content.splitlines()
  at = generator.randrange(len(lines))
  new = generator.choice(([], [lines[at], "again"], [lines[at]] * 50))
  return "\n".join([*lines[:at], *new, *lines[at + 1 :]]) + "\n"


@damaged("CoNLL", "tags in JSON", expect="refused")
def unequal_tags(content: str, generator: random.Random) -> str:
  """A sequence with a token more than tags, or fewer."""
  lines = content.splitlines()
  at = generator.choice([i for i, line in enumerate(lines) if line.strip()])
  if lines[at].startswith("{"):
    row = json.loads(lines[at])
    key = generator.choice(("tokens", "tags"))
    row[key] = generator.choice((row[key][1:], row[key] * 2, []))
    lines[at] = json.dumps(row)
  else:
    word = lines[at].partition("\t")[0]
    lines[at] = generator.choice((word, f"{lines[at]}\tX", f"{word}\t"))
  return "\n".join(lines) + "\n"
