"""Checks of a tokenizer.json, which is not trusted, and of its library.

The library `tokenizers` is compiled from Rust. Its errors are plain exceptions,
and panics, which derive from `BaseException`.
"""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dlcore.errors import UserError
from dlcore.filesystem import first_line, parse_json, quoted

T = TypeVar("T")

MAX_ID = 2**31 - 1
"""Largest token id, an int32."""

MAX_VOCAB = 1 << 24
"""Limit of the ids of a vocabulary, over whose gaps the library iterates."""

MAX_EXPANSION = 256
"""Limit of the number of characters that replacements make of one, and of the
characters of a prefix or suffix of tokens."""

MAX_PIECES = 1024
"""Limit of the special tokens and other parts of a template."""

MAX_TOKENS = 2**31 - 1
"""Limit of the length of a sequence that is passed to the library."""

MAX_CUT = 1 << 20
"""Limit of the product of the tokens of a pair, over `max_length`: the numbers
that are cut off take a gigabyte."""

MAX_WORD = 10_000
"""Limit of `max_input_chars_per_word`; the time is quadratic in a word."""

PROBE = "\x01" * 8

AFFIXES = ("continuing_subword_prefix", "end_of_word_suffix", "prefix")


def call(function: Callable[[], T], expected: str, remedy: str) -> T:
  """Returns the result of a function of the library.

  Raises:
    UserError: it raised an exception or panicked.
  """
  try:
    return function()
  except (KeyboardInterrupt, SystemExit, MemoryError):
    raise
  except BaseException as error:
    name = type(error).__name__
    raise UserError(
      expected, f"got {name}: {first_line(error)}", remedy
    ) from error


def parse(content: bytes, library: Any) -> Any:
  """Returns the `tokenizers.Tokenizer` of a tokenizer.json.

  Args:
    content: of the file.
    library: the module `tokenizers`.

  Raises:
    ValueError: the content is invalid, or exceeds a limit of this module.
  """
  try:
    parsed = parse_json(
      content, strict=True
    )  # Parsers disagree about repeated names.
    check_ids(parsed)
    check_sizes(parsed)
    check_expansion(parsed, library)
    return call(lambda: library.Tokenizer.from_buffer(content), "", "")
  except UserError as error:
    *_, got = (line for line in error.lines if line.startswith("got "))
    raise ValueError(got.removeprefix("got ")) from error


def check_strings(texts: Iterable[Any]) -> None:
  """Checks that all texts are strings of valid Unicode.

  Raises:
    UserError: one is not.
  """
  for text in texts:
    try:
      text.encode()
    except (AttributeError, UnicodeError) as error:
      raise UserError(
        "expected texts that are strings of valid Unicode",
        f"got {quoted(text)}",
        "convert it, for example by str(x), or drop lone surrogates by "
        "text.encode(errors='ignore').decode()",
      ) from error


def check_pairs(
  inner: Any, texts: Sequence[str], pairs: Sequence[str], max_length: int
) -> None:
  """Checks the lengths of pairs that are truncated.

  The library keeps every combination of the parts that it cuts off, whose
  number is the product of those of both texts.

  Args:
    inner: the `tokenizers.Tokenizer`, without truncation.
    texts: B strings.
    pairs: B strings, or none.
    max_length: of a pair, 0 if it is not truncated.

  Raises:
    UserError: the product of the numbers of tokens of a pair exceeds
      `MAX_CUT` times `max_length`.
  """
  limit = MAX_CUT * max_length if max_length else math.inf
  for pair in zip(texts, pairs, strict=bool(pairs)):
    if math.prod(len(text.encode()) for text in pair) <= limit:
      continue  # A token has at least a byte.
    counts = [len(inner.encode(t, add_special_tokens=False)) for t in pair]
    if math.prod(counts) > limit:
      raise UserError(
        f"expected pairs whose numbers of tokens multiply to at most "
        f"{MAX_CUT:,} times max_length",
        f"got {counts[0]:,} and {counts[1]:,} tokens and {max_length=}",
        "shorten both texts first, for example by text[:100_000]",
      )


def id_rows(ids: Any) -> list[list[int]]:
  """Returns sequences of ids as lists.

  Raises:
    UserError: they are not integers `[B, T]` from 0 to the largest int32.
  """
  try:
    rows = [[operator.index(id_) for id_ in row] for row in ids]
    bad = [i for row in rows for i in row if not 0 <= i <= MAX_ID]
  except TypeError as error:
    raise UserError(
      "expected ids, integers [B, T]",
      f"got {quoted(ids)}: {first_line(error)}",
      "pass one sequence as [ids]",
    ) from error
  if bad:
    raise UserError(
      f"expected token ids from 0 to {MAX_ID}",
      f"got {bad[0]}",
      "replace the label of ignored tokens, often -100, by pad_id",
    )
  return rows


def vocabulary_ids(tokenizer: Mapping[str, Any]) -> dict[Any, Any]:
  """Returns the id of each token of a tokenizer.json, which is not trusted."""
  model = tokenizer.get("model")
  vocab = model.get("vocab") if isinstance(model, dict) else None
  if isinstance(vocab, list):  # Of Unigram: pairs of token and score.
    vocab = {
      row[0]: i
      for i, row in enumerate(vocab)
      if isinstance(row, list) and row and isinstance(row[0], str)
    }
  ids: dict[Any, Any] = dict(vocab) if isinstance(vocab, dict) else {}
  added = tokenizer.get("added_tokens")
  for token in added if isinstance(added, list) else []:
    if isinstance(token, dict) and isinstance(token.get("content"), str):
      ids[token["content"]] = token.get("id")
  return ids


def check_ids(tokenizer: Mapping[str, Any]) -> None:
  """Checks the size of ids, and that those of templates are in the vocabulary.

  Raises:
    ValueError: an id or a token type is too large, or has no token.
  """
  ids = set()
  for token, id_ in vocabulary_ids(tokenizer).items():
    if type(id_) is not int or not 0 <= id_ < MAX_VOCAB:
      raise ValueError(f"the id {quoted(id_)} of the token {quoted(token)}")
    ids.add(id_)
  pad_id = _object(tokenizer.get("padding")).get("pad_id", 0)
  if not isinstance(pad_id, int) or pad_id > MAX_ID:
    raise ValueError(f"the pad_id {quoted(pad_id)}")
  for part in _parts(tokenizer.get("post_processor")):
    for id_ in _template_ids(part):
      if type(id_) is not int or id_ not in ids:
        raise ValueError(
          f"a template with the id {quoted(id_)}, which no token has"
        )
    for type_id in _type_ids(part):
      if type_id > MAX_ID:
        raise ValueError(f"a template with the token type {type_id}")


def _type_ids(part: Mapping[str, Any]) -> Iterator[int]:
  """Yields the token types that a template assigns."""
  for name in ("single", "pair"):
    pieces = part.get(name)
    for piece in pieces if isinstance(pieces, list) else ():
      for item in _object(piece).values():
        if type(type_id := _object(item).get("type_id")) is int:
          yield type_id


def _template_ids(part: Mapping[str, Any]) -> Iterator[Any]:
  """Yields the ids that a post-processor adds."""
  for name in ("sep", "cls"):
    pair = part.get(name)
    if isinstance(pair, list) and len(pair) == 2:
      yield pair[1]
  for token in _object(part.get("special_tokens")).values():
    ids = _object(token).get("ids")
    if isinstance(ids, list):
      yield from (id_ for id_ in ids if type(id_) is int)


def check_sizes(tokenizer: Mapping[str, Any]) -> None:
  """Checks the number of special tokens, and sizes that take time.

  Raises:
    ValueError: one exceeds its limit.
  """
  for part in _parts(tokenizer.get("post_processor")):
    templates = (part.get("single"), part.get("pair"))
    size = max(len(t) if isinstance(t, list) else 0 for t in templates)
    _check_limit("a template of", size * _most_ids(part), MAX_PIECES)
  model = tokenizer.get("model")
  word = _object(model).get("max_input_chars_per_word")
  if isinstance(word, int):
    _check_limit("max_input_chars_per_word of", word, MAX_WORD)
  for part in (*_parts(model), *_parts(tokenizer.get("decoder"))):
    for key in AFFIXES:
      if isinstance(affix := part.get(key), str):
        _check_limit(f"{key} of", len(affix), MAX_EXPANSION)


def _most_ids(part: Mapping[str, Any]) -> int:
  """Returns the largest number of ids of a special token, at least 1."""
  tokens = _object(part.get("special_tokens")).values()
  ids = (_object(token).get("ids") for token in tokens)
  counts = [len(list_) for list_ in ids if isinstance(list_, list)]
  return max(counts, default=1) or 1


def check_expansion(tokenizer: Mapping[str, Any], library: Any) -> None:
  """Checks how many characters all replacements together make of one.

  Raises:
    ValueError: more than `MAX_EXPANSION`.
  """
  for key in ("normalizer", "pre_tokenizer", "decoder"):
    factor = math.prod(
      _expansion(part, library)
      for part in _parts(tokenizer.get(key))
      if part.get("type") == "Replace"
    )
    if factor > MAX_EXPANSION:
      raise ValueError(
        f"replacements in its {key} that make more than {MAX_EXPANSION} "
        "characters of one"
      )


def _expansion(part: Mapping[str, Any], library: Any) -> float:
  """Returns the number of characters that a replacement makes of one."""
  content, pattern = part.get("content"), _object(part.get("pattern"))
  text = pattern.get("String", "")
  if not isinstance(content, str) or not isinstance(text, str) or not pattern:
    return 1.0  # The library rejects it.
  if len(content) > MAX_EXPANSION * max(1, len(text)):
    return math.inf
  if text:
    return max(1.0, len(content) / len(text))
  regex = pattern.get("Regex", "")
  replaced = call(
    lambda: library.normalizers.Replace(
      library.Regex(regex) if regex else "", content
    ).normalize_str(PROBE),
    "expected a regular expression",
    "",
  )
  # A match of the empty string inserts the content between all characters.
  return max(1.0, len(content), len(replaced) / len(PROBE))


def _check_limit(name: str, size: int, limit: int) -> None:
  if size > limit:
    raise ValueError(f"{name} {size:,}, above {limit:,}")


def _object(value: Any) -> dict[str, Any]:
  """Returns a JSON object, and `{}` for any other value."""
  return value if isinstance(value, dict) else {}


def _parts(component: Any) -> Iterator[dict[str, Any]]:
  """Yields a component and those of sequences in it."""
  stack = [component]
  while stack:
    part = stack.pop()
    if isinstance(part, list):
      stack += part
    elif isinstance(part, dict):
      yield part
      for key in ("normalizers", "pretokenizers", "processors", "decoders"):
        stack.append(part.get(key))
