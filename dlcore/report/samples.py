"""Texts that a model generates, at the end and as training goes on."""

from collections.abc import Sequence

from dlcore.report import markup, texts
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run

MAX_SAMPLES = 8

MAX_COLUMNS, MAX_STEPS = 4, 40
"""Samples and steps of the table."""


def samples(run: Run) -> Markup:
  """Returns the prompts and how the model continues them."""
  pairs = zip(
    run.arrays["sample_prompt"].tolist(),
    run.arrays["sample_text"].tolist(),
    strict=True,
  )
  rows = [
    (markup.join(f"sample {i}"), markup.join(tag("b", prompt), text))
    for i, (prompt, text) in enumerate(list(pairs)[:MAX_SAMPLES], start=1)
  ]
  note = "The prompts, bold, are of texts that the model was not trained on."
  return markup.section(
    "Samples", tag("p", note, class_="note"), texts.text_list(rows)
  )


def history(run: Run) -> Markup:
  """Returns a table of the texts that the model generated, by step."""
  prompts, references = (
    run.arrays[f"history_{name}"].tolist()[:MAX_COLUMNS]
    for name in ("prompt", "reference")
  )
  expected = references or [None] * len(prompts)
  steps = run.arrays["history_step"].tolist()[-MAX_STEPS:]
  texts_by_step = run.arrays["history_text"].tolist()[-MAX_STEPS:]
  body = [
    _row(markup.format_number(step), row[:MAX_COLUMNS], expected)
    for step, row in zip(steps, texts_by_step, strict=True)
  ]
  note = "Generated from texts of the validation split, in the first row"
  if references:
    cells = [_cell("td", text) for text in references]
    body.append(tag("tr", tag("td", "true"), *cells, class_="reference"))
    note += "; green where they equal the true texts, in the last row"
  head = tag("tr", tag("th", "step"), *(_cell("th", text) for text in prompts))
  table = tag(
    "table", tag("thead", head), tag("tbody", *body), class_="history"
  )
  return markup.section(
    "Samples during training",
    tag("p", f"{note}.", class_="note"),
    tag("div", table, class_="scroll"),
  )


def _row(step: str, row: list[str], expected: Sequence[str | None]) -> Markup:
  """Returns the texts of a step, marked where they are the expected ones."""
  cells = [
    _cell("td", text, class_="hit" if text == other else None)
    for text, other in zip(row, expected, strict=True)
  ]
  return tag("tr", tag("td", step), *cells)


def _cell(name: str, text: str, **attributes: object) -> Markup:
  return tag(name, texts.text_excerpt(text), dir="auto", **attributes)
