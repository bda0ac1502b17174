"""Arrays that a run keeps for its report, as pure functions of NumPy arrays.

The report chooses its sections by the names of the arrays, so a new kind of
task only decides which of them its `TaskKind.report_arrays` returns:

  label, prediction, probability    int, int and float `[N]`, of examples or of
                                    all tokens: confusion, scores by class,
                                    calibration
  target, prediction                float `[N]`: predicted against true values
  by_class/TITLE                    numbers `[C]`: columns of a table with a row
                                    for each class; NaN leaves a cell empty
  histogram/TITLE                   numbers `[N]`: a histogram each
  by_position/TITLE                 float `[T]`: a curve over the positions of
                                    tokens
  worst_input, worst_prediction     the worst examples, see `worst_examples`,
                                    with worst_label (classes or strings) or
                                    worst_target (numbers), and of texts
                                    worst_token_end and worst_relevance
                                    `[M, T]`: where each token ends, and its
                                    share in the prediction, which
                                    relevance_method explains; of tagged
                                    tokens in place of that share
                                    worst_token_label and
                                    worst_token_prediction, int `[M, T]`,
                                    negative for tokens without a tag; of
                                    generated targets worst_distance, int `[M]`,
                                    the number of wrong tokens, and strings
                                    worst_label and worst_prediction
  confused_input, confused_label,   strings and ints `[P]`: a text for each of
  confused_prediction               the most confused pairs of classes
  sample_prompt, sample_text        strings `[S]`: texts that a language model
                                    continues, and how
  attention_weight                  float `[M, K, T, S]`: K maps for each of M
                                    examples, from tokens attention_query `[M,
                                    T]` to tokens attention_key `[M, S]`, both
                                    strings, empty after the end; titles
                                    attention_map `[K]`
  split                             the split that all of them describe

A kind without arrays still has results, curves, time and config on its page.
`assets/predictions.npz` holds these arrays, `assets/features.npz` those of
`features` and `assets/data_examples.npz` those of `report.data_arrays`, which
do not depend on the task. `assets/samples.json`, the texts that a model
generates as training goes on, is read as the arrays history_step, int `[K]`,
history_prompt, strings `[S]`, history_text, strings `[K, S]`, and
history_reference, strings `[S]`, empty without references.
`report.page.SECTIONS` lists the sections.
"""

from collections.abc import Callable, Mapping

import numpy as np

CLASSES = ("label", "prediction", "probability")
"""Arrays `[N]` of a classifier: int, int and float."""

NUMBERS = ("target", "prediction")
"""Arrays `[N]` of a regression, both float."""

BY_CLASS = "by_class/"
"""Prefix of numbers `[C]`."""

HISTOGRAM = "histogram/"
"""Prefix of numbers `[N]`."""

BY_POSITION = "by_position/"
"""Prefix of numbers `[T]`."""

DATA_COUNTS = "data/counts/"
"""Prefix of the number of examples of each class, int `[C]`, by split."""

DATA_TARGETS = "data/targets/"
"""Prefix of targets that are numbers, float `[N]`, by split."""

DATA_LENGTHS = "data/lengths/"
"""Prefix of the number of tokens of each example, int `[N]`, by split."""

MAX_WORST = 24
"""Number of the worst examples that are kept, M."""

MAX_CONFUSED = 12
"""Number of the most confused pairs of classes."""

MAX_ATTENDED = 32
"""Number of tokens of an attention map, T and S."""

MAX_CONVOLUTIONS = 4
MAX_MAPS = 16
MAX_FILTERS = 64

Read = Callable[[np.ndarray], np.ndarray]
"""`(indices int32[M]) -> inputs [M, ...]`."""


def classification(
  split: str,
  labels: np.ndarray,
  probabilities: np.ndarray,
  read: Read,
  *,
  prediction: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Returns every prediction of a classifier and its most confident errors.

  Args:
    split: of the examples, `"test"` or `"valid"`.
    labels: int `[N]`, the true classes.
    probabilities: float `[N, C]`.
    read: returns the inputs of the worst examples.
    prediction: int `[N]`, by default the most probable classes.

  Returns:
    `split`, `label`, `prediction`, `probability` (of the predicted class,
    `[N]`) and, unless every prediction is right, `worst_index`,
    `worst_input`, `worst_label`, `worst_prediction`, `worst_probability`
    (`[M]`). If the inputs are texts, `confused_label`, `confused_prediction`
    and `confused_input` (`[P]`) too.
  """
  probabilities = np.asarray(probabilities, np.float32)
  if prediction is None:
    prediction = probabilities.argmax(-1)
  rows = {
    "label": np.asarray(labels, np.int32),
    "prediction": prediction.astype(np.int32),
    "probability": probabilities[np.arange(len(prediction)), prediction],
  }
  wrong = np.flatnonzero(rows["prediction"] != rows["label"])
  order = np.argsort(-rows["probability"][wrong], kind="stable")
  worst = worst_examples(rows, wrong[order], read)
  if worst and worst["worst_input"].dtype.kind == "U":
    worst |= confused_examples(rows, wrong[order], read)
  return {"split": np.asarray(split), **rows, **worst}


def confused_examples(
  rows: Mapping[str, np.ndarray], wrong: np.ndarray, read: Read
) -> dict[str, np.ndarray]:
  """Returns the first error of each of the most frequent kinds of errors.

  Args:
    rows: `label` and `prediction`, ints `[N]`.
    wrong: int, the indices of the errors; there is at least one.
    read: returns the inputs.

  Returns:
    `confused_label`, `confused_prediction` and `confused_input`, `[P]`.
  """
  count = 1 + int(max(rows["label"].max(), rows["prediction"].max()))
  codes = rows["label"][wrong].astype(np.int64) * count
  codes += rows["prediction"][wrong]
  _, first, times = np.unique(codes, return_index=True, return_counts=True)
  frequent = np.argsort(-times, kind="stable")[:MAX_CONFUSED]
  chosen = wrong[first[frequent]].astype(np.int32)
  return {
    "confused_input": displayable(np.asarray(read(chosen))),
    **{
      f"confused_{name}": rows[name][chosen] for name in ("label", "prediction")
    },
  }


def regression(
  split: str, target: np.ndarray, prediction: np.ndarray, read: Read
) -> dict[str, np.ndarray]:
  """Returns every prediction of a regression and its largest errors.

  Args:
    split: of the examples, `"test"` or `"valid"`.
    target: float `[N]`, the true values.
    prediction: float `[N]`, on the same scale.
    read: returns the inputs of the worst examples.

  Returns:
    `split`, `target`, `prediction` (`[N]`) and `worst_index`, `worst_input`,
    `worst_target`, `worst_prediction` (`[M]`).
  """
  rows = {
    "target": np.asarray(target, np.float32),
    "prediction": np.asarray(prediction, np.float32),
  }
  error = np.abs(rows["prediction"] - rows["target"])
  order = np.argsort(-error, kind="stable")
  worst = worst_examples(rows, order, read)
  return {"split": np.asarray(split), **rows, **worst}


def worst_examples(
  rows: Mapping[str, np.ndarray], worst: np.ndarray, read: Read
) -> dict[str, np.ndarray]:
  """Returns arrays of the worst examples, with their inputs.

  Args:
    rows: arrays `[N]` of all examples: `label`, `prediction`, ...
    worst: int, their indices, the worst first; up to 24 of them are kept.
    read: returns the inputs.

  Returns:
    `worst_index`, `worst_input` and `worst_NAME` for each name of `rows`, all
    `[M]`; an empty dict if there are no worst examples.
  """
  if len(worst) == 0:  # A reader need not support an empty batch.
    return {}
  worst = worst[:MAX_WORST].astype(np.int32)
  return {
    "worst_index": worst,
    "worst_input": displayable(np.asarray(read(worst))),
    **{f"worst_{name}": values[worst] for name, values in rows.items()},
  }


def features(
  image: np.ndarray, kernel: np.ndarray, maps: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns the filters and feature maps of a convolutional network.

  Args:
    image: an input `[Y, X, C]`, uint8 or float.
    kernel: of the first convolution, `[KY, KX, C, F]`.
    maps: outputs of the convolutions for the image, `[Y, X, C]` by path, in
      the order of the network.

  Returns:
    uint8 arrays: `image` `[Y, X, C]`; `filters` `[F, KY, KX, C]`, all on one
    scale with 0 in the middle; and for up to 4 of the convolutions
    `maps/PATH` `[M, Y, X]`, each scaled from its minimum to its maximum.
  """
  kernel = np.moveaxis(np.asarray(kernel, np.float32), -1, 0)[:MAX_FILTERS]
  largest = max(float(np.abs(kernel).max()), 1e-30)
  paths = list(maps)
  positions = np.linspace(0, len(paths) - 1, MAX_CONVOLUTIONS).round()
  kept = [paths[position] for position in np.unique(positions.astype(int))]
  return {
    "image": displayable(np.asarray(image)[None])[0],
    "filters": np.rint(127.5 * (1 + kernel / largest)).astype(np.uint8),
    **{f"maps/{path}": _to_uint8(maps[path]) for path in kept},
  }


def displayable(inputs: np.ndarray) -> np.ndarray:
  """Returns inputs in a form that the report can show.

  Args:
    inputs: images `[M, Y, X]` or `[M, Y, X, C]`, strings `[M]`, or numbers of
      any other shape.

  Returns:
    uint8 images `[M, Y, X, C]`, strings `[M]` or float32 numbers. Images of
    another dtype are scaled together, from their minimum to their maximum.
  """
  if inputs.dtype.kind == "U":
    return inputs
  if inputs.ndim == 3:
    inputs = inputs[..., None]
  if inputs.ndim != 4:
    return inputs.astype(np.float32)
  if inputs.dtype == np.uint8:
    return inputs
  values = np.nan_to_num(inputs.astype(np.float32), posinf=0.0, neginf=0.0)
  low, high = values.min(), values.max()
  scale = 255.0 / (high - low) if high > low else 0.0
  return np.rint((values - low) * scale).astype(np.uint8)


def _to_uint8(maps: np.ndarray) -> np.ndarray:
  """Returns up to 16 channels of `[Y, X, C]` as uint8 `[M, Y, X]`."""
  maps = np.moveaxis(np.asarray(maps, np.float32), -1, 0)[:MAX_MAPS]
  maps = np.nan_to_num(maps, posinf=0.0, neginf=0.0)
  low = maps.min((1, 2), keepdims=True)
  span = maps.max((1, 2), keepdims=True) - low
  return np.rint(255 * (maps - low) / np.maximum(span, 1e-30)).astype(np.uint8)
