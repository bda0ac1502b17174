"""Language models: the loss, bits per unit of text, and the carried state."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest

from dlcore import data, metrics, models, tasks, training
from dlcore.data.info import IGNORED
from dlcore.data.text.packing import packed
from dlcore.errors import UserError

KEY = jax.random.key(0)
VOCAB = 11
SMALL = {"vocab_size": VOCAB, "width": 8, "head": "lm"}
HEADS = {"vocab_size": VOCAB, "width": 8, "depth": 1, "num_heads": 2}


# Without optimization, compilation takes a third of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def gpt2(**settings):
  return models.GPT2(**HEADS, max_length=16, **settings)


def text(rows=4, length=6, seed=0):
  """Returns rows that follow one another, `[rows, length]`, and labels."""
  ids = np.random.default_rng(seed).integers(4, VOCAB, rows * length + 1)
  ids = ids.astype(np.int32)
  return {
    "input_ids": ids[:-1].reshape(rows, length),
    "labels": ids[1:].reshape(rows, length),
  }


def log_softmax(logits):
  logits = np.asarray(logits, np.float64)
  shifted = logits - logits.max(-1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def evaluate(task, variables, batch):
  sums = jit(task.evaluate)(*variables, batch, KEY)[1]
  return metrics.compute(metrics.total([sums]), task.derived)


def test_the_loss_is_the_mean_over_scored_tokens_of_rows_that_count():
  task, batch = tasks.language_model(gpt2()), text()
  batch["labels"] = np.where(np.arange(6) < 2, IGNORED, batch["labels"])
  batch |= {"mask": np.array([1, 1, 1, 0], np.float32)}
  batch |= {"weight": np.array([1, 2, 0.5, 9], np.float32)}
  batch |= {"num_characters": np.array([4, 8, 6, 99], np.float32)}
  params, state = jit(task.init)(KEY, batch)
  logits = jit(functools.partial(gpt2().apply, train=False))(
    {"params": params}, batch["input_ids"]
  )
  labels = np.maximum(batch["labels"], 0)[..., None]
  nats = -np.take_along_axis(log_softmax(logits), labels, -1)[..., 0]
  weights = np.array([1, 2, 0.5, 0])[:, None] * (batch["labels"] >= 0)
  total = (nats * weights).sum()
  (loss, weight), _ = jit(task.loss)(params, state, batch, KEY)
  assert float(loss / weight) == pytest.approx(total / weights.sum(), rel=1e-5)
  values = evaluate(task, (params, state), batch)
  mean = total / weights.sum()
  assert values == pytest.approx(
    {
      "loss": mean,
      "perplexity": math.exp(mean),
      "bits_per_token": mean / math.log(2),
      "bits_per_character": total / math.log(2) / (4 + 16 + 3),
    },
    rel=1e-5,
  )


def test_without_labels_the_next_tokens_that_are_no_padding_are_scored():
  task = tasks.language_model(gpt2(), pad_id=0)
  ids = np.array([[5, 6, 7, 0], [8, 9, 0, 0]], np.int32)
  labels = np.array([[6, 7, -100, -100], [9, -100, -100, -100]], np.int32)
  variables = jit(task.init)(KEY, {"input_ids": ids})
  given = evaluate(task, variables, {"input_ids": ids, "labels": labels})
  assert evaluate(task, variables, {"input_ids": ids}) == given
  rows = jit(task.predict)(*variables, {"input_ids": ids}, KEY)
  assert rows["num_tokens"].tolist() == [2, 1]
  total = -float(rows["log_probability"].sum())
  assert total / 3 == pytest.approx(given["loss"], rel=1e-5)


@pytest.mark.parametrize(
  "model", [gpt2(), models.RecurrentNetwork(**SMALL, cell="gru")], ids=type
)
@pytest.mark.slow
def test_packed_rows_have_the_loss_of_their_documents(model):
  sizes = [5, 3, 9, 1, 4, 7]
  ids = np.random.default_rng(0).integers(4, VOCAB, sum(sizes))
  offsets = np.concatenate([[0], np.cumsum(sizes)])
  task = tasks.language_model(model)
  batch = packed(ids, offsets, 12).arrays
  variables = jit(task.init)(KEY, batch)
  together = evaluate(task, variables, batch)
  apart = np.zeros((len(sizes), 12), np.int32)
  labels = np.full((len(sizes), 12), IGNORED, np.int32)
  for row, (start, stop) in enumerate(itertools.pairwise(offsets)):
    apart[row, : stop - start] = ids[start:stop]
    labels[row, : stop - start - 1] = ids[start + 1 : stop]
  alone = evaluate(task, variables, {"input_ids": apart, "labels": labels})
  assert together == pytest.approx(alone, rel=1e-5)


def source(rows=32):
  return data.from_arrays(text(rows), target="labels", name="text")


@pytest.mark.slow
def test_an_evaluation_carries_the_state_from_a_fresh_one():
  model = models.RecurrentNetwork(**SMALL, cell="gru")
  task = tasks.language_model(model, carry=True)
  params, state = jit(task.init)(KEY, text())
  evaluator = training.Evaluator(task, source(), batch_size=8)
  with_carry = evaluator.evaluate(params, state)
  # As a run that is read from its folder.
  assert evaluator.evaluate(params, {"carry": {}}) == with_carry
  without = training.Evaluator(tasks.language_model(model), source())
  assert without.evaluate(params, {})["loss"] != with_carry["loss"]


@pytest.mark.parametrize(
  ("model", "carry", "message"),
  [
    (gpt2(), True, "whose cache grows"),
    (models.RecurrentNetwork(**SMALL | {"head": "classifier"}), False, "'lm'"),
    (
      models.RecurrentNetwork(**SMALL, bidirectional=True),
      True,
      "bidirectional=False",
    ),
  ],
)
def test_models_without_next_tokens_or_a_state_are_refused(
  model, carry, message
):
  task = tasks.language_model(model, carry=carry)
  with pytest.raises(UserError, match=message) as error:
    jax.eval_shape(task.init, KEY, text())
  assert len(error.value.lines) == 3


def test_a_carry_needs_an_order_that_continues_rows():
  task = tasks.language_model(models.RecurrentNetwork(**SMALL), carry=True)
  variables = jax.eval_shape(task.init, KEY, text())
  with pytest.raises(UserError, match="expected an order"):
    jax.eval_shape(task.loss, *variables, text(), KEY)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_a_smoothing_out_of_range_is_refused(smoothing):
  with pytest.raises(UserError, match="label_smoothing"):
    tasks.language_model(gpt2(), label_smoothing=smoothing)
