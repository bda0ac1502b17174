"""From pairs of similar texts to splits: scores, division, token ids."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.array_source import from_arrays
from dlcore.data.info import (
  SCORE,
  SECOND_MASK,
  SECOND_TOKENS,
  TEXT_IDS,
  TOKENS,
)
from dlcore.data.source import Arrays, Splits, gather
from dlcore.data.split_plan import name_examples
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tables.column_types import infer
from dlcore.data.tables.target_column import encode_target, infer_target
from dlcore.data.text.pair_building import (
  ROUND_TO,
  plan_pairs,
  side_texts,
)
from dlcore.data.text.pair_files import Columns, read_pair_table, read_pairs
from dlcore.data.text.pair_notes import report_long
from dlcore.data.text.similar_schema import SimilarSchema
from dlcore.data.text.text_encoding import MASK, encode_texts
from dlcore.data.text.text_parts import TextPart, without_empty
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.tokenizer import make_tokenizer
from dlcore.errors import UserError


def read_similar(
  path: Path,
  columns: Columns,
  rule: SplitSettings,
  on_bad: str,
  *,
  score: str = "",
  largest_score: float = 1.0,
) -> tuple[TextPart, list[str]]:
  """Reads pairs, and their scores if `score` names a column.

  Args:
    path: see `pair_files.pair_files`.
    columns: the names of both texts.
    rule: names the columns of groups, times and splits.
    on_bad: `"skip"` drops malformed rows, `"error"` lists them.
    score: the column of the scores, or empty.
    largest_score: divides them.

  Returns:
    The pairs, with `score` among their targets, and notes for the user.

  Raises:
    UserError: see `pair_files.read_pairs`; a score is no number, or out of
      range.
  """
  if not score:
    return read_pairs(path, columns, rule, on_bad)
  if not path.exists():
    raise UserError(
      f"expected a table with the scores {score!r} of its pairs",
      f"got no file {str(path)!r}",
      "leave score empty for parallel files, whose pairs are all similar",
    )
  table, part, notes = read_pair_table(path, columns, rule, on_bad, [score])
  column = table.columns[score]
  found = infer(column, table.decimal)
  target = infer_target(score, column, found, "regression")
  values, known, _ = encode_target(target, table.columns)
  notes += bad_examples.report(
    [(part.names[i], "no score") for i in np.flatnonzero(~known).tolist()],
    "skip",
    noun="pairs without a score",
    expected=f"expected a score in some rows of {path}",
    remedy="choose another column as the score",
    empty=not known.any(),
  )
  scaled = values / largest_score
  outside = np.flatnonzero(known & ~(np.abs(scaled) <= 1))
  if len(outside):
    greatest = float(np.abs(values[known]).max())
    raise UserError(
      f"expected scores {score!r} of at most largest_score={largest_score:g}",
      f"got {values[outside[0]]:g} in {part.names[outside[0]]}",
      f"set largest_score={greatest:g}, which divides the scores",
    )
  part = part._replace(targets={SCORE: scaled.astype(np.float32)})
  return part.take(np.flatnonzero(known)), [*table.notes, *notes]


def build_similar(
  parts: Mapping[str, TextPart],
  settings: TextSettings,
  name: str,
  *,
  column: str = "first",
  notes: Sequence[str] = (),
) -> Splits:
  """Returns the splits of pairs, whose second texts are `TextPart.pairs`.

  Both texts of a pair have as many positions as the longest text needs.

  Args:
    parts: the pairs of `"train"` and, if the data set has them, of `"valid"`
      and `"test"`.
    settings: of tokens and splits.
    name: of the data set.
    column: name of the column of the first texts.
    notes: sentences for the user.

  Raises:
    UserError: a split has no pairs, a text is too long for on_long="error", or
      see `make_plan` and `make_tokenizer`.
  """
  parts, of_empty = without_empty(parts)
  plan = plan_pairs(parts, settings)
  tokenizer = make_tokenizer(
    settings.tokenizer,
    side_texts(parts, plan.rows["train"], (0, 1)),
    vocab_size=settings.vocab_size,
    min_count=settings.min_count,
    lowercase=settings.lowercase,
  )
  most = settings.max_length
  if most <= tokenizer.frame(pair=False).size:
    raise UserError(
      f"expected max_length above {tokenizer.frame(pair=False).size}, for the "
      f"special tokens of {settings.tokenizer}",
      f"got {most}",
    )
  sides = {
    part: (
      encode_texts(content.texts, None, tokenizer, most),
      encode_texts(content.pairs or (), None, tokenizer, most),
    )
    for part, content in parts.items()
  }
  of_long = report_long(parts, sides, plan, settings)
  lengths = {
    part: np.maximum(*(side.ids.lengths for side in both))
    for part, both in sides.items()
  }
  longest = max(int(part.max()) for part in lengths.values())
  schema = SimilarSchema(
    target=SCORE if SCORE in parts["train"].targets else SECOND_TOKENS,
    tokenizer=tokenizer,
    vocab_size=tokenizer.vocab_size,
    columns=(column,),
    max_length=min(-(-longest // ROUND_TO) * ROUND_TO, most),
    prediction_length=most,
    on_long=settings.on_long,
    sequences=(TOKENS, MASK, SECOND_TOKENS, SECOND_MASK),
  )
  ids = _text_ids(parts)
  arrays: dict[str, Arrays] = {}
  for part, both in sides.items():
    rows = np.arange(len(lengths[part]))
    (first, mask), (second, second_mask) = (
      side.ids.padded(rows, schema.max_length, tokenizer.pad_id)
      for side in both
    )
    arrays[part] = {
      TOKENS: first,
      MASK: mask.astype(np.uint8),
      SECOND_TOKENS: second,
      SECOND_MASK: second_mask.astype(np.uint8),
      TEXT_IDS: ids[part],
      **parts[part].targets,
    }
  notes = [*notes, *of_empty, *plan.notes, *of_long]
  notes.append(f"tokenizer {tokenizer.kind!r}: {tokenizer.vocab_size:,} ids")
  by_part = {part: {"length": array} for part, array in lengths.items()}
  sources = {
    split: from_arrays(
      gather(arrays, rows),
      name=name,
      schema=schema,
      notes=notes,
      lengths=gather(by_part, rows)["length"],
    )
    for split, rows in plan.rows.items()
  }
  names = {part: np.asarray(p.names) for part, p in parts.items()}
  sizes = {part: len(content.texts) for part, content in parts.items()}
  return name_examples(Splits(**sources), plan, names, sizes)


def _text_ids(parts: Mapping[str, TextPart]) -> dict[str, np.ndarray]:
  """Returns numbers of both texts of each pair, equal for equal texts."""
  numbers: dict[str, int] = {}
  return {
    part: np.array(
      [
        [numbers.setdefault(text, len(numbers)) for text in pair]
        for pair in zip(content.texts, content.pairs or (), strict=True)
      ],
      np.int32,
    )
    for part, content in parts.items()
  }
