"""Tagging: losses and metrics of tokens, of sequences and of entities."""

import functools

import jax
import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight

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


def test_the_weight_of_a_token_is_that_of_its_class(started):
  _, params, model_state, logits = started
  info = data.from_arrays(BATCH, target="labels", classes=CLASSES).info
  scored = LABELS != -100
  assert info.class_counts == tuple(np.bincount(LABELS[scored]))
  by_class = compute_class_weight(
    "balanced", classes=np.arange(3), y=LABELS[scored]
  )
  expected = by_class[LABELS[scored]]
  values = cross_entropy(logits)[scored]
  for setting in ("balanced", tuple(by_class)):
    kind = tasks.TASKS["tagging"]
    task = kind.build(MODEL, info, class_weights=setting)
    (total, weight), _ = task.loss(params, model_state, BATCH, KEY)
    assert weight == pytest.approx(expected.sum(), rel=1e-6)
    assert total == pytest.approx(expected @ values, rel=1e-5)
  with pytest.raises(UserError, match="counts its classes"):
    tasks.tagging(MODEL, class_weights="balanced")


def test_metrics_by_name_are_those_of_the_scored_tokens(started):
  _, params, model_state, logits = started
  names = ("f1_macro", "kappa", "balanced_accuracy", "entity_f1", "accuracy")
  task = tasks.tagging(MODEL, classes=CLASSES, metrics=names)
  _, sums = task.evaluate(params, model_state, BATCH, KEY)
  values = metrics.compute(metrics.total([sums]), task.derived)
  scored = LABELS != -100
  y, predicted = LABELS[scored], logits.argmax(-1)[scored]
  f1 = sk.f1_score(y, predicted, average="macro")
  assert values["f1_macro"] == pytest.approx(f1)
  assert values["kappa"] == pytest.approx(sk.cohen_kappa_score(y, predicted))
  recall = sk.balanced_accuracy_score(y, predicted)
  assert values["balanced_accuracy"] == pytest.approx(recall)
  with pytest.raises(UserError, match="of tags"):
    tasks.tagging(MODEL, classes=CLASSES, metrics=("roc_auc",))
  with pytest.raises(UserError, match="'entity_f1'"):
    tasks.tagging(MODEL, classes=("0", "1"), metrics=("entity_f1",))


def test_a_tag_for_padding_is_wrong_everywhere(started):
  _, params, model_state, _ = started
  task = tasks.tagging(MODEL, metrics=("f1_micro",))
  batch = {**BATCH, "labels": np.abs(LABELS % 3).astype(np.int32)}
  _, sums = task.evaluate(params, model_state, batch, KEY)
  rows = jax.device_get(task.predict(params, model_state, batch, KEY))
  right = (rows["predicted"] == batch["labels"]).mean()
  values = metrics.compute(metrics.total([sums]), task.derived)
  assert values["accuracy"] == pytest.approx(right)
  # Padding is not predicted at all.
  hits, found = right * LABELS.size, MASK.sum()
  assert values["f1_micro"] == pytest.approx(2 * hits / (found + LABELS.size))


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


SENTENCES = np.array(["a b c d e f", "a b c d", "a", "a b c d e", "a b c"])


def report_arrays(predicted, probability):
  rows = {
    "predicted": np.where(MASK > 0, predicted, -100),
    "probability": probability.astype(np.float32),
  }
  info = data.from_arrays(BATCH, target="labels", classes=CLASSES).info
  kind, read = tasks.TASKS["tagging"], SENTENCES.__getitem__
  return kind.report_arrays("test", rows, {"labels": LABELS}, info, read)


def test_the_report_has_the_scored_tokens_and_the_worst_sequences():
  predicted = np.where(LABELS == -100, 0, LABELS)
  predicted[0, 1] = (LABELS[0, 1] + 1) % 3
  predicted[3, [0, 4]] = (LABELS[3, [0, 4]] + 1) % 3
  probability = np.full(MASK.shape, 0.9)
  arrays = report_arrays(predicted, probability)
  scored = LABELS != -100
  np.testing.assert_array_equal(arrays["label"], LABELS[scored])
  np.testing.assert_array_equal(arrays["prediction"], predicted[scored])
  assert arrays["worst_index"].tolist() == [3, 0]
  assert arrays["worst_input"].tolist() == ["a b c d e", "a b c d e f"]
  np.testing.assert_array_equal(arrays["worst_token_label"], LABELS[[3, 0]])
  true = [" ".join(CLASSES[i] for i in LABELS[3, [0, 4]])]
  true.append(CLASSES[LABELS[0, 1]])
  assert arrays["worst_label"].tolist() == true
  wrong = arrays["histogram/wrong tags of a sequence"]
  assert wrong.tolist() == [1, 0, 2, 0]
  confused = set(arrays["confused_input"].tolist())
  assert confused <= {"[a] b c d e", "a b c d [e]", "a [b] c d e f"}


def test_predictions_that_are_not_finite_are_wrong_and_without_a_class():
  missing = np.full(MASK.shape, -1)
  arrays = report_arrays(missing, np.full(MASK.shape, np.nan))
  assert "label" not in arrays
  assert arrays["worst_prediction"][0] == " ".join(["?"] * 5)
  assert report_arrays(LABELS, np.ones(MASK.shape)).keys() == {
    *("split", "histogram/wrong tags of a sequence"),
    *("label", "prediction", "probability"),
  }
