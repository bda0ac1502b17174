"""Mixtures of several sources by weights."""

import functools
import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import numpy as np

from dlcore.data.info import DataInfo, Schema
from dlcore.data.normalization import with_sampled_statistics, with_statistics
from dlcore.data.order import permutation
from dlcore.data.source import (
  Arrays,
  ReadRows,
  Source,
  check_same,
  take_rows,
)
from dlcore.data.stream import read_several
from dlcore.errors import UserError

MAX_GROWTH = 2.0
"""Size of the mixture relative to its parts up to which it is in memory."""


def mix(*parts: tuple[Source, float]) -> Source:
  """Returns a source that mixes several sources by weights.

  Example: `mix((english, 0.7), (german, 0.3))`

  Its size is that of the smallest epoch in which every example occurs and
  every source has its exact share, up to one example. The examples of
  oversampled sources repeat; if the repetitions are not an integer, a fixed
  random part of the source occurs once more than the rest. The statistics are
  those of the mixture, unless all parts have the same or none, and the
  vocabulary is the largest. If all parts are in memory and repetition at most
  doubles their size, so is the mixture; otherwise it is streamed.

  Args:
    *parts: pairs (source, weight). The weights are positive and are divided by
      their sum. The sources have the same inputs, target and classes.

  Raises:
    UserError: a part is not a pair, a weight is not positive, or the sources
      differ.
  """
  if any(isinstance(part, Source) or len(part) != 2 for part in parts):
    raise UserError(
      "expected pairs (source, weight) to mix",
      f"got {', '.join(map(repr, parts))}",
      "for example mix((first, 0.7), (second, 0.3))",
    )
  sources = [source for source, _ in parts]
  shares = _shares([weight for _, weight in parts])
  for source in sources[1:]:
    pair = _comparable(sources[0]), _comparable(source)
    check_same(*pair, names=(sources[0].info.name, source.info.name))
  counts = _counts([source.size for source in sources], shares)
  rows = [
    _repeated(source.size, count, stream)
    for stream, (source, count) in enumerate(zip(sources, counts, strict=True))
  ]
  reads = [source.read for source in sources]
  read = functools.partial(read_several, reads, rows, np.cumsum([0, *counts]))
  arrays = _in_memory([source.arrays for source in sources], rows)
  size = sum(counts)
  if arrays is not None:
    read = functools.partial(take_rows, arrays)
  first = sources[0].info
  info = DataInfo(
    name=_name(sources, shares),
    size=size,
    sha256=_checksum(sources, shares),
    inputs=first.inputs,
    notes=_notes(sources, counts),
    schema=_schema(sources, arrays, read, size),
    targets=first.targets,
  )
  return Source(size, arrays, read, info, _lengths(sources, rows))


def _shares(weights: Sequence[float]) -> list[Fraction]:
  """Returns the weights divided by their sum, exactly."""
  if not weights or not all(map(_is_positive, weights)):
    raise UserError(
      "expected positive weights of the sources to mix", f"got {weights}"
    )
  # Through the decimal digits, as 0.7 and 0.3 do not add up to 1 in binary.
  exact = [Fraction(str(float(weight))) for weight in weights]
  return [weight / sum(exact) for weight in exact]


def _is_positive(weight: Any) -> bool:
  try:
    return math.isfinite(weight) and weight > 0
  except TypeError:
    return False


def _counts(sizes: Sequence[int], shares: Sequence[Fraction]) -> list[int]:
  """Returns the number of rows of each source, at least its size."""
  total = math.ceil(
    max(size / share for size, share in zip(sizes, shares, strict=True))
  )
  ends = [0]
  for share in itertools.accumulate(shares):
    ends.append(round(total * share))
  counts = [int(stop - start) for start, stop in itertools.pairwise(ends)]
  return [max(count, size) for count, size in zip(counts, sizes, strict=True)]


def _repeated(size: int, count: int, stream: int) -> np.ndarray:
  """Returns `count` rows of `size` examples, int32, each as often as others."""
  repeats, rest = divmod(count, size)
  extra = np.sort(permutation(0, 0, size, stream)[:rest])
  repeated = np.tile(np.arange(size, dtype=np.int32), repeats)
  return np.concatenate([repeated, extra])


def _in_memory(
  parts: Sequence[Arrays | None], rows: Sequence[np.ndarray]
) -> Arrays | None:
  """Returns the arrays of the mixture, or None if it is to be streamed."""
  present = [part for part in parts if part is not None]
  if len(present) < len(parts):
    return None
  sizes = [sum(a.nbytes for a in part.values()) for part in present]
  grown = sum(
    size * len(chosen) / max(1, len(next(iter(part.values()))))
    for size, chosen, part in zip(sizes, rows, present, strict=True)
  )
  if grown > MAX_GROWTH * sum(sizes):
    return None
  return {
    name: np.concatenate(
      [part[name][chosen] for part, chosen in zip(present, rows, strict=True)]
    )
    for name in present[0]
  }


def _lengths(
  sources: Sequence[Source], rows: Sequence[np.ndarray]
) -> np.ndarray | None:
  lengths = [source.lengths for source in sources if source.lengths is not None]
  if not lengths:
    return None
  pairs = zip(lengths, rows, strict=True)
  return np.concatenate([part[chosen] for part, chosen in pairs])


def _schema(
  sources: Sequence[Source],
  arrays: Arrays | None,
  read: ReadRows,
  size: int,
) -> Schema:
  """Returns the schema of the mixture, with its own statistics."""
  schemas = [source.info.schema for source in sources]
  vocab_size = max(part.vocab_size or 0 for part in schemas) or None
  schemas = [replace(part, vocab_size=vocab_size) for part in schemas]
  schema = schemas[0]
  if all(part == schema for part in schemas):
    return schema
  if arrays is not None:
    return with_statistics(schema, arrays)
  return with_sampled_statistics(schema, read, size)[0]


def _comparable(source: Source) -> dict[str, Any]:
  """Returns the properties in which the parts of a mixture agree."""
  schema = source.info.schema
  names = {field.name for field in fields(schema)}
  names -= {"normalization", "target_normalization", "vocab_size"}
  properties = {
    "kind": schema.kind,
    **{name: getattr(schema, name) for name in sorted(names)},
    "inputs": dict(source.info.inputs),
    "lengths": source.lengths is not None,
  }
  # The arrays of a streamed source are unknown.
  if source.arrays is not None:
    properties["arrays"] = _specs(source.arrays)
  return properties


def _specs(arrays: Arrays) -> dict[str, str]:
  return {
    name: f"{array.dtype}{list(array.shape[1:])}"
    for name, array in sorted(arrays.items())
  }


def _name(sources: Sequence[Source], shares: Sequence[Fraction]) -> str:
  names = [
    f"{source.info.name} {float(share):.3g}"
    for source, share in zip(sources, shares, strict=True)
  ]
  return f"mix({', '.join(names)})"


def _checksum(sources: Sequence[Source], shares: Sequence[Fraction]) -> str:
  pairs = zip(sources, shares, strict=True)
  lines = [f"{source.info.sha256} {share}" for source, share in pairs]
  return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _notes(sources: Sequence[Source], counts: Sequence[int]) -> tuple[str, ...]:
  """Returns the notes of the parts, and one for each oversampled source."""
  notes = [note for source in sources for note in source.info.notes]
  for source, count in zip(sources, counts, strict=True):
    if count > source.size:
      notes.append(
        f"the {source.size:,} examples of {source.info.name} occur "
        f"{count / source.size:.3g} times on average in an epoch of the mixture"
      )
  return tuple(dict.fromkeys(notes))
