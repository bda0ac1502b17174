"""Sources of padded token ids, in memory or read by index."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from dlcore.data.array_source import from_arrays
from dlcore.data.info import (
  TOKENS,
  DataInfo,
  describe_inputs,
  describe_targets,
)
from dlcore.data.source import Source
from dlcore.data.stream import Stream, from_stream
from dlcore.data.text import ragged
from dlcore.data.text.text_encoding import (
  MASK,
  TYPES,
  EncodedTexts,
  TokenRows,
)
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.value_checks import check_values


def join_texts(parts: Sequence[EncodedTexts]) -> EncodedTexts:
  """Returns the texts of several parts, one behind the other."""
  if len(parts) == 1:
    return parts[0]
  seconds = [part.seconds for part in parts if part.seconds is not None]
  return EncodedTexts(
    ragged.join([part.ids for part in parts]),
    np.concatenate(seconds) if seconds else None,
    np.concatenate([part.full_lengths for part in parts]),
  )


def make_source(
  rows: TokenRows,
  schema: TextSchema,
  *,
  name: str,
  notes: Sequence[str],
  in_memory: bool,
) -> Source:
  """Returns the source of a split, with the lengths of its sequences.

  Args:
    rows: the split.
    schema: complete but for `sequences`.
    name: of the data set.
    notes: sentences for the user.
    in_memory: whether to pad all rows at once.
  """
  inputs = (TOKENS, MASK, TYPES) if schema.is_pair else (TOKENS, MASK)
  schema = dataclasses.replace(schema, sequences=inputs)
  lengths = rows.texts.ids.lengths
  if in_memory:
    return from_arrays(
      rows.arrays(), name=name, schema=schema, notes=notes, lengths=lengths
    )
  first = rows(np.arange(1))
  described = describe_inputs(first, TOKENS)
  schema.validate(described)
  check_values({**first, **rows.targets}, schema, name)
  info = DataInfo(
    name=name,
    size=0,
    sha256="",
    inputs=described,
    notes=tuple(notes),
    schema=schema,
    targets=describe_targets(first, described),
  )
  stream = Stream(rows, _checksums(rows), known=rows.targets)
  return from_stream(stream, info)._replace(lengths=lengths)


def _checksums(rows: TokenRows) -> list[str]:
  """Returns a checksum of the tokens and the targets of each row."""
  checksums = []
  values, offsets = rows.texts.ids
  for i in range(rows.size):
    digest = hashlib.blake2b(values[offsets[i] : offsets[i + 1]], digest_size=8)
    for array in rows.targets.values():
      digest.update(array[i].tobytes())
    checksums.append(digest.hexdigest())
  return checksums
