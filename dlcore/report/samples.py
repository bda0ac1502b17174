"""Texts that a language model continues."""

from dlcore.report import markup, texts
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run

MAX_SAMPLES = 8


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
