"""Texts are embedded by the other texts of a batch, or by scores."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import data, models, tasks, training
from dlcore.contrastive_losses import unit
from dlcore.errors import UserError

KEY = jax.random.key(0)
MODEL = models.create(
  "bert_base",
  head="embedding",
  poolings=("mean",),
  vocab_size=12,
  width=8,
  depth=1,
  num_heads=2,
  mlp_dim=8,
  max_length=6,
)


def make_batch(size=5, **arrays):
  random = np.random.default_rng(0)
  first, second = random.integers(1, 12, (2, size, 6)).astype(np.int32)
  mask = (np.arange(6) < random.integers(2, 7, (size, 1))).astype(np.uint8)
  return {
    "input_ids": first,
    "attention_mask": mask,
    "second_input_ids": second,
    "second_attention_mask": mask[::-1].copy(),
    **arrays,
  }


@functools.cache
def variables():
  return jax.jit(tasks.text_embedding(MODEL).init)(KEY, make_batch())


def total(batch, **settings):
  task = tasks.text_embedding(MODEL, **settings)
  value, weight = jax.jit(task.loss)(*variables(), batch, KEY)[0]
  return float(value), float(weight)


def embeddings(batch):
  rows = tasks.text_embedding(MODEL).predict(*variables(), batch, KEY)
  names = ("embedding", "second_embedding")
  return [np.asarray(unit(rows[n]), np.float64) for n in names]


def formula(scores):
  """The mean of -log softmax of the diagonal."""
  return np.mean(np.log(np.exp(scores).sum(1)) - np.diag(scores))


def test_the_loss_is_the_formula_of_its_embeddings():
  batch = make_batch()
  first, second = embeddings(batch)
  scores = first @ second.T / 0.05
  value, weight = total(batch)
  assert value / weight == pytest.approx(formula(scores), rel=1e-4)
  value, weight = total(batch, symmetric=True)
  both = (formula(scores) + formula(scores.T)) / 2
  assert value / weight == pytest.approx(both, rel=1e-4)


def test_each_text_is_embedded_alone():
  batch = make_batch()
  first, second = embeddings(batch)
  swapped = {
    "input_ids": batch["second_input_ids"],
    "attention_mask": batch["second_attention_mask"],
  }
  task = tasks.text_embedding(MODEL)
  rows = task.predict(*variables(), swapped, KEY)
  assert rows.keys() == {"embedding"}
  np.testing.assert_allclose(unit(rows["embedding"]), second, atol=1e-5)
  # Otherwise a swap of both texts would not be noticed.
  assert np.abs(first - second).max() > 1e-2


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.fast_cases("True")
def test_padding_and_other_right_texts_are_no_negatives(symmetric):
  batch = make_batch(5)
  alone = {name: array[:4] for name, array in batch.items()}
  expected = total(alone, symmetric=symmetric)
  mask = np.array([1, 1, 1, 1, 0], np.float32)
  padded = total({**batch, "mask": mask}, symmetric=symmetric)
  assert padded == pytest.approx(expected, rel=1e-5)
  # The last pair is the first one again.
  twice = {k: np.concatenate([a[:4], a[:1]]) for k, a in batch.items()}
  ids = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [0, 1]])
  value, weight = total({**twice, "text_ids": ids}, symmetric=symmetric)
  ignored, _ = total({**twice}, symmetric=symmetric)
  assert value < ignored
  # Its rows have the loss of the first row among four, each.
  first, second = embeddings(alone)
  sides = [(first, second), (second, first)][: 1 + symmetric]
  rows = []
  for one, other in sides:
    scores = one @ other.T / 0.05
    values = np.log(np.exp(scores).sum(1)) - np.diag(scores)
    rest = one @ np.concatenate([other, other[:1]]).T / 0.05
    for i in (1, 2, 3):  # To the others both copies are negatives.
      values[i] = np.log(np.exp(rest[i]).sum()) - rest[i, i]
    rows.append(np.append(values, values[0]))
  assert value / weight == pytest.approx(np.mean(rows), rel=1e-4)


def test_scores_are_learned_by_the_cosine():
  score = np.array([1.0, -0.5, 0.0, 0.25, 1.0], np.float32)
  batch = make_batch(score=score)
  first, second = embeddings(batch)
  expected = np.square((first * second).sum(1) - score).mean()
  value, weight = total(batch, scored=True)
  assert value / weight == pytest.approx(expected, rel=1e-4)
  task = tasks.text_embedding(MODEL, scored=True)
  rows = task.predict(*variables(), batch, KEY)
  near = np.asarray(rows["similarity"])
  assert task.score({"similarity": near}, {"score": near})["spearman"] == 1


def test_the_scores_of_a_split_do_not_depend_on_the_batch_size():
  source = data.from_arrays(make_batch(12), target="second_input_ids")
  task = tasks.text_embedding(MODEL)
  values = [
    training.Evaluator(task, source, batch_size=size).evaluate(*variables())
    for size in (8, 16)
  ]
  assert values[0] == pytest.approx(values[1], rel=1e-4)
  assert values[0].keys() == {
    *("loss", "similarity", "recall_at_1", "recall_at_10", "mrr")
  }


def test_one_batch_on_eight_devices_has_the_negatives_of_all():
  batch = make_batch(16)
  expected = total(batch)
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
  rows = jax.NamedSharding(mesh, jax.P("data"))
  task = tasks.text_embedding(MODEL)
  placed = jax.device_put(batch, rows)
  found = jax.jit(task.loss)(*variables(), placed, KEY)[0]
  assert tuple(map(float, found)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_batch_is_learned():
  batch = make_batch(8)
  source = data.from_arrays(batch, target="second_input_ids")
  task = tasks.text_embedding(MODEL)
  result = training.fit(
    task,
    optax.adam(0.01),
    source,
    source,
    steps=60,
    batch_size=8,
    seed=0,
    progress=False,
  )
  evaluator = training.Evaluator(task, source)
  assert evaluator(result.last)["recall_at_1"] == 1


def test_mistakes_have_clear_errors():
  with pytest.raises(UserError, match="at least two pairs"):
    total(make_batch(1))
  with pytest.raises(UserError, match="temperature above 0"):
    tasks.text_embedding(MODEL, temperature=0.0)
  classifier = MODEL.clone(head="classifier", num_classes=2)
  with pytest.raises(UserError, match="head='embedding'"):
    tasks.text_embedding(classifier)
  batch = make_batch()
  batch["second_input_ids"] = batch["second_input_ids"][:, :4]
  with pytest.raises(UserError, match=r"of one shape"):
    total(batch)
  assert jnp.isfinite(total(make_batch(2))[0])
