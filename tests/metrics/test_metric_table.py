"""Every metric of the table equals its definition in scikit-learn."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from dlcore import metrics
from dlcore.errors import UserError
from dlcore.metrics.resampling import intervals

SIZE, C = 301, 7
RANDOM = np.random.default_rng(0)


def softmax(logits):
  e = np.exp(logits - logits.max(-1, keepdims=True))
  return (e / e.sum(-1, keepdims=True)).astype(np.float32)


def classes_case(count=C, absent=()):
  """Predictions with ties, labels and row weights, of which some are 0."""
  labels = RANDOM.integers(0, count, SIZE)
  for label in absent:
    labels[labels == label] = (label + 1) % count
  logits = RANDOM.normal(size=(SIZE, count)).round(1)
  logits[np.arange(SIZE), labels] += 1
  p = softmax(logits)
  predictions = {
    "probabilities": p,
    "predicted": p.argmax(-1).astype(np.int32),
  }
  return predictions, labels.astype(np.int32)


def labels_case():
  truth = (RANDOM.random((SIZE, C)) < 0.3).astype(np.float32)
  p = 1 / (1 + np.exp(-(RANDOM.normal(size=(SIZE, C)) + truth).round(1)))
  p = p.astype(np.float32)
  return {"probabilities": p, "predicted": p >= 0.5}, truth


def numbers_case():
  target = RANDOM.normal(5, 2, SIZE).round(1).astype(np.float32)
  prediction = (target + RANDOM.normal(size=SIZE)).round(1).astype(np.float32)
  settings = {"center": 5.0, "scale": 2.0, "offset": 0.0}
  return {"prediction": prediction, **settings}, target


def tags_case(length=5):
  """Sequences with tokens that are not scored, a few without any others."""
  labels = RANDOM.integers(0, C, (SIZE, length))
  guesses = RANDOM.integers(-1, C, labels.shape)
  predicted = np.where(RANDOM.random(labels.shape) < 0.7, labels, guesses)
  labels[RANDOM.random(labels.shape) < 0.3] = -100
  labels[::20] = -100
  predictions = {"predicted": predicted.astype(np.int32), "num_classes": C}
  return predictions, labels.astype(np.int32)


CASES = {
  metrics.CLASSES: classes_case(),
  "two classes": classes_case(2),
  metrics.LABELS: labels_case(),
  metrics.NUMBERS: numbers_case(),
  metrics.TAGS: tags_case(),
}
WEIGHTS = RANDOM.integers(0, 4, SIZE) * 0.5


def expected(kind, name, predictions, targets, w):
  """Returns the value of scikit-learn, or of its formula, in float64."""
  if kind == metrics.NUMBERS:
    p, t = predictions["prediction"].astype(float), targets.astype(float)
    match name:
      case "mae":
        return sk.mean_absolute_error(t, p, sample_weight=w)
      case "mape":
        return sk.mean_absolute_percentage_error(t, p, sample_weight=w)
      case "rmse":
        return sk.root_mean_squared_error(t, p, sample_weight=w)
      case "r2":
        return sk.r2_score(t, p, sample_weight=w)
      case "spearman":
        ranks = [stats.rankdata(array[w > 0]) for array in (t, p)]
        covariance = np.cov(*ranks, aweights=w[w > 0])
        return covariance[0, 1] / np.sqrt(np.prod(np.diag(covariance)))
  if kind == metrics.TAGS:
    return expected_of_tags(name, predictions["predicted"], targets, w)
  p = predictions["probabilities"].astype(np.float64)
  predicted, y = predictions["predicted"], targets
  s = {"sample_weight": w}
  two = p.shape[-1] == 2
  average = {"zero_division": np.nan, **s}
  match name:
    case "f1_macro" | "f1_micro" | "f1_weighted":
      return sk.f1_score(y, predicted, average=name[3:], **average)
    case "ece":
      return calibration_error(kind, p, y, w)
  if kind == metrics.LABELS:
    match name:
      case "accuracy":
        return np.average((predicted == y).mean(-1), weights=w)
      case "exact_match":
        return sk.accuracy_score(y, predicted, **s)
      case "roc_auc":
        return sk.roc_auc_score(y, p, **s)
      case "average_precision":
        return sk.average_precision_score(y, p, **s)
      case "brier":
        return np.mean(
          [sk.brier_score_loss(y[:, c], p[:, c], **s) for c in range(C)]
        )
      case "log_loss" | "loss":
        return np.mean([sk.log_loss(y[:, c], p[:, c], **s) for c in range(C)])
  everything = {"labels": range(p.shape[-1])}
  normal = p / p.sum(-1, keepdims=True)
  match name:
    case "accuracy":
      return sk.accuracy_score(y, predicted, **s)
    case "balanced_accuracy":
      return sk.balanced_accuracy_score(y, predicted, **s)
    case "kappa":
      return sk.cohen_kappa_score(y, predicted, **s)
    case "roc_auc" if two:
      return sk.roc_auc_score(y, p[:, 1], **s)
    case "roc_auc":
      return sk.roc_auc_score(y, normal, multi_class="ovr", **s)
    case "average_precision" if two:
      return sk.average_precision_score(y, p[:, 1], **s)
    case "average_precision":
      return sk.average_precision_score(y, p, **s)
    case "brier" if two:
      return sk.brier_score_loss(y, p[:, 1], **s)
    case "brier":
      return sk.brier_score_loss(y, normal, **everything, **s)
    case "log_loss" | "loss":
      return sk.log_loss(y, normal, **everything, **s)
    case "top_5_accuracy" if two:
      return 1.0
    case "top_5_accuracy":
      return sk.top_k_accuracy_score(y, p, k=5, **everything, **s)
  raise AssertionError(f"add the reference of {name} for {kind}")


def expected_of_tags(name, predicted, labels, w):
  """Returns the value of scikit-learn for the scored tokens."""
  scored = labels != -100
  if name == "sequence_accuracy":
    whole = (predicted == labels).sum(1) == scored.sum(1)
    return np.average(whole[scored.any(1)], weights=w[scored.any(1)])
  s = {"sample_weight": np.broadcast_to(w[:, None], labels.shape)[scored]}
  predicted, y = predicted[scored], labels[scored]
  match name:
    case "f1_macro" | "f1_micro" | "f1_weighted":
      s |= {"labels": range(C), "zero_division": np.nan}
      return sk.f1_score(y, predicted, average=name[3:], **s)
    case "accuracy":
      return sk.accuracy_score(y, predicted, **s)
    case "balanced_accuracy":
      return sk.balanced_accuracy_score(y, predicted, **s)
    case "kappa":
      return sk.cohen_kappa_score(y, predicted, **s)
  raise AssertionError(f"add the reference of {name} for tags")


def calibration_error(kind, p, y, w):
  """Returns the expected calibration error by a loop over 10 bins."""
  if kind == metrics.LABELS:
    w = np.repeat(w, p.shape[-1])
    confidence, hit = p.ravel(), y.ravel()
  else:
    confidence, hit = p.max(-1), p.argmax(-1) == y
  bins = np.minimum((confidence.astype(np.float32) * 10).astype(int), 9)
  parts = [
    abs(w[bins == b] @ confidence[bins == b] - w[bins == b] @ hit[bins == b])
    for b in range(10)
  ]
  return sum(parts) / w.sum()


def kind_of(case):
  return metrics.CLASSES if case == "two classes" else case


def selection(case, names=None):
  kind = kind_of(case)
  rows = metrics.METRICS.items()
  every = [name for name, row in rows if getattr(row, kind) is not None]
  return metrics.select(names or every, kind)


def in_batches(chosen, predictions, targets, weights, size=64):
  """Sums of batches of one size in float32; the last one is padded."""
  parts = []
  for start in range(0, SIZE, size):
    rows = np.arange(start, start + size)
    mask = jnp.asarray(rows < SIZE, jnp.float32)
    rows = np.minimum(rows, SIZE - 1)
    batch = {
      k: jnp.asarray(v[rows]) if np.ndim(v) else v
      for k, v in predictions.items()
    }
    w = mask * jnp.asarray(weights[rows], jnp.float32)
    parts.append(chosen.sums(batch, jnp.asarray(targets[rows]), w))
  values = metrics.compute(metrics.total(parts), chosen.derived)
  return values | chosen.score(predictions, targets, weights)


@pytest.mark.parametrize("weights", [np.ones(SIZE), WEIGHTS], ids=["1", "w"])
@pytest.mark.parametrize("case", CASES)
def test_metrics_of_uneven_batches_are_those_of_scikit_learn(case, weights):
  predictions, targets = CASES[case]
  chosen = selection(case)
  batched = in_batches(chosen, predictions, targets, weights)
  whole = chosen.values(predictions, targets, weights)
  assert batched.keys() == whole.keys()
  for name in whole:
    with warnings.catch_warnings(action="ignore"):
      value = expected(kind_of(case), name, predictions, targets, weights)
    close = pytest.approx(value, rel=1e-6, abs=1e-6)
    assert (name, whole[name]) == (name, close)
    assert (name, batched[name]) == (name, close)


@pytest.mark.parametrize("case", CASES)
def test_sums_are_the_same_on_eight_devices_and_under_jit(case):
  predictions, targets = CASES[case]
  size = SIZE // 8 * 8
  chosen = selection(case)
  mesh = jax.make_mesh(
    (8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
  arrays = {k: v[:size] for k, v in predictions.items() if np.ndim(v)}
  numbers = {k: v for k, v in predictions.items() if not np.ndim(v)}
  arguments = (arrays, targets[:size], WEIGHTS[:size].astype(np.float32))

  @jax.jit
  def sums(arrays, targets, weights):
    return chosen.sums({**arrays, **numbers}, targets, weights)

  one = sums(*arguments)
  eight = sums(*jax.device_put(arguments, sharding))
  host = chosen.sums({**arguments[0], **numbers}, *arguments[1:])
  for other in (eight, host):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-4),
      one,
      other,
    )


@pytest.mark.parametrize("case", CASES)
def test_rows_of_weight_zero_change_nothing_even_if_not_finite(case):
  predictions, targets = CASES[case]
  chosen = selection(case)
  kept = WEIGHTS > 0
  alone = {k: v[kept] if np.ndim(v) else v for k, v in predictions.items()}
  broken = dict(predictions)
  for name, array in predictions.items():
    if np.ndim(array) and array.dtype == np.float32:
      broken[name] = np.where(
        kept.reshape(-1, *[1] * (array.ndim - 1)), array, np.nan
      )
  values = chosen.values(alone, targets[kept], WEIGHTS[kept])
  assert chosen.values(broken, targets, WEIGHTS) == pytest.approx(values)


@pytest.mark.parametrize("case", CASES)
def test_a_prediction_that_is_not_finite_never_raises_a_metric(case):
  """Probabilities and numbers make it NaN; a missing decision is wrong."""
  predictions, targets = CASES[case]
  broken = {k: np.array(v) for k, v in predictions.items()}
  if "prediction" in broken:
    broken["prediction"][0] = np.nan
  elif "probabilities" not in broken:
    broken["predicted"][1] = -1
  else:
    broken["probabilities"][0] = np.nan
    lost = -1 if kind_of(case) == metrics.CLASSES else False
    broken["predicted"][0] = lost
  chosen, ones = selection(case), np.ones(SIZE)
  before = chosen.values(predictions, targets, ones)
  for name, value in chosen.values(broken, targets, ones).items():
    assert math.isnan(value) or value <= before[name] + 2 / SIZE, name
  decided = ("accuracy", "f1", "balanced", "kappa", "exact", "top_5")
  decided += ("ece", "sequence")
  for name, value in chosen.values(broken, targets, ones).items():
    if not name.startswith(decided):
      assert math.isnan(value), name


def test_a_class_that_is_absent_from_a_split_is_left_out():
  predictions, labels = classes_case(absent=(2, 5))
  chosen, ones = selection(metrics.CLASSES), np.ones(SIZE)
  values = chosen.values(predictions, labels, ones)
  assert all(map(math.isfinite, values.values()))
  recalls = sk.recall_score(
    labels, predictions["predicted"], average=None, zero_division=np.nan
  )
  assert values["balanced_accuracy"] == pytest.approx(np.nanmean(recalls))
  with warnings.catch_warnings(action="ignore"):
    aucs = [
      sk.roc_auc_score(labels == c, predictions["probabilities"][:, c])
      for c in range(C)
    ]
  assert np.isnan(aucs).sum() == 2
  assert values["roc_auc"] == pytest.approx(np.nanmean(aucs))


def test_a_split_of_one_class_has_no_ranking_and_no_kappa():
  p = np.tile(np.float32([0.2, 0.8]), (5, 1))
  predictions = {"probabilities": p, "predicted": np.ones(5, np.int32)}
  labels = np.ones(5, np.int32)
  values = selection(metrics.CLASSES).values(predictions, labels, np.ones(5))
  assert math.isnan(values["roc_auc"])
  assert math.isnan(values["kappa"])
  assert values["accuracy"] == values["balanced_accuracy"] == 1
  assert values["average_precision"] == 1


def test_equal_scores_have_an_area_of_one_half():
  p = np.full((6, 2), 0.5, np.float32)
  labels = np.array([0, 1, 1, 0, 1, 1], np.int32)
  predictions = {"probabilities": p, "predicted": np.zeros(6, np.int32)}
  chosen = selection(metrics.CLASSES, ["roc_auc", "average_precision"])
  values = chosen.values(predictions, labels, np.ones(6))
  assert values == {"roc_auc": 0.5, "average_precision": 4 / 6}


def test_no_examples_give_nan():
  for case, (predictions, targets) in CASES.items():
    values = selection(case).values(predictions, targets, np.zeros(SIZE))
    assert all(map(math.isnan, values.values())), case


def test_metrics_of_the_same_counts_sum_them_once():
  chosen = metrics.select(["f1_macro", "kappa", "f1_weighted"], metrics.CLASSES)
  predictions, labels = CASES[metrics.CLASSES]
  assert len(chosen.sums(predictions, labels, np.ones(SIZE))) == 3


def test_an_unknown_metric_is_refused_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'f1_macro'"):
    metrics.select(["f1_marco"], metrics.CLASSES)
  with pytest.raises(UserError, match="of numbers"):
    metrics.select(["roc_auc"], metrics.NUMBERS)
  assert not metrics.select(["loss"], metrics.CLASSES, exclude=["loss"]).summed


def test_a_metric_of_ones_own_is_a_row(monkeypatch):
  def worst(predictions, targets, weights):
    del weights
    return float(abs(predictions["prediction"] - targets).max())

  row = metrics.Metric(numbers=worst)
  monkeypatch.setitem(metrics.METRICS, "worst", row)
  predictions, targets = CASES[metrics.NUMBERS]
  chosen = metrics.select(["worst"], metrics.NUMBERS)
  error = abs(predictions["prediction"] - targets).max()
  assert chosen.values(predictions, targets, np.ones(SIZE))["worst"] == error


def test_the_bootstrap_interval_of_a_mean_has_its_standard_error():
  predictions, targets = CASES[metrics.CLASSES]
  chosen = metrics.select(["accuracy", "roc_auc"], metrics.CLASSES)
  result = intervals(chosen, predictions, targets, np.ones(SIZE))
  share = np.mean(predictions["predicted"] == targets)
  low, high = result["accuracy"]
  half = 1.96 * math.sqrt(share * (1 - share) / SIZE)
  assert low < share < high
  # 200 resamples place the tails within a tenth or two.
  assert (high - low) / 2 == pytest.approx(half, rel=0.3)
  low, high = result["roc_auc"]
  value = chosen.score(predictions, targets, np.ones(SIZE))["roc_auc"]
  assert low < value < high
  assert result == intervals(chosen, predictions, targets, np.ones(SIZE))
