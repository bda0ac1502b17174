"""How a classifier errs: confusion, scores per class, calibration."""

import numpy as np

from dlcore.report import images, markup, plots
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run, class_names

MOST_NUMBERS = 20
"""Classes up to which the confusion matrix shows its counts."""

HALF = 12
"""Classes up to which half the page's width is enough for that."""

MOST_PIXELS = 2000
"""Classes up to which it is drawn at all."""

AXES = "rows: true, columns: predicted"
PAIRS = 12
BINS = 10
RIGHT, WRONG = (37, 99, 235), (217, 72, 15)


def classification(run: Run) -> Markup | None:
  """Returns confusion, scores per class, calibration, most confused pairs."""
  if "label" not in run.predictions:
    return None
  label, prediction = _pairs(run)
  names = class_names(run, _count(run))
  parts = [
    _confusion(label, prediction, names),
    _scores(label, prediction, names),
    _reliability(run.predictions["probability"], label == prediction),
    _confused(label, prediction, names),
  ]
  return markup.section(
    f"Classes, {run.predictions.get('split', 'test')}",
    tag("div", *filter(None, parts), class_="charts"),
  )


def confusion_counts(
  label: np.ndarray, prediction: np.ndarray, count: int
) -> np.ndarray:
  """Returns how often class i was taken for j, int64 `[C, C]`."""
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
  """Compares the predicted probability with the share of right answers.

  Returns:
    the mean probability and the share in each of the bins of equal width that
    is not empty, and the expected calibration error (arXiv:1706.04599): the
    mean distance of the two, weighted by the examples.
  """
  bins = np.clip((probability * BINS).astype(int), 0, BINS - 1)
  sizes = np.bincount(bins, minlength=BINS)
  full = sizes > 0
  confidence = np.bincount(bins, probability, BINS)[full] / sizes[full]
  share = np.bincount(bins, correct, BINS)[full] / sizes[full]
  error = float(np.abs(confidence - share) @ sizes[full] / sizes.sum())
  return confidence, share, error


def _pairs(run: Run) -> tuple[np.ndarray, np.ndarray]:
  found = run.predictions
  return found["label"].astype(np.int64), found["prediction"].astype(np.int64)


def _count(run: Run) -> int:
  known = run.data.get("classes")
  known = len(known) if isinstance(known, list) else 0
  return max(known, *(1 + int(array.max()) for array in _pairs(run)))


def _confusion(
  label: np.ndarray, prediction: np.ndarray, names: list[str]
) -> Markup | None:
  if len(names) > MOST_PIXELS:
    return None
  counts = confusion_counts(label, prediction, len(names))
  numbers = len(names) <= MOST_NUMBERS
  return tag(
    "figure",
    tag("figcaption", tag("b", "confusion"), tag("span", AXES, class_="key")),
    _matrix(counts, names) if numbers else _heat_map(counts),
    class_="wide" if HALF < len(names) <= MOST_NUMBERS else None,
  )


def _matrix(counts: np.ndarray, names: list[str]) -> Markup:
  head = [tag("th", tag("span", name), title=name) for name in names]
  rows = [tag("tr", tag("th"), *head)]
  for i, name in enumerate(names):
    total = max(1, int(counts[i].sum()))
    cells = [tag("th", name, title=name)]
    for j, count in enumerate(counts[i].tolist()):
      share = count / total
      kind = "right" if i == j else "wrong"
      # The root makes rare mistakes visible.
      depth = share if i == j else share**0.5
      attributes = {
        "title": f"{name} → {names[j]}: {count} of {total} ({share:.1%})",
        "class": f"{kind} full" if depth > 0.5 else kind,
        "style": f"--share:{depth:.3f}",
      }
      cells.append(tag("td", count, **attributes) if count else tag("td"))
    rows.append(tag("tr", *cells))
  long = " long" if max(map(len, names)) > 3 else ""
  upright = " upright" if long and len(names) > 4 else ""
  table = tag("table", *rows, class_=f"matrix{long}{upright}")
  return tag("div", table, class_="scroll")


def _heat_map(counts: np.ndarray) -> Markup:
  """Draws a pixel per pair of classes."""
  share = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))
  pixels = np.empty((*counts.shape, 4), np.uint8)
  pixels[..., :3] = WRONG
  pixels[..., 3] = np.rint(255 * share)
  diagonal = np.arange(len(counts))
  pixels[diagonal, diagonal, :3] = RIGHT
  return tag(
    "img", src=images.data_uri(pixels), alt="confusion matrix", class_="heat"
  )


def _confused(
  label: np.ndarray, prediction: np.ndarray, names: list[str]
) -> Markup | None:
  totals = np.bincount(label, minlength=len(names))
  wrong = label != prediction
  codes, times = np.unique(
    label[wrong] * len(names) + prediction[wrong], return_counts=True
  )
  rows: list[list[object]] = []
  for k in np.argsort(-times, kind="stable")[:PAIRS].tolist():
    i, j = divmod(int(codes[k]), len(names))
    rows.append([names[i], names[j], times[k], f"{times[k] / totals[i]:.1%}"])
  head = ["true", "predicted", "times", "of the class"]
  return _figure("most confused", head, rows, words=2) if rows else None


def _scores(
  label: np.ndarray, prediction: np.ndarray, names: list[str]
) -> Markup:
  scores = class_scores(label, prediction, len(names))
  order = np.arange(len(names))
  title = "by class"
  if len(names) > MOST_NUMBERS:
    seen = order[scores["examples"] > 0]
    order = seen[np.argsort(scores["f1"][seen], kind="stable")][:PAIRS]
    title = f"lowest F1 of {len(names):,} classes"
  rows: list[list[object]] = [
    [names[i], scores["examples"][i]]
    + [_percent(scores[key][i]) for key in ("precision", "recall", "f1")]
    for i in order.tolist()
  ]
  head = ["class", "examples", "precision", "recall", "F1"]
  return _figure(title, head, rows, words=1)


def _figure(
  title: str, head: list[str], rows: list[list[object]], words: int
) -> Markup:
  caption = tag("figcaption", tag("b", title))
  return tag("figure", caption, markup.table(list(head), rows, words))


def _reliability(probability: np.ndarray, correct: np.ndarray) -> Markup:
  confidence, share, error = calibration(np.clip(probability, 0, 1), correct)
  axis = plots.linear_axis(np.array([0.0, 1.0]), percent=True)
  return plots.line_chart(
    f"right answers (calibration error {error:.1%})",
    [plots.Line("right answers", confidence, share, "valid")],
    axis,
    x=axis,
    x_label="predicted probability",
    diagonal=True,
  )


def _percent(value: float) -> str:
  return "" if np.isnan(value) else f"{value:.1%}"
