"""Metrics of tasks by name, row weights, thresholds and class weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight

from dlcore import (
  data,
  losses,
  metrics,
  models,
  optim,
  sharding,
  tasks,
  training,
)
from dlcore.errors import UserError

KEY = jax.random.key(0)
SIZE = 53
RANDOM = np.random.default_rng(3)
FEATURES = RANDOM.normal(size=(SIZE, 3)).astype(np.float32)
LABELS = (FEATURES[:, 0] + RANDOM.normal(size=SIZE) > 0.7).astype(np.int32)
LABELS += FEATURES[:, 1] > 1
SEVERAL = (FEATURES + RANDOM.normal(size=(SIZE, 3)) > 0.5).astype(np.float32)
TARGETS = (FEATURES @ [1.0, 2.0, 3.0] + 2).astype(np.float32)
WEIGHT = RANDOM.integers(0, 3, SIZE).astype(np.float32)
CLASSES = ("a", "b", "c")

SOURCES = {
  "classification": {"label": LABELS},
  "multilabel": {"label": SEVERAL},
  "regression": {"target": TARGETS},
}
KINDS = {
  "classification": metrics.CLASSES,
  "multilabel": metrics.LABELS,
  "regression": metrics.NUMBERS,
}


def make_source(kind, weighted=False):
  arrays = {"features": FEATURES, **SOURCES[kind]}
  if weighted:
    arrays["weight"] = WEIGHT
  classes = CLASSES if "label" in arrays else ()
  mean, std = FEATURES.mean(0), FEATURES.std(0)
  return data.from_arrays(
    arrays,
    classes=classes,
    multilabel=kind == "multilabel",
    normalization={"mean": mean, "std": std},
    target_normalization=None
    if classes
    else {"mean": TARGETS.mean(), "std": TARGETS.std()},
  )


def make(kind, source, **settings):
  row = tasks.TASKS[kind]
  model = models.MLP(widths=(), **row.model_arguments(source.info))
  return row.build(model, source.info, **settings)


def every_metric(kind):
  rows = metrics.METRICS.items()
  return tuple(n for n, m in rows if getattr(m, KINDS[kind]) is not None)


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", SOURCES)
def test_evaluation_has_the_metrics_of_its_predictions(kind, weighted, devices):
  """The last batch is partial; some row weights are 0."""
  source = make_source(kind, weighted)
  task = make(kind, source, metrics=every_metric(kind))
  tx = optim.create("sgd", learning_rate=0.1)
  state = training.init_state(task, tx, source.read(np.arange(8)))
  evaluator = training.Evaluator(
    task,
    source,
    batch_size=16,
    partitioner=sharding.partitioner(devices, devices=jax.devices()[:devices]),
  )
  names = evaluator.compile(state)
  values = evaluator(state)
  assert names == values.keys() >= set(every_metric(kind))
  rows = evaluator.predict(*training.evaluation_variables(state))
  target = source.arrays[source.info.schema.target]
  row = tasks.TASKS[kind].assessable
  chosen = metrics.select(every_metric(kind), KINDS[kind])
  weights = WEIGHT if weighted else np.ones(SIZE)
  expected = chosen.values(row.predictions(rows), target, weights)
  for name, value in expected.items():
    # Predictions of other programs differ by float32 rounding.
    close = pytest.approx(value, rel=1e-5, abs=2e-6)
    assert (name, values[name]) == (name, close)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_row_weight_of_two_counts_an_example_twice(kind):
  source = make_source(kind)
  task = make(kind, source)
  batch = {**source.read(np.arange(6, dtype=np.int32))}
  variables = task.init(KEY, batch)
  twice = source.read(np.array([0, 1, 2, 3, 4, 5, 0, 2], np.int32))
  weighted = {**batch, "weight": np.float32([2, 1, 2, 1, 1, 1])}
  one, two = (task.loss(*variables, b, KEY) for b in (weighted, twice))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    (one[0], one[1][1]),
    (two[0], two[1][1]),
  )


def test_a_negative_weight_is_refused():
  arrays = {"features": FEATURES, "target": TARGETS, "weight": WEIGHT - 1}
  with pytest.raises(UserError, match="'weight'"):
    data.from_arrays(arrays)


def test_balanced_class_weights_are_those_of_scikit_learn():
  source = make_source("classification")
  assert source.info.class_counts == tuple(np.bincount(LABELS))
  expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
  batch = source.read(np.arange(20, dtype=np.int32))
  balanced = make("classification", source, class_weights="balanced")
  word = make("classification", source, class_weights=("balanced",))
  numbers = make("classification", source, class_weights=tuple(expected))
  variables = balanced.init(KEY, batch)
  totals = [
    task.loss(*variables, batch, KEY)[0] for task in (balanced, word, numbers)
  ]
  np.testing.assert_allclose(totals[0], totals[2], rtol=1e-6)
  np.testing.assert_allclose(totals[1], totals[2], rtol=1e-6)
  with pytest.raises(UserError, match="counts its classes"):
    tasks.classification(models.MLP(), class_weights="balanced")
  with pytest.raises(UserError, match="'balanced'"):
    tasks.classification(models.MLP(), class_weights="balance")


def test_balanced_label_weights_give_both_values_the_same_total():
  source = make_source("multilabel")
  task = make("multilabel", source, class_weights="balanced")
  batch = source.read(np.arange(SIZE, dtype=np.int32))
  params, state = task.init(KEY, batch)
  zeros = jax.tree.map(jnp.zeros_like, params)
  gradient = jax.grad(lambda p: task.loss(p, state, batch, KEY)[0][0])(zeros)
  np.testing.assert_allclose(gradient["head"]["bias"], 0, atol=1e-4)


def test_the_focal_loss_is_that_of_the_paper():
  logits, labels = jnp.array([[2.0, -1.0, 0.5]] * 3), jnp.arange(3)
  p = jax.nn.softmax(logits)[jnp.arange(3), labels]
  values = losses.softmax_cross_entropy(logits, labels)
  focal = losses.focal_factor(values, 2.0) * values
  np.testing.assert_allclose(focal, -((1 - p) ** 2) * jnp.log(p), rtol=1e-5)
  np.testing.assert_allclose(losses.focal_factor(values, 0.0), 1)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, jnp.float32(0.5)])
def test_the_gradient_of_a_certain_focal_prediction_is_finite(gamma):
  def loss(logits):
    values = losses.softmax_cross_entropy(logits, jnp.array([0]))
    return (losses.focal_factor(values, gamma) * values).sum()

  gradient = jax.grad(loss)(jnp.array([[200.0, 0.0]]))
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_a_focal_exponent_of_zero_is_the_plain_loss(kind):
  source = make_source(kind)
  batch = source.read(np.arange(9, dtype=np.int32))
  plain, traced, focal = (
    make(kind, source, focal_gamma=gamma) for gamma in (0.0, jnp.zeros(()), 2.0)
  )
  variables = plain.init(KEY, batch)
  totals = [
    t.loss(*variables, batch, KEY)[0][0] for t in (plain, traced, focal)
  ]
  assert totals[0] == pytest.approx(float(totals[1]), rel=1e-6)
  assert totals[2] < totals[0]
  with pytest.raises(UserError, match="focal_gamma"):
    make(kind, source, focal_gamma=-1.0)


def two_classes():
  arrays = {"features": FEATURES, "label": np.minimum(LABELS, 1)}
  return data.from_arrays(arrays, classes=("no", "yes"))


def test_a_threshold_decides_in_metrics_predictions_and_json():
  source = two_classes()
  kind = tasks.TASKS["classification"]
  settings = {
    "thresholds": (0.2,),
    "metrics": ("f1_macro", "balanced_accuracy"),
  }
  task = make("classification", source, **settings)
  batch = source.read(np.arange(SIZE, dtype=np.int32))
  variables = task.init(KEY, batch)
  rows = jax.device_get(task.predict(*variables, batch, KEY))
  expected = (rows["probabilities"][:, 1] >= 0.2).astype(int)
  assert (rows["predicted"] == expected).all()
  assert expected.mean() > (rows["probabilities"].argmax(-1) == 1).mean()
  values = training.Evaluator(task, source).evaluate(*variables)
  y = batch["label"]
  assert values["accuracy"] == pytest.approx((expected == y).mean())
  f1 = sk.f1_score(y, expected, average="macro")
  assert values["f1_macro"] == pytest.approx(f1)
  row = {name: array[expected > 0][0] for name, array in rows.items()}
  shown = kind.to_json(row, source.info)
  assert shown["label"] == "yes"
  assert shown["probability"] == shown["probabilities"]["yes"]


def test_the_tuned_threshold_is_the_best_one_on_the_split():
  source = two_classes()
  task = make("classification", source)
  batch = source.read(np.arange(SIZE, dtype=np.int32))
  variables = task.init(KEY, batch)
  rows = jax.device_get(task.predict(*variables, batch, KEY))
  tune = tasks.TASKS["classification"].tune
  assert tune({"tune_thresholds": ""}) is None
  choose = tune({"tune_thresholds": "f1"})
  [threshold] = choose(rows, batch)["thresholds"]
  p, y = rows["probabilities"][:, 1], batch["label"]
  best = max(sk.f1_score(y, p >= cut) for cut in p)
  assert sk.f1_score(y, p >= threshold) == pytest.approx(best)
  three = make_source("classification")
  p = {"probabilities": np.full((SIZE, 3), 1 / 3)}
  assert choose(p, three.arrays) == {}


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"thresholds": (1.5,)}, "0 to 1"),
    ({"thresholds": (0.1, 0.2)}, "at most 1"),
    ({"tune_thresholds": "f2"}, "tune_thresholds"),
    ({"metrics": ("f1_marco",)}, "did you mean 'f1_macro'"),
  ],
)
def test_a_wrong_setting_is_refused(settings, message):
  with pytest.raises(UserError, match=message):
    tasks.classification(models.MLP(), **settings)


def test_a_threshold_for_three_classes_is_refused():
  source = make_source("classification")
  task = make("classification", source, thresholds=(0.3,))
  batch = source.read(np.arange(4, dtype=np.int32))
  variables = task.init(KEY, batch)
  with pytest.raises(UserError, match="two classes"):
    task.evaluate(*variables, batch, KEY)


def test_a_prediction_that_is_not_finite_is_not_the_first_class():
  task = tasks.classification(models.MLP(num_classes=2, widths=()))
  batch = {"image": np.ones((4, 2), np.float32), "label": np.zeros(4, int)}
  params, state = task.init(KEY, batch)
  params = jax.tree.map(lambda leaf: leaf * np.nan, params)
  _, sums = task.evaluate(params, state, batch, KEY)
  assert sums["accuracy"][0] == 0
  assert math.isnan(sums["loss"][0])


def test_mixed_labels_count_by_their_share():
  source = make_source("classification")
  task = make("classification", source, metrics=("f1_macro",))
  batch = {**source.read(np.arange(6, dtype=np.int32))}
  variables = task.init(KEY, batch)
  share = np.float32([1, 0, 1, 0, 1, 0])
  other = (batch["label"] + 1) % 3
  mixed = {**batch, "partner_label": other, "share": share}
  chosen = {**batch, "label": np.where(share > 0, batch["label"], other)}
  sums = [task.evaluate(*variables, b, KEY)[1] for b in (mixed, chosen)]
  jax.tree.map(np.testing.assert_allclose, *sums)


def test_a_logarithm_is_learned_and_the_metrics_are_in_units_of_the_target():
  target = np.exp(FEATURES @ [0.5, 0.2, 0.1]).astype(np.float32)
  log = np.log(target)
  settings = {
    "target_transform": "log",
    "transformed_normalization": {"mean": log.mean(), "std": log.std()},
    "target_normalization": {"mean": target.mean(), "std": target.std()},
  }
  task = tasks.regression(models.MLP(num_classes=1, widths=()), **settings)
  mask = np.ones(SIZE, np.float32)
  mask[-1] = 0
  batch = {"features": FEATURES, "target": target, "mask": mask}
  batch["target"][-1] = np.nan
  params, state = task.init(KEY, batch)
  outputs = FEATURES @ params["head"]["kernel"] + params["head"]["bias"]
  expected = np.exp(outputs[:, 0] * log.std() + log.mean())
  rows = task.predict(params, state, batch, KEY)
  prediction = np.asarray(rows["prediction"])[:-1]
  np.testing.assert_allclose(prediction, expected[:-1], rtol=1e-5)

  @jax.grad
  def gradient(params):
    return task.loss(params, state, batch, KEY)[0][0]

  leaves = jax.tree.leaves(gradient(params))
  assert all(np.isfinite(leaf).all() for leaf in leaves)
  _, sums = task.evaluate(params, state, batch, KEY)
  values = metrics.compute(jax.device_get(sums), task.derived)
  y, p = target[:-1], np.asarray(expected)[:-1]
  assert values["mae"] == pytest.approx(sk.mean_absolute_error(y, p), rel=1e-4)
  assert values["r2"] == pytest.approx(sk.r2_score(y, p), rel=1e-4)
  normalized = (log - log.mean()) / log.std()
  loss = np.mean((outputs[:-1, 0] - normalized[:-1]) ** 2)
  assert values["loss"] == pytest.approx(float(loss), rel=1e-4)
  with pytest.raises(UserError, match="target_transform"):
    tasks.regression(models.MLP(), target_transform="sqrt")


def test_offset_targets_have_the_percentage_error_of_the_true_ones():
  task = tasks.regression(
    models.MLP(num_classes=1, widths=()), target_offset=100.0, metrics=("mape",)
  )
  batch = {"features": FEATURES, "target": TARGETS}
  variables = task.init(KEY, batch)
  rows = task.predict(*variables, batch, KEY)
  _, sums = task.evaluate(*variables, batch, KEY)
  values = metrics.compute(jax.device_get(sums), task.derived)
  expected = sk.mean_absolute_percentage_error(
    TARGETS + 100.0, np.asarray(rows["prediction"]) + 100.0
  )
  assert values["mape"] == pytest.approx(expected, rel=1e-5)


def test_each_label_has_a_threshold_of_its_own():
  source = make_source("multilabel")
  choose = tasks.TASKS["multilabel"].tune({"tune_thresholds": "f1"})
  p = 1 / (1 + np.exp(-FEATURES))
  thresholds = choose({"probabilities": p}, source.arrays)["thresholds"]
  for column, truth, threshold in zip(p.T, SEVERAL.T, thresholds, strict=True):
    best = max(sk.f1_score(truth, column >= cut) for cut in column)
    assert sk.f1_score(truth, column >= threshold) == pytest.approx(best)
  task = make("multilabel", source, thresholds=thresholds)
  batch = source.read(np.arange(8, dtype=np.int32))
  rows = task.predict(*task.init(KEY, batch), batch, KEY)
  expected = rows["probabilities"] >= np.float32(thresholds)
  np.testing.assert_array_equal(rows["predicted"], expected)
