"""Errors of a classifier: confusion, scores per class, calibration."""

import numpy as np

from dlcore.report import axes, markup, plots, png, texts
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run, class_names, schema, unit

MAX_COUNTS = 24
"""Number of classes up to which the confusion matrix shows its counts."""

MAX_HALF_WIDTH = 12
"""Number of classes up to which that matrix fits half of the page's width."""

MAX_PIXELS = 2000
"""Largest number of classes for which the confusion matrix is plotted."""

CONFUSED = ("label", "prediction", "input")
"""Arrays of the most confused pairs, with the prefix `confused_`."""

MAX_ROWS = 12
BINS = 10
RIGHT, WRONG = (37, 99, 235), (217, 72, 15)
STRONG = {"right": 0.78, "wrong": 0.66}
FULL = 0.93
"""Opacity of a cell's color above which its text becomes dark in the dark
scheme, and light in the light scheme: on either side the contrast is at least
4.5, as WCAG 2.1 requires."""


def classes(run: Run) -> Markup:
  """Returns confusion, scores per class, calibration, most confused pairs."""
  label = run.arrays["label"].astype(np.int64)
  prediction = run.arrays["prediction"].astype(np.int64)
  named = len(schema(run, "classes") or [])
  largest = int(max(label.max(), prediction.max()))
  names = class_names(run, max(named, 1 + largest))
  parts = [
    confusion(label, prediction, names),
    _scores(label, prediction, names, unit(run)),
    _reliability(run.arrays["probability"], label == prediction),
    _confused_pairs(label, prediction, names, _examples(run)),
  ]
  return markup.section(
    f"Classes, {run.split}",
    tag("div", *filter(None, parts), class_="charts"),
  )


def confusion_counts(
  label: np.ndarray, prediction: np.ndarray, count: int
) -> np.ndarray:
  """Returns the number of examples of class i predicted as j, `[C, C]`."""
  cells = np.bincount(label * count + prediction, minlength=count * count)
  return cells.reshape(count, count)


def class_scores(
  label: np.ndarray, prediction: np.ndarray, count: int
) -> dict[str, np.ndarray]:
  """Returns `examples`, `precision`, `recall` and `f1` per class, `[C]`.

  A precision without predictions and a recall without examples are NaN.
  """
  examples = np.bincount(label, minlength=count)
  predicted = np.bincount(prediction, minlength=count)
  hits = np.bincount(label[label == prediction], minlength=count)
  with np.errstate(invalid="ignore"):
    return {
      "examples": examples,
      "precision": hits / predicted,
      "recall": hits / examples,
      "f1": 2 * hits / (examples + predicted),
    }


def calibration(
  probability: np.ndarray, correct: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
  """Compares predicted probabilities with the accuracy (arXiv:1706.04599).

  Args:
    probability: float `[N]` in 0 to 1, of the predicted class.
    correct: bool `[N]`.

  Returns:
    `(confidence, accuracy, error)`: mean probability and accuracy in each
    nonempty bin of equal width, and the expected calibration error, the mean
    distance of the two weighted by the number of examples.
  """
  bins = np.clip((probability * BINS).astype(int), 0, BINS - 1)
  sizes = np.bincount(bins, minlength=BINS)
  nonempty = sizes > 0
  sizes = sizes[nonempty]
  confidence = np.bincount(bins, probability, BINS)[nonempty] / sizes
  accuracy = np.bincount(bins, correct, BINS)[nonempty] / sizes
  error = float(np.abs(confidence - accuracy) @ sizes / sizes.sum())
  return confidence, accuracy, error


def confusion(
  label: np.ndarray, prediction: np.ndarray, names: list[str]
) -> Markup | None:
  """Returns the confusion matrix, None for very many classes."""
  if len(names) > MAX_PIXELS:
    return None
  counts = confusion_counts(label, prediction, len(names))
  with_counts = len(names) <= MAX_COUNTS
  legend = tag("span", "rows: true, columns: predicted", class_="key")
  return tag(
    "figure",
    tag("figcaption", tag("b", "confusion"), legend),
    _matrix(counts, names) if with_counts else _heat_map(counts),
    class_="wide" if MAX_HALF_WIDTH < len(names) <= MAX_COUNTS else None,
  )


def _matrix(counts: np.ndarray, names: list[str]) -> Markup:
  head = [tag("th", tag("span", name), title=name) for name in names]
  rows = [tag("tr", tag("th"), *head)]
  rows += [_matrix_row(i, row, names) for i, row in enumerate(counts.tolist())]
  long = " long" if max(map(len, names)) > 3 else ""
  upright = " upright" if long and len(names) > 4 else ""
  table = tag("table", *rows, class_=f"matrix{long}{upright}")
  return tag("div", table, class_="scroll")


def _matrix_row(i: int, row: list[int], names: list[str]) -> Markup:
  total = max(1, sum(row))
  cells = [tag("th", names[i], title=names[i])]
  for j, count in enumerate(row):
    share = count / total
    style = "right" if i == j else "wrong"
    # The square root makes rare errors visible.
    opacity = share if i == j else share**0.5
    attributes = {
      "title": f"{names[i]} → {names[j]}: {count} of {total} ({share:.1%})",
      "class": _cell_class(style, opacity),
      "style": f"--share:{opacity:.3f}",
    }
    cells.append(tag("td", count, **attributes) if count else tag("td"))
  return tag("tr", *cells)


def _cell_class(style: str, opacity: float) -> str:
  if opacity <= STRONG[style]:
    return style
  return f"{style} strong full" if opacity > FULL else f"{style} strong"


def _heat_map(counts: np.ndarray) -> Markup:
  """Returns a confusion matrix with one pixel per pair of classes."""
  share = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))
  pixels = np.empty((*counts.shape, 4), np.uint8)
  pixels[..., :3] = WRONG
  pixels[..., 3] = np.rint(255 * share)
  diagonal = np.arange(len(counts))
  pixels[diagonal, diagonal, :3] = RIGHT
  return tag(
    "img", src=png.data_uri(pixels), alt="confusion matrix", class_="heat"
  )


def _examples(run: Run) -> dict[tuple[int, int], str]:
  """Returns a text for each of the most confused pairs of classes."""
  kept = [run.arrays.get(f"confused_{name}") for name in CONFUSED]
  if any(array is None for array in kept):
    return {}
  labels, predictions, inputs = (array.tolist() for array in kept)
  return dict(zip(zip(labels, predictions, strict=True), inputs, strict=True))


def _confused_pairs(
  label: np.ndarray,
  prediction: np.ndarray,
  names: list[str],
  examples: dict[tuple[int, int], str],
) -> Markup | None:
  totals = np.bincount(label, minlength=len(names))
  wrong = label != prediction
  codes, times = np.unique(
    label[wrong] * len(names) + prediction[wrong], return_counts=True
  )
  rows: list[list[object]] = []
  listed: list[tuple[Markup, Markup]] = []
  for k in np.argsort(-times, kind="stable")[:MAX_ROWS].tolist():
    i, j = divmod(int(codes[k]), len(names))
    rows.append([names[i], names[j], times[k], f"{times[k] / totals[i]:.1%}"])
    pair = markup.join(names[i], " → ", tag("b", names[j]))
    share = f"{times[k]:,} \N{MULTIPLICATION SIGN}, {rows[-1][-1]} of the class"
    heading = markup.join(pair, tag("small", share))
    listed.append((heading, texts.text_excerpt(examples.get((i, j), ""))))
  if rows and examples:
    key = tag("span", "with the most confident error", class_="key")
    caption = tag("figcaption", tag("b", "most confused"), key)
    return tag("figure", caption, texts.text_list(listed), class_="wide")
  head = ["true", "predicted", "times", "of the class"]
  return _table("most confused", head, rows, text_columns=2) if rows else None


def _scores(
  label: np.ndarray, prediction: np.ndarray, names: list[str], counted: str
) -> Markup:
  scores = class_scores(label, prediction, len(names))
  order = np.arange(len(names))
  title = "by class"
  if len(names) > MAX_COUNTS:
    present = order[scores["examples"] > 0]
    lowest = np.argsort(scores["f1"][present], kind="stable")
    order = present[lowest][:MAX_ROWS]
    title = f"lowest F1 of {len(names):,} classes"
  rows: list[list[object]] = [
    [names[i], scores["examples"][i]]
    + [_percent(scores[key][i]) for key in ("precision", "recall", "f1")]
    for i in order.tolist()
  ]
  head = ["class", counted, "precision", "recall", "F1"]
  return _table(title, head, rows, text_columns=1)


def _table(
  title: str, head: list[str], rows: list[list[object]], text_columns: int
) -> Markup:
  caption = tag("figcaption", tag("b", title))
  return tag("figure", caption, markup.table(head, rows, text_columns))


def _reliability(probability: np.ndarray, correct: np.ndarray) -> Markup:
  confidence, accuracy, error = calibration(np.clip(probability, 0, 1), correct)
  axis = axes.linear_axis(np.array([0.0, 1.0]), percent=True)
  return plots.line_chart(
    f"calibration (expected error {error:.1%})",
    [plots.Line("accuracy", confidence, accuracy, "valid")],
    axis,
    x=axis,
    x_label="predicted probability",
    diagonal=True,
  )


def _percent(value: float) -> str:
  return "" if np.isnan(value) else f"{value:.1%}"
