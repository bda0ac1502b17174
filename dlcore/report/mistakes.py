"""The worst mistakes: pictures, or rows of a table."""

import numpy as np

from dlcore.report import images, markup
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run, class_names

MOST = 24
COLUMNS = 8


def mistakes(run: Run) -> Markup | None:
  """Returns the examples that were predicted worst, the worst first."""
  found = run.predictions
  if "worst_input" not in found:
    return None
  inputs = found["worst_input"][:MOST]
  answers = _answers(run)[:MOST]
  title = "Largest errors" if "target" in found else "Worst mistakes"
  if inputs.ndim == 4:
    cards = [_card(*pair) for pair in zip(inputs, answers, strict=True)]
    return markup.section(title, tag("div", *cards, class_="cards"))
  return markup.section(title, *_rows(run, inputs, answers))


def _answers(run: Run) -> list[tuple[str, str, str]]:
  """Returns truth, prediction, and probability or error of each."""
  found = run.predictions
  if "target" in found:
    pairs = zip(
      found["worst_target"].tolist(),
      found["worst_prediction"].tolist(),
      strict=True,
    )
    return [
      (markup.number(a), markup.number(b), markup.number(b - a))
      for a, b in pairs
    ]
  label, prediction = found["worst_label"], found["worst_prediction"]
  names = class_names(run, 1 + int(max(label.max(), prediction.max())))
  return [
    (names[a], names[b], f"{share:.0%}")
    for a, b, share in zip(
      label, prediction, found["worst_probability"].tolist(), strict=True
    )
  ]


def _card(image: np.ndarray, answer: tuple[str, str, str]) -> Markup:
  true, predicted, how = answer
  picture = images.data_uri(images.thumbnail(image))
  return tag(
    "figure",
    tag("img", src=picture, alt=""),
    tag("figcaption", true, " → ", tag("b", predicted), tag("small", how)),
    title=f"{true} → {predicted}, {how}",
  )


def _rows(
  run: Run, inputs: np.ndarray, answers: list[tuple[str, str, str]]
) -> list[Markup]:
  columns = run.data.get("columns")
  count = inputs.shape[1]
  if not isinstance(columns, list) or len(columns) != count:
    columns = [f"feature {index}" for index in range(count)]
  how = "error" if "target" in run.predictions else "probability"
  rows = [
    [*answer, *(markup.number(value) for value in row.tolist())]
    for answer, row in zip(answers, inputs[:, :COLUMNS], strict=True)
  ]
  head = ["true", "predicted", how, *columns[:COLUMNS]]
  parts = [markup.table(head, rows, words=2 if how == "probability" else 0)]
  if count > COLUMNS:
    note = f"The first {COLUMNS} of {count:,} columns."
    parts.insert(0, tag("p", note, class_="note"))
  return parts
