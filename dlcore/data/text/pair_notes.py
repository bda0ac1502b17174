"""Notes on pairs: truncated and inexact ones, vocabularies."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.info import IGNORED, IS_EXACT, LABELS, TOKENS
from dlcore.data.source import Arrays, gather
from dlcore.data.split_plan import Plan
from dlcore.data.text.pair_schema import PairSchema
from dlcore.data.text.reference_texts import normalized
from dlcore.data.text.text_encoding import MASK, EncodedTexts
from dlcore.data.text.text_parts import TextPart
from dlcore.data.text.text_schema import describe_long, describe_splits
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.tokenizer import Tokenizer


class PairTokenizers(NamedTuple):
  """The tokenizers of both sides of pairs."""

  source: Tokenizer
  target: Tokenizer | None
  """None if the targets have that of the sources."""


def are_exact(
  targets: Sequence[str], encoded: EncodedTexts, schema: PairSchema
) -> np.ndarray:
  """Returns whether the tokens of each target are its text, uint8 `[N]`."""
  tokenizer = schema.output_tokenizer
  values, offsets = encoded.ids
  pieces = itertools.pairwise(offsets.tolist())
  return np.array(
    [
      tokenizer.decode(values[start:stop].tolist())
      == normalized(text, tokenizer)
      for text, (start, stop) in zip(targets, pieces, strict=True)
    ],
    np.uint8,
  )


def describe_inexact(exact: Mapping[str, Arrays], plan: Plan) -> list[str]:
  """Returns a note on the targets whose tokens are another text."""
  masks = {k: gather(exact, v)[IS_EXACT] == 0 for k, v in plan.rows.items()}
  if not any(mask.any() for mask in masks.values()):
    return []
  return [
    f"the tokens of {describe_splits(masks)} are not the target's text, for "
    "unknown symbols, other spaces or a cut: they are never an exact match"
  ]


def report_long(
  parts: Mapping[str, TextPart],
  sides: Mapping[str, tuple[EncodedTexts, EncodedTexts]],
  plan: Plan,
  settings: TextSettings,
) -> list[str]:
  """Returns a note on the pairs that are truncated, or raises a UserError."""
  most, long, size, by_part = settings.max_length, [], 0, {}
  for part, both in sides.items():
    lengths = np.maximum(*(side.full_lengths for side in both))
    by_part[part] = {"": lengths}
    size += len(lengths)
    long += [
      (parts[part].names[i], describe_long(lengths[i], most))
      for i in np.flatnonzero(lengths > most).tolist()
    ]
  if settings.on_long == "error":
    return bad_examples.report(
      long,
      "error",
      noun="pairs that are too long",
      expected=f"expected sources and targets of at most {most:,} tokens",
      remedy='increase max_length, or set on_long="truncate"',
      empty=False,
    )
  if not long:
    return []
  by_split = describe_splits(
    {k: gather(by_part, rows)[""] > most for k, rows in plan.rows.items()}
  )
  return [
    f"{len(long):,} of {size:,} pairs are truncated to {most:,} tokens: "
    f"{by_split}"
  ]


def describe_tokens(
  tokenizers: PairTokenizers, splits: Mapping[str, Arrays]
) -> str:
  """Returns a note on the vocabularies and on the tokens outside of them."""
  source, target = tokenizers.source, tokenizers.target
  size = f"{source.vocab_size:,}"
  both = f"{size} and {target.vocab_size:,}" if target else size
  shares = []
  for split, part in splits.items():
    sides = (
      (part[TOKENS][part[MASK] > 0], source),
      (part[LABELS][part[LABELS] != IGNORED], target or source),
    )
    rates = (f"{np.mean(ids == t.unknown_id):.1%}" for ids, t in sides)
    shares.append(f"{' and '.join(rates)} of {split}")
  return (
    f"{both} ids of sources and targets; unknown are {', '.join(shares)}, of "
    "source and target"
  )
