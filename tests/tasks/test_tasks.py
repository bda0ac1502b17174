"""Classification and regression with models and data of all kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dlcore import data, models, tasks
from dlcore.errors import UserError
from dlcore.tasks import model_calls

KEY = jax.random.key(0)
IDS = np.arange(8, dtype=np.int32).reshape(2, 4)
BATCH = {"input_ids": IDS, "label": np.zeros(2, int)}
SEQUENCE_MODELS = {
  "gpt2": {"head": "classifier", "max_length": 4},
  "bert_base": {"max_length": 4},
}
SMALL = {"vocab_size": 9, "width": 8, "depth": 1, "num_heads": 2, "mlp_dim": 8}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEQUENCE_MODELS)
def test_masked_tokens_do_not_change_the_class_of_a_sequence(name):
  model = models.create(name, num_classes=3, **SMALL, **SEQUENCE_MODELS[name])
  task = tasks.classification(model, input="input_ids")
  mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
  batch = {"input_ids": IDS, "attention_mask": mask, "label": np.zeros(2, int)}
  params, model_state = task.init(KEY, batch)
  normal = np.random.default_rng(0).normal
  params = jax.tree.map(
    lambda leaf: jnp.float32(normal(size=leaf.shape)), params
  )

  @jax.jit
  def run(batch):
    predictions = task.predict(params, model_state, batch, KEY)
    (total, _), _ = task.loss(params, model_state, batch, KEY)
    return predictions["probabilities"], total

  expected = run(batch)
  other = np.where(mask, IDS, 8 - IDS)
  changed = run({**batch, "input_ids": other})
  for left, right in zip(expected, changed, strict=True):
    np.testing.assert_allclose(left, right, atol=1e-6)
  unmasked = run(
    {**batch, "input_ids": other, "attention_mask": np.ones((2, 4), int)}
  )
  assert np.abs(unmasked[0] - expected[0]).max() > 1e-4


def test_integers_of_a_table_are_not_scaled_as_pixels():
  table = model_calls.make_inputs("features", None)
  image = model_calls.make_inputs("image", None)
  values = np.array([[0, 255]])
  for dtype in (np.int32, np.uint8, np.int16):
    batch = {"features": values.astype(dtype)}
    np.testing.assert_array_equal(table(batch), values)
  for dtype in (np.uint8, np.uint16):
    scaled = image({"image": values.astype(dtype)})
    np.testing.assert_allclose(scaled, values / np.iinfo(dtype).max, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_masked_row_may_hold_anything(kind):
  task = tasks.TASKS[kind].make(
    models.MLP(num_classes=3 if kind == "classification" else 1, widths=(4,)),
    input="features",
    normalization={"mean": [1.0, 1.0], "std": [2.0, 2.0]},
  )
  features = np.array([[1.0, 2.0], [np.inf, np.nan]], np.float32)
  target = {"label": np.array([1, -1]), "target": np.array([1.0, np.nan])}
  batch = {"features": features, **target, "mask": np.array([1.0, 0.0])}
  params, model_state = task.init(
    KEY, {**batch, "features": np.ones((2, 2), "f")}
  )

  def loss(params):
    return task.loss(params, model_state, batch, KEY)[0][0]

  value, gradient = jax.value_and_grad(loss)(params)
  assert np.isfinite(value)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


class Several(nn.Module):
  """Returns a pair, as models without a head do."""

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.Dense(3)(x)
    return x, x


class Tokens(nn.Module):
  """Returns logits of each token."""

  @nn.compact
  def __call__(self, x, *, train):
    return nn.Dense(3)(x)[:, None]


@pytest.mark.parametrize(
  ("kind", "model", "message"),
  [
    ("classification", Several(), "a tuple"),
    ("classification", models.MLP(head=None), "without a head"),
    ("classification", Tokens(), r"got \[2, 1, 3\]"),
    ("regression", models.MLP(num_classes=4), r"got \[2, 4\]"),
    ("regression", Several(), "a tuple"),
  ],
)
def test_a_model_with_other_outputs_is_refused(kind, model, message):
  task = tasks.TASKS[kind].make(model, input="features")
  batch = {
    "features": np.ones((2, 2), np.float32),
    "label": np.zeros(2, int),
    "target": np.zeros(2, np.float32),
  }
  params, model_state = model_calls.init(model, KEY, batch["features"])
  with pytest.raises(UserError, match=message):
    task.loss(params, model_state, batch, KEY)


def test_a_target_may_be_a_column():
  task = tasks.regression(models.MLP(num_classes=1, widths=()))
  target = np.array([1.0, 2.0], np.float32)
  batch = {"features": np.ones((2, 2), np.float32), "target": target}
  params, model_state = task.init(KEY, batch)
  one, two = (
    task.loss(params, model_state, {**batch, "target": t}, KEY)[0]
    for t in (target, target[:, None])
  )
  assert one == two
  wide = {**batch, "target": np.ones((2, 2), np.float32)}
  with pytest.raises(UserError, match="one number for every example"):
    task.loss(params, model_state, wide, KEY)


def test_token_ids_outside_of_the_vocabulary_are_refused_before_training():
  arrays = {"input_ids": IDS, "label": np.zeros(len(IDS), np.int32)}
  info = data.from_arrays(arrays, classes=("a", "b")).info
  kind = tasks.TASKS["classification"]
  settings = {**SMALL, "num_classes": 2, "max_length": 4}
  vocab_size = int(IDS.max()) + 1
  for name in ("bert_base", "gpt2"):
    model = models.create(name, **settings | {"vocab_size": vocab_size})
    assert kind.build(model, info)
    model = models.create(name, **settings | {"vocab_size": vocab_size - 1})
    with pytest.raises(UserError, match=f"vocab_size={vocab_size}") as caught:
      kind.build(model, info)
    assert len(caught.value.lines) == 3
  with pytest.raises(UserError, match="did you mean 'label_smoothing'"):
    kind.build(models.create("mlp"), info, label_smothing=0.1)


def test_class_weights_may_be_an_array():
  model = models.MLP(num_classes=2, widths=())
  for weights in (np.array([1.0, 2.0]), (np.float32(1), np.int32(2)), [1, 2]):
    tasks.classification(model, input="features", class_weights=weights)
  for settings in (
    {"class_weights": ("1", "2")},
    {"class_weights": np.array([1.0, np.nan])},
    {"class_weights": {0: 1.0}},
    {"class_weights": 1.0},
    {"label_smoothing": "0.1"},
    {"label_smoothing": -0.1},
    {"label_smoothing": 5},
    {"label_smoothing": float("nan")},
  ):
    with pytest.raises(UserError, match="expected"):
      tasks.classification(model, input="features", **settings)


def test_a_label_outside_the_classes_is_not_hidden_by_a_weight_of_zero():
  model = models.MLP(num_classes=2, widths=())
  task = tasks.classification(
    model, input="features", class_weights=np.array([1.0, 0.0])
  )
  for label in (-1, 2):
    labels = np.array([0, label], np.int8)
    batch = {"features": np.ones((2, 2), np.float32), "label": labels}
    params, model_state = task.init(KEY, batch)
    assert np.isnan(task.loss(params, model_state, batch, KEY)[0][0])


def test_a_masked_sequence_may_hold_anything():
  model = models.create("bert_base", num_classes=3, **SMALL, max_length=4)
  task = tasks.classification(model, input="input_ids")
  batch = {
    "input_ids": np.where([[True], [False]], IDS, 99),
    "attention_mask": np.array([[1, 1, 1, 1], [0, 0, 0, 0]]),
    "label": np.array([0, -1]),
    "mask": np.array([1.0, 0.0]),
  }
  params, model_state = task.init(KEY, batch)

  @jax.jit
  def gradient(params):
    return jax.grad(lambda p: task.loss(p, model_state, batch, KEY)[0][0])(
      params
    )

  gradients = jax.tree.leaves(gradient(params))
  assert all(np.isfinite(leaf).all() for leaf in gradients)


RATES = ("dropout", "attention_dropout", "head_dropout")


@pytest.mark.parametrize("name", RATES)
def test_every_rate_of_a_model_may_be_traced(name):
  """One program serves all rates, and a rate of 0 turns the part off."""
  others = dict.fromkeys(RATES, 0.0)

  def loss(rate, params):
    rates = {**others, name: rate}
    model = models.create(
      "bert_base", num_classes=2, **SMALL, max_length=4, **rates
    )
    task = tasks.classification(model, input="input_ids")
    return task.loss(params, {}, BATCH, KEY)[0][0]

  traced = jax.jit(loss)
  model = models.create("bert_base", num_classes=2, **SMALL, max_length=4)
  params, _ = tasks.classification(model, input="input_ids").init(KEY, BATCH)
  plain = loss(0.0, params)
  np.testing.assert_allclose(traced(0.0, params), plain, rtol=1e-6)
  rates = [loss(rate, params) for rate in (0.25, 0.5)]
  assert len({float(plain), *map(float, rates)}) == 3
  for rate, expected in zip((0.25, 0.5), rates, strict=True):
    np.testing.assert_allclose(traced(rate, params), expected, rtol=1e-5)
