"""`make_task`: weights of positions, shapes of outputs, views."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from dlcore import data, losses, models, tasks
from dlcore.errors import UserError

KEY = jax.random.key(0)


class Tagger(nn.Module):
  """Logits of each token."""

  @nn.compact
  def __call__(self, input_ids, attention_mask=None, *, train):
    del attention_mask, train
    return nn.Dense(3)(nn.Embed(9, 4)(input_ids))


def tagging(model):
  """The class of each token; padding has a weight of 0."""

  def loss(logits, batch):
    values = losses.softmax_cross_entropy(logits, batch["label"])
    return values, batch["attention_mask"].astype(np.float32)

  def measure(logits, batch):
    _, weights = loss(logits, batch)
    return {"accuracy": (logits.argmax(-1) == batch["label"], weights)}

  return tasks.make_task(
    model,
    input="input_ids",
    loss=loss,
    metrics=measure,
    predict=lambda logits: {"label": logits.argmax(-1)},
    output_shape=("B", "T", "C"),
  )


def test_weights_may_be_per_token():
  random = np.random.default_rng(0)
  batch = {
    "input_ids": random.integers(0, 9, (4, 5), np.int32),
    "label": random.integers(0, 3, (4, 5), np.int32),
    "attention_mask": (np.arange(5) < [[5], [3], [1], [4]]).astype(np.int32),
    "mask": np.array([1, 1, 0, 1], np.float32),
  }
  batch["label"][batch["attention_mask"] == 0] = -100
  task = tagging(Tagger())
  params, model_state = task.init(KEY, batch)
  (total, weight), (_, sums) = task.loss(params, model_state, batch, KEY)
  logits = Tagger().apply({"params": params}, batch["input_ids"], train=False)
  kept = (batch["attention_mask"] * batch["mask"][:, None]) > 0
  log_p = jax.nn.log_softmax(logits)[kept]
  label = batch["label"][kept]
  expected = -log_p[np.arange(len(label)), label].sum()
  assert weight == kept.sum() == 12
  assert total == pytest.approx(float(expected), rel=1e-5)
  hits = (np.asarray(logits).argmax(-1)[kept] == label).sum()
  assert [float(x) for x in sums["accuracy"]] == [hits, 12]
  rows = task.predict(params, model_state, batch, KEY)
  assert rows["label"].shape == (4, 5)


def test_outputs_of_another_shape_are_refused():
  features = np.ones((2, 4), np.float32)
  batch = {"input_ids": features, "label": np.zeros((2, 4), int)}
  task = tagging(models.MLP(num_classes=3, widths=()))
  variables = task.init(KEY, batch)
  with pytest.raises(UserError, match=r"shape \[B, T, C\]\ngot \[2, 3\]"):
    task.evaluate(*variables, batch, KEY)


def test_a_misspelled_input_is_refused_with_the_nearest():
  task = tasks.classification(models.create("mlp"), input="imgae")
  batch = {"image": np.ones((2, 4, 4, 1)), "label": np.zeros(2, int)}
  with pytest.raises(UserError, match="did you mean 'image'"):
    task.init(KEY, batch)


def test_outputs_of_several_views_are_averaged():
  model = models.MLP(num_classes=1, widths=())
  settings = {
    "input": "features",
    "loss": lambda outputs, batch: outputs[:, 0],
    "metrics": lambda outputs, batch: {"output": outputs[:, 0]},
    "predict": lambda outputs: {"output": outputs[:, 0]},
  }
  batch = {"features": np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)}
  plain = tasks.make_task(model, **settings)
  views = tasks.make_task(model, **settings, views=[lambda x: [x, 3 * x]])
  variables = plain.init(KEY, batch)
  one = plain.predict(*variables, batch, KEY)["output"]
  np.testing.assert_allclose(
    views.predict(*variables, batch, KEY)["output"], 2 * one, rtol=1e-6
  )
  _, sums = views.evaluate(*variables, batch, KEY)
  np.testing.assert_allclose(sums["output"][0], 2 * one.sum(), rtol=1e-6)


def flat_task(**changes):
  """A task of a perceptron with mistakes in its functions."""
  functions = {
    "loss": lambda outputs, batch: outputs[:, 0],
    "metrics": lambda outputs, batch: {"first": outputs[:, 0]},
    "predict": lambda outputs: {"first": outputs[:, 0]},
    **changes,
  }
  model = models.create("mlp", widths=(4,), num_classes=2)
  return tasks.make_task(model, input="features", **functions)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"loss": lambda o, b: o[:, 0].mean()}, r"loss to be values \[B, ...\]"),
    ({"loss": lambda o, b: o[:1, 0]}, r"got values of the shape \(1,\)\n"),
    ({"metrics": lambda o, b: {"x": o.sum()}}, "metric 'x' to be values"),
    ({"metrics": lambda o, b: {"x": (o.sum(), 3.0)}}, "metric 'x'"),
    (
      {"loss": lambda o, b: (o[:, 0], o)},
      r"weights of the same shape(.|\n)*and weights of \(5, 2\)",
    ),
    ({"loss": lambda o, b: o[:, 0] - b["target"]}, "an array 'target'"),
    ({"metrics": lambda o, b: {"recall/a": o}}, "use 'recall_a'"),
    ({"metrics": lambda o, b: o}, "metrics to return .*\ngot an array"),
    ({"predict": lambda o: o}, "predict to return .*\ngot an array"),
    ({"predict": lambda o: [o]}, "got list"),
  ],
)
def test_mistakes_in_the_functions_of_a_kind_are_explained(changes, message):
  task = flat_task(**changes)
  batch = {"features": np.ones((5, 3), np.float32)}
  params, model_state = task.init(KEY, batch)
  function = task.predict if "predict" in changes else task.loss
  with pytest.raises(UserError, match=message):
    function(params, model_state, batch, KEY)


def test_the_result_of_a_traced_function_is_named_as_an_array():
  task = flat_task(predict=lambda o: o)
  batch = {"features": np.ones((5, 3), np.float32)}
  params, model_state = task.init(KEY, batch)
  with pytest.raises(UserError, match="got an array"):
    jax.eval_shape(task.predict, params, model_state, batch, KEY)


def test_a_score_becomes_that_of_the_task():
  def score(predictions, targets):
    return {"auc": 0.5}

  assert flat_task(score=score).score is score
  assert flat_task().score is None


def test_data_without_a_main_input_is_refused():
  arrays = {"x": np.ones((4, 2)), "label": np.array([0, 1, 0, 1])}
  info = data.from_arrays(arrays, classes=("a", "b")).info
  kind = tasks.TASKS["classification"]
  with pytest.raises(UserError, match="main input in 'arrays'") as caught:
    kind.build(models.create("mlp", num_classes=2), info)
  assert len(caught.value.lines) == 3


def test_the_error_for_another_input_names_the_argument_of_the_task():
  model = models.create("lstm", vocab_size=9, width=4, num_classes=2)
  task = tasks.classification(model)
  batch = {"input_ids": np.ones((2, 3), int), "label": np.zeros(2, int)}
  with pytest.raises(UserError, match="such as input='input_ids'"):
    task.init(KEY, batch)
