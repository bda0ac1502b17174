"""The worst errors, with their inputs: pictures, text or rows of a table."""

import numpy as np

from dlcore.report import markup, png, texts
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run, class_names, target_offset
from dlcore.report.table_cells import shifted, to_cells
from dlcore.report.text_arrays import ENDS, METHOD, RELEVANCE, TAGS

OUTPUTS = {"worst_label", "worst_prediction", "worst_distance"}
"""The arrays of generated targets."""

MAX_EXAMPLES = 24
MAX_COLUMNS = 8
MAX_TEXTS = 12


def mistakes(run: Run) -> Markup | None:
  """Returns the examples with the largest errors, in decreasing order."""
  if run.arrays.keys() >= OUTPUTS:
    return _outputs(run)
  if "worst_target" in run.arrays:
    title, measure, answers = "Largest errors", "error", _number_answers(run)
  elif "worst_label" in run.arrays:
    title, measure = "Worst mistakes", "probability"
    answers = _class_answers(run)
  else:
    return None
  inputs = run.arrays["worst_input"][:MAX_EXAMPLES]
  answers = answers[:MAX_EXAMPLES]
  if inputs.ndim == 4:
    cards = [_card(*pair) for pair in zip(inputs, answers, strict=True)]
    return markup.section(title, tag("div", *cards, class_="cards"))
  if inputs.ndim == 1 and {ENDS, *TAGS} <= run.arrays.keys():
    return markup.section(title, *_tagged_texts(run, inputs.tolist()))
  if inputs.ndim == 1:
    return markup.section(title, *_texts(run, inputs.tolist(), answers))
  return markup.section(title, *_rows(run, inputs, answers, measure))


def _number_answers(run: Run) -> list[tuple[str, str, str]]:
  """Returns truth, prediction and error of each example."""
  arrays = run.arrays
  targets = arrays["worst_target"].tolist()
  predictions = arrays["worst_prediction"].tolist()
  offset, show = target_offset(run), markup.format_number
  return [
    (
      shifted(target, offset),
      shifted(prediction, offset),
      show(prediction - target),
    )
    for target, prediction in zip(targets, predictions, strict=True)
  ]


def _class_answers(run: Run) -> list[tuple[str, str, str]]:
  """Returns truth, prediction and probability of each example."""
  label = _answers(run, "worst_label")
  prediction = _answers(run, "worst_prediction")
  probability = run.arrays.get("worst_probability", np.full(len(label), np.nan))
  return [
    (true, predicted, "" if np.isnan(share) else f"{share:.0%}")
    for true, predicted, share in zip(
      label, prediction, probability, strict=True
    )
  ]


def _answers(run: Run, name: str) -> list[str]:
  """Returns an array of strings, or of classes by their names."""
  array = run.arrays[name]
  if array.dtype.kind == "U":
    return array.tolist()
  names = class_names(run, 1 + int(array.max()))
  return [names[index] for index in array]


def _card(image: np.ndarray, answer: tuple[str, str, str]) -> Markup:
  true, predicted, measure = answer
  picture = png.data_uri(png.thumbnail(image))
  return tag(
    "figure",
    tag("img", src=picture, alt=""),
    tag("figcaption", true, " → ", tag("b", predicted), tag("small", measure)),
    title=f"{true} → {predicted}, {measure}",
  )


def _texts(
  run: Run, inputs: list[str], answers: list[tuple[str, str, str]]
) -> list[Markup]:
  """Returns the texts, with the tokens that mattered if they are known."""
  headings = [
    markup.join(true, " → ", tag("b", predicted), tag("small", measure))
    for true, predicted, measure in answers
  ]
  if RELEVANCE not in run.arrays:
    shown = [texts.text_excerpt(text) for text in inputs]
    rows = list(zip(headings, shown, strict=True))
    return [texts.text_list(rows[:MAX_TEXTS])]
  pairs = zip(run.arrays[ENDS], run.arrays[RELEVANCE], strict=True)
  rows = [
    (heading, texts.marked_excerpt(text, texts.Tokens(*pair)))
    for heading, text, pair in zip(headings, inputs, pairs, strict=False)
  ]
  method = str(run.arrays.get(METHOD, ""))
  legend = _legend("worst_target" in run.arrays, method)
  return [legend, texts.text_list(rows[:MAX_TEXTS])]


def _tagged_texts(run: Run, inputs: list[str]) -> list[Markup]:
  """Returns the texts with the tags of their tokens."""
  arrays = run.arrays
  largest = max(int(arrays[name].max()) for name in TAGS)
  names = [*class_names(run, max(0, 1 + largest)), "?"]
  rows = []
  tokens_of_texts = zip(*(arrays[name] for name in (ENDS, *TAGS)), strict=True)
  for text, (ends, true, predicted) in zip(
    inputs, tokens_of_texts, strict=False
  ):
    scored = true >= 0
    wrong = scored & (true != predicted)
    tags = [
      texts.Tag(names[i] if i >= 0 else "", names[max(j, -1)])
      for i, j in zip(true.tolist(), predicted.tolist(), strict=True)
    ]
    heading = markup.join(
      tag("b", f"{wrong.sum():,} wrong"), f" of {scored.sum():,} tags"
    )
    tokens = texts.Tokens(ends, wrong.astype(float))
    rows.append((heading, texts.tagged_excerpt(text, tokens, tags)))
  legend = tag(
    "p",
    "Tokens with a ",
    tag("mark", "right tag", class_="right"),
    ", or with a ",
    tag("mark", "wrong one", class_="wrong"),
    ": true → predicted. Others are not scored.",
    class_="note",
  )
  return [legend, texts.text_list(rows[:MAX_TEXTS])]


def _outputs(run: Run) -> Markup:
  """Returns generated targets below their references, the worst first."""
  arrays = run.arrays
  columns = ("input", "label", "prediction", "distance")
  rows = []
  for source, true, output, errors in zip(
    *(arrays[f"worst_{name}"].tolist() for name in columns), strict=True
  ):
    heading = f"{errors:,} wrong token{'s' * (errors != 1)}"
    lines = zip(
      ("source", "reference", "output"),
      (
        texts.text_excerpt(str(source)),
        *texts.compared(str(true), str(output)),
      ),
      strict=True,
    )
    shown = [tag("div", text, class_=name) for name, text in lines]
    rows.append((markup.join(heading), markup.join(*shown)))
  legend = tag(
    "p",
    "Source, reference and output. Marked are words of the reference ",
    tag("mark", "that the output lacks", class_="right"),
    ", and words of the output ",
    tag("mark", "that are not in the reference", class_="wrong"),
    ".",
    class_="note",
  )
  return markup.section(
    "Worst outputs", legend, texts.text_list(rows[:MAX_TEXTS])
  )


def _legend(is_number: bool, method: str) -> Markup:
  """Returns the meaning of the marks."""
  toward, against = (
    ("raise the prediction", "lower it")
    if is_number
    else ("speak for the prediction", "for the true class")
  )
  return tag(
    "p",
    "Tokens that ",
    tag("mark", toward, class_="toward", style="--share:1"),
    " or ",
    tag("mark", against, class_="against", style="--share:1"),
    f", by {method}." if method else ".",
    class_="note",
  )


def _rows(
  run: Run,
  inputs: np.ndarray,
  answers: list[tuple[str, str, str]],
  measure: str,
) -> list[Markup]:
  """Returns a table of the columns of a table."""
  head = ["true", "predicted", measure]
  numeric = measure == "error"
  columns, cells = to_cells(run, inputs)
  rows = [
    [*answer, *row[:MAX_COLUMNS]]
    for answer, row in zip(answers, cells, strict=True)
  ]
  head += columns[:MAX_COLUMNS]
  parts = [markup.table(head, rows, 0 if numeric else 2)]
  if len(columns) > MAX_COLUMNS:
    note = f"The first {MAX_COLUMNS} of {len(columns):,} columns."
    parts.insert(0, tag("p", note, class_="note"))
  return parts
