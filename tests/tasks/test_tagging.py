"""Tagging: losses and metrics of tokens, of sequences and of entities."""

import functools

import jax
import numpy as np
import pytest

from dlcore import data, metrics, models, tasks
from dlcore.errors import UserError
from dlcore.metrics import entity_scores

KEY = jax.random.key(0)
# One program for each function: its operations one by one compile longer.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
CLASSES = ("O", "B-x", "I-x")
MASK = (np.arange(6) < [[6], [4], [1], [5], [3]]).astype(np.int32)
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(1, 9, MASK.shape).astype(np.int32)
LABELS = np.where(MASK > 0, RANDOM.integers(0, 3, MASK.shape), -100)
LABELS[0, 2] = -100  # A token that is not scored.
LABELS[2] = -100  # A sequence without one that is.
BATCH = {
  "input_ids": IDS,
  "attention_mask": MASK,
  "labels": LABELS.astype(np.int32),
}
MODEL = models.create(
  "gru",
  head="tokens",
  vocab_size=9,
  width=4,
  bidirectional=True,
  num_classes=3,
)


@pytest.fixture(scope="module")
def started():
  task = tasks.tagging(MODEL, classes=CLASSES)
  params, model_state = jit(task.init)(KEY, BATCH)
  logits = jit(functools.partial(MODEL.apply, train=False))(
    {"params": params}, IDS, attention_mask=MASK
  )
  return task, params, model_state, np.asarray(logits, np.float64)


def cross_entropy(logits):
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  at = np.where(LABELS == -100, 0, LABELS)[..., None]
  return -np.take_along_axis(log_p, at, -1)[..., 0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_tokens_weigh_the_loss_not_sequences(started, smoothing):
  _, params, model_state, logits = started
  task = tasks.tagging(MODEL, label_smoothing=smoothing)
  (total, weight), _ = jit(task.loss)(params, model_state, BATCH, KEY)
  scored = LABELS != -100
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  values = (1 - smoothing) * cross_entropy(logits) - smoothing * log_p.mean(-1)
  assert weight == scored.sum() == 17
  assert total == pytest.approx(values[scored].sum(), rel=1e-5)


def test_metrics_are_those_of_tokens_and_of_whole_sequences(started):
  task, params, model_state, logits = started
  _, sums = jit(task.evaluate)(params, model_state, BATCH, KEY)
  values = metrics.compute(metrics.total([sums]), task.derived)
  scored, right = LABELS != -100, logits.argmax(-1) == LABELS
  assert values["accuracy"] == pytest.approx(right[scored].mean())
  rows = scored.any(1)
  whole = (right | ~scored).all(1)[rows]
  assert values["sequence_accuracy"] == pytest.approx(whole.mean())
  loss = cross_entropy(logits)[scored].mean()
  assert values["loss"] == pytest.approx(loss, rel=1e-5)


def test_all_right_sequences_count_as_such():
  class Oracle:
    def apply(self, variables, ids, *, attention_mask=None, train):
      del variables, ids, train
      kept = np.where(BATCH["labels"] < 0, 0, BATCH["labels"])
      kept[3, 1] = (kept[3, 1] + 1) % 3
      return jax.nn.one_hot(kept, 3) * 9

  task = tasks.tagging(Oracle())
  _, sums = task.evaluate({}, {}, BATCH, KEY)
  assert [float(x) for x in sums["sequence_accuracy"]] == [3, 4]
  assert [float(x) for x in sums["accuracy"]] == [16, 17]


def test_predictions_are_a_class_for_each_token(started):
  task, params, model_state, logits = started
  rows = jax.device_get(task.predict(params, model_state, BATCH, KEY))
  expected = np.where(MASK > 0, logits.argmax(-1), -100)
  np.testing.assert_array_equal(rows["predicted"], expected)
  info = data.from_arrays(BATCH, target="labels", classes=CLASSES).info
  row = {name: array[1] for name, array in rows.items()}
  answer = tasks.TASKS["tagging"].to_json(row, info)
  assert answer["tags"] == [CLASSES[i] for i in logits[1, :4].argmax(-1)]
  p = np.exp(logits[1, :4])
  p = (p / p.sum(-1, keepdims=True)).max(-1)
  np.testing.assert_allclose(answer["probabilities"], p, rtol=1e-5)


def test_entities_are_scored_if_the_classes_are_their_tags(started):
  task, params, model_state, _ = started
  rows = jax.device_get(task.predict(params, model_state, BATCH, KEY))
  expected = entity_scores(
    rows["predicted"], LABELS, LABELS != -100, np.ones(5), CLASSES
  )
  assert task.score(rows, BATCH) == expected
  assert tasks.tagging(MODEL, classes=("0", "1", "2")).score is None


def test_other_data_and_other_models_are_refused(started):
  kind = tasks.TASKS["tagging"]
  with pytest.raises(UserError, match="'labels' of classes"):
    kind.check_data(data.load("digits").train.info)
  one = data.from_arrays(
    {**BATCH, "labels": np.minimum(BATCH["labels"], 0)},
    target="labels",
    classes=("O",),
  )
  with pytest.raises(UserError, match="two tags"):
    kind.check_data(one.info)
  task = tasks.tagging(MODEL.clone(head="classifier"))
  right, params, model_state, _ = started
  wide = MODEL.clone(head="classifier").init(KEY, IDS, train=False)["params"]
  with pytest.raises(UserError, match=r'\[B, T, C\]\n.*\nset head="tokens"'):
    task.evaluate(wide, model_state, BATCH, KEY)
  with pytest.raises(UserError, match=r"labels of shape \[5, 6\]"):
    right.evaluate(params, model_state, {**BATCH, "labels": IDS[:, 0]}, KEY)
  with pytest.raises(UserError, match="label_smoothing"):
    tasks.tagging(MODEL, label_smoothing=1.0)


def test_labels_are_checked_but_for_ignored_ones():
  settings = {"target": "labels", "classes": CLASSES}
  data.from_arrays(BATCH, **settings)
  for wrong in (-1, 3):
    labels = BATCH["labels"].copy()
    labels[0, 0] = wrong
    with pytest.raises(UserError, match=f"got {wrong} in row 0"):
      data.from_arrays({**BATCH, "labels": labels}, **settings)
