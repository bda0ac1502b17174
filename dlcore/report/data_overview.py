"""The data of a run: shapes, notes, class counts and examples."""

from collections.abc import Sequence

import numpy as np

from dlcore.report import markup, plots, png, texts
from dlcore.report.count_table import count_table
from dlcore.report.curves import split_order
from dlcore.report.data_arrays import spread
from dlcore.report.json_values import as_mapping, as_number
from dlcore.report.markup import Markup, tag
from dlcore.report.run import (
  Run,
  class_names,
  schema,
  target_offset,
  unit,
)
from dlcore.report.table_cells import shifted, to_cells
from dlcore.report_arrays import DATA_COUNTS, DATA_LENGTHS, DATA_TARGETS

MAX_DEPTH = 8
MAX_SPLITS = 6
MAX_NOTES = 8
"""Number of notes that are not folded."""

MAX_LENGTH = 400
"""Characters of a note."""

MAX_COLUMNS = 8
MAX_ROWS = 12
MAX_TEXTS, TEXTS_PER_ANSWER = 24, 3
"""Number of texts, and of those with the same label or target."""


def data(run: Run) -> Markup | None:
  """Returns shapes and sizes, notes, class counts and examples."""
  sizes = [*_inputs(run), *_splits(run)]
  parts = [
    markup.facts(sizes) if sizes else None,
    _notes(run),
    _grid([*_target_charts(run), *_length_charts(run)], "charts small"),
    _grid([_class_counts(run), _examples(run)], "charts"),
  ]
  if not any(parts):
    return None
  return markup.section("About the data", *filter(None, parts))


def _grid(figures: Sequence[Markup | None], style: str) -> Markup | None:
  """Returns the figures that exist, side by side."""
  content = list(filter(None, figures))
  return tag("div", *content, class_=style) if content else None


def _inputs(run: Run) -> list[tuple[str, object]]:
  """Returns name, shape and dtype of the arrays that the model reads.

  Version 0.1 stored those of a single array directly in `data.json`.
  """
  inputs = dict(as_mapping(run.data.get("inputs")))
  if "shape" in run.data:
    inputs[str(run.data.get("input", "input"))] = run.data
  pairs: list[tuple[str, object]] = []
  for name, described in list(inputs.items())[:MAX_SPLITS]:
    shape = as_mapping(described).get("shape")
    if isinstance(shape, list):
      sizes = [str(size) for size in shape[:MAX_DEPTH]]
      text = " \N{MULTIPLICATION SIGN} ".join(sizes)
      dtype = as_mapping(described).get("dtype", "")
      pairs.append((name, f"{text} {dtype}"))
  return pairs


def _splits(run: Run) -> list[tuple[str, object]]:
  """Returns the number of classes, and size and checksum of every split."""
  classes = schema(run, "classes")
  pairs: list[tuple[str, object]] = []
  if classes:
    pairs.append(("classes", f"{len(classes):,}"))
  splits = as_mapping(run.data.get("splits"))
  for name, split in list(splits.items())[:MAX_SPLITS]:
    size = as_number(as_mapping(split).get("size"))
    if size is not None:
      digest = tag("small", str(as_mapping(split).get("sha256") or "")[:8])
      text = markup.join(f"{markup.format_number(size)} ", digest)
      pairs.append((name, text))
  return pairs


def _notes(run: Run) -> Markup | None:
  """Returns the changes of the data that its loader reports."""
  notes = run.data.get("notes")
  if not isinstance(notes, list) or not notes:
    return None
  items = [tag("li", str(note)[:MAX_LENGTH]) for note in notes]
  parts = [tag("ul", *items[:MAX_NOTES])]
  if rest := items[MAX_NOTES:]:
    title = tag("summary", f"{len(rest):,} more notes")
    parts.append(tag("details", title, tag("ul", *rest)))
  return tag("div", *parts, class_="notes")


def _class_counts(run: Run) -> Markup | None:
  """Returns the number of examples of each class in every split."""
  counts = run.named(DATA_COUNTS)
  if not counts:
    return None
  splits = sorted(counts, key=split_order)[:MAX_SPLITS]
  names = class_names(run, max(map(len, counts.values())))
  return count_table(unit(run), names, {k: counts[k] for k in splits})


def _target_charts(run: Run) -> list[Markup]:
  """Returns a histogram of the targets of every split."""
  targets = run.named(DATA_TARGETS)
  offset = target_offset(run)
  label = "target"
  if offset:
    label = markup.with_minus(f"target - {markup.format_number(offset)}")
  return [
    plots.histogram(f"target, {split}", targets[split].astype(float), label)
    for split in sorted(targets, key=split_order)[:MAX_SPLITS]
  ]


def _length_charts(run: Run) -> list[Markup]:
  """Returns a histogram of the number of tokens in every split."""
  lengths = run.named(DATA_LENGTHS)
  return [
    plots.histogram(f"length, {split}", lengths[split].astype(float), "tokens")
    for split in sorted(lengths, key=split_order)[:MAX_SPLITS]
  ]


def _examples(run: Run) -> Markup | None:
  """Returns examples of each class: pictures, strings or rows of a table."""
  inputs = run.arrays.get("data/input")
  is_token = "input_ids" in as_mapping(run.data.get("inputs"))
  if inputs is None or (is_token and inputs.ndim != 1):
    return None
  if inputs.ndim == 1:
    content = _text_rows(run, inputs.tolist())
  elif inputs.ndim != 4:
    content = _rows(run, inputs)
  elif run.named("data/label") and run.arrays["data/label"].dtype.kind != "U":
    content = _strips(run, inputs)
  else:
    content = _cards(run, inputs)
  key = tag("span", "of train", class_="key")
  caption = tag("figcaption", tag("b", "examples"), key)
  wide = inputs.ndim != 4 or not run.named(DATA_COUNTS)
  return tag("figure", caption, content, class_="wide" if wide else None)


def _answers(run: Run, count: int) -> list[str]:
  """Returns the label or the target of each example, empty if unknown."""
  if "data/target" in run.arrays:
    offset = target_offset(run)
    return [shifted(x, offset) for x in run.arrays["data/target"].tolist()]
  labels = run.arrays.get("data/label")
  if labels is None:
    return [""] * count
  if labels.dtype.kind == "U":
    return labels.tolist()
  names = class_names(run, 1 + int(labels.max()))
  return [names[label] for label in labels]


def _pictures(run: Run, inputs: np.ndarray) -> list[Markup]:
  titles = run.arrays.get("data/name")
  titles = [None] * len(inputs) if titles is None else titles.tolist()
  return [
    tag("img", src=png.data_uri(png.thumbnail(image)), alt="", title=title)
    for image, title in zip(inputs, titles, strict=True)
  ]


def _strips(run: Run, inputs: np.ndarray) -> Markup:
  """Returns a line of pictures for each class."""
  by_class: dict[str, list[Markup]] = {}
  answers = _answers(run, len(inputs))
  for name, picture in zip(answers, _pictures(run, inputs), strict=True):
    by_class.setdefault(name, []).append(picture)
  rows = [
    tag("div", tag("dt", name, title=name), tag("dd", *pictures))
    for name, pictures in by_class.items()
  ]
  return tag("dl", *rows, class_="strips")


def _cards(run: Run, inputs: np.ndarray) -> Markup:
  """Returns pictures with their labels or targets below them."""
  answers = _answers(run, len(inputs))
  cards = [
    tag("figure", picture, tag("figcaption", answer))
    for picture, answer in zip(_pictures(run, inputs), answers, strict=True)
  ]
  return tag("div", *cards, class_="cards")


def _text_rows(run: Run, inputs: list[str]) -> Markup:
  """Returns texts with their labels or targets."""
  answers = _answers(run, len(inputs))
  rows = [
    (markup.join(answers[i]), texts.text_excerpt(inputs[i]))
    for i in _pick_rows(answers, MAX_TEXTS, TEXTS_PER_ANSWER)
  ]
  return texts.text_list(rows)


def _rows(run: Run, inputs: np.ndarray) -> Markup:
  """Returns the columns of a table."""
  answers = _answers(run, len(inputs))
  picks = _pick_rows(answers, MAX_ROWS)
  columns, cells = to_cells(run, inputs)
  rows = [[answers[i], *cells[i][:MAX_COLUMNS]] for i in picks]
  is_number = "data/target" in run.arrays
  head = ["target" if is_number else "class", *columns[:MAX_COLUMNS]]
  table = markup.table(head, rows, text_columns=0 if is_number else 1)
  if len(columns) <= MAX_COLUMNS:
    return table
  note = f"The first {MAX_COLUMNS} of {len(columns):,} columns."
  return markup.join(tag("p", note, class_="note"), table)


def _pick_rows(
  answers: list[str], most: int, of_each: int = MAX_ROWS
) -> list[int]:
  """Returns the positions of rows to show: as many of each answer as fit."""
  limit = max(1, min(of_each, most // len(set(answers))))
  seen: dict[str, int] = {}
  picks = []
  for i, answer in enumerate(answers):
    seen[answer] = seen.get(answer, 0) + 1
    if seen[answer] <= limit:
      picks.append(i)
  return spread(np.array(picks), most).tolist()
