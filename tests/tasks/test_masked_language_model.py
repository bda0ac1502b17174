"""Masked language models: which tokens are hidden, and how they are scored."""

import functools

import jax
import numpy as np
import pytest

from dlcore import data, metrics, models, optim, tasks, training
from dlcore.data.info import IGNORED
from dlcore.data.text.packing import packed
from dlcore.errors import UserError
from dlcore.tasks.token_hiding import MASKED_LABELS, hide_tokens

KEY = jax.random.key(0)
VOCAB, MASK = 30, 30
SPECIAL = (0, 1, 2, 3)
SMALL = {"width": 8, "depth": 1, "num_heads": 2, "max_length": 400}
# One program for each function: its operations one by one compile longer.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def bert(**settings):
  return models.Bert(
    **{"vocab_size": VOCAB + 1, "head": "mlm", **SMALL, **settings}
  )


def make(model=None, **settings):
  arguments = {
    "vocab_size": VOCAB,
    "mask_id": MASK,
    "special_ids": SPECIAL,
    "pad_id": 0,
  }
  return tasks.masked_language_model(model or bert(), **arguments, **settings)


def texts(rows=8, length=40, seed=0):
  ids = np.random.default_rng(seed).integers(4, VOCAB, (rows, length))
  ids[:, 0] = 2
  ids[0, length // 2 :] = 0
  return {"input_ids": ids.astype(np.int32), "index": np.arange(rows)}


def prepare(task, batch, key=KEY, **arrays):
  _, batch = task.prepare({}, {}, {**batch, **arrays}, key)
  return jax.device_get(batch)


@pytest.mark.slow
def test_the_shares_are_those_of_the_paper():
  batch = texts(rows=400, length=400)
  hidden = prepare(make(), batch)
  ids, labels = batch["input_ids"], hidden[MASKED_LABELS]
  chosen = labels != IGNORED
  np.testing.assert_array_equal(labels[chosen], ids[chosen])
  np.testing.assert_array_equal(hidden["input_ids"][~chosen], ids[~chosen])
  assert not chosen[np.isin(ids, SPECIAL)].any()
  text = ~np.isin(ids, SPECIAL)
  new, old = hidden["input_ids"][chosen], ids[chosen]
  masked, same = new == MASK, new == old
  # Five standard deviations of the 24,000 hidden tokens at least.
  assert abs(chosen[text].mean() - 0.15) < 0.005
  assert abs(masked.mean() - 0.8) < 0.015
  # A random token is the same one in 1 of 26 cases.
  assert abs(same.mean() - (0.1 + 0.1 / 26)) < 0.012
  others = new[~masked & ~same]
  assert set(others) == set(range(4, VOCAB))


@pytest.mark.slow
def test_a_new_epoch_hides_others_and_an_evaluation_the_same():
  task, batch = make(), texts()
  first, second = (
    prepare(task, batch, jax.random.key(seed))[MASKED_LABELS] for seed in (1, 2)
  )
  assert (first != second).any()
  slots = np.array([5, 2])
  part = {name: array[slots] for name, array in batch.items()}
  np.testing.assert_array_equal(
    prepare(task, part, jax.random.key(1), slot=slots)[MASKED_LABELS],
    first[slots],
  )
  variables = task.init(KEY, batch)
  measured = [
    task.evaluate(*variables, {k: v[rows] for k, v in batch.items()}, KEY)[1]
    for rows in (slice(0, 8), slice(0, 3), slice(3, 8))
  ]
  whole, *parts = measured
  together = metrics.total(parts)
  assert whole["loss"][1] == together["loss"][1] > 0
  values = [metrics.compute(m, task.derived) for m in (whole, together)]
  assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_padding_does_not_change_the_hidden_tokens():
  text_ids = np.arange(4, VOCAB, dtype=np.int32)
  settings = {"rate": 0.5, "mask_id": MASK, "text_ids": text_ids}
  hide = jit(functools.partial(hide_tokens, **settings))
  ids = np.arange(24) % 20 + 4
  for length in (5, 16):
    kept = np.arange(24) < length
    long = hide(KEY, ids, kept)
    short = hide(KEY, ids[:length], kept[:length])
    for left, right in zip(long, short, strict=True):
      np.testing.assert_array_equal(left[:length], right)


@pytest.mark.slow
def test_loss_and_accuracy_are_means_over_hidden_tokens_of_rows_that_count():
  task = make()
  batch = texts() | {"mask": np.array([1] * 6 + [0] * 2, np.float32)}
  batch |= {"weight": np.array([1, 2, 0.5, 1, 1, 3, 9, 9], np.float32)}
  params, state = jit(task.init)(KEY, batch)
  hidden = prepare(task, batch, slot=np.arange(8))
  mask = (batch["input_ids"] > 0).astype(np.int32)
  logits = jit(functools.partial(bert().apply, train=False))(
    {"params": params}, hidden["input_ids"], attention_mask=mask
  )
  logits, labels = np.asarray(logits, np.float64), hidden[MASKED_LABELS]
  shifted = logits - logits.max(-1, keepdims=True)
  log = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
  picked = np.maximum(labels, 0)
  nats = -np.take_along_axis(log, picked[..., None], -1)[..., 0]
  weights = (batch["mask"] * batch["weight"])[:, None] * (labels != IGNORED)
  expected = (nats * weights).sum() / weights.sum()
  (total, weight), (_, measured) = jit(task.loss)(params, state, hidden, KEY)
  assert float(total / weight) == pytest.approx(expected, rel=1e-5)
  right = (logits.argmax(-1) == labels) * weights
  values = metrics.compute(measured, task.derived)
  accuracy = right.sum() / weights.sum()
  assert values == pytest.approx(
    {"loss": expected, "masked_accuracy": accuracy}, rel=1e-5
  )


def test_the_last_row_of_running_text_is_told_from_padding_by_its_labels():
  task = make()
  batch = texts()
  batch["labels"] = np.where(batch["input_ids"] > 0, 5, IGNORED)
  whole = batch["input_ids"].copy()
  whole[0, 20:] = 7  # Padding by an id that is a token elsewhere.
  hidden = prepare(task, {**batch, "input_ids": whole})
  assert (hidden[MASKED_LABELS][0, 20:] == IGNORED).all()
  assert not hidden["attention_mask"][0, 20:].any()


@pytest.mark.slow
def test_packed_rows_hide_tokens_of_segments_only():
  sizes = np.array([5, 3, 9, 1, 4, 7])
  ids = np.random.default_rng(0).integers(4, VOCAB, sizes.sum())
  batch = packed(ids, np.append(0, np.cumsum(sizes)), 12).arrays
  task = make(mask_rate=1.0)
  hidden = prepare(task, batch)
  chosen = hidden[MASKED_LABELS] != IGNORED
  np.testing.assert_array_equal(chosen, batch["segment_ids"] > 0)
  variables = jit(task.init)(KEY, batch)
  _, measured = jit(task.evaluate)(*variables, batch, KEY)
  assert float(measured["loss"][1]) == len(ids)


@pytest.mark.slow
def test_a_prediction_fills_mask_tokens_or_hides_some_by_the_text_alone():
  task, batch = make(), texts(rows=4)
  del batch["index"]
  batch["input_ids"][1, [4, 9]] = MASK
  variables = task.init(KEY, batch)
  rows = jax.device_get(task.predict(*variables, batch, KEY))
  shown = rows["predicted"] != IGNORED
  assert np.flatnonzero(shown[1]).tolist() == [4, 9]
  assert not shown[np.isin(batch["input_ids"], SPECIAL)].any()
  assert shown.any(axis=1).all()
  logits = bert().apply(
    {"params": variables[0]},
    batch["input_ids"],
    attention_mask=(batch["input_ids"] > 0).astype(np.int32),
    train=False,
  )
  best = np.asarray(logits).argmax(-1)[1, [4, 9]]
  assert rows["predicted"][1, [4, 9]].tolist() == best.tolist()
  # Row 0 has 20 tokens: neither its position nor its padding matters.
  alone = {"input_ids": np.pad(batch["input_ids"][:1, :20], ((0, 0), (0, 3)))}
  again = task.predict(*variables, alone, jax.random.key(7))["predicted"]
  np.testing.assert_array_equal(again[0, :20], rows["predicted"][0, :20])


def test_the_kind_of_task_gives_the_model_an_id_for_the_mask():
  kind = tasks.TASKS["masked_language_model"]
  info = data.from_arrays({"input_ids": texts()["input_ids"]}).info
  size = info.schema.vocab_size
  assert kind.model_arguments(info) == {"vocab_size": size + 1}
  task = kind.build(bert(vocab_size=size + 1), info, mask_rate=1.0)
  hidden = prepare(task, texts())
  assert hidden["input_ids"].max() == size


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"mask_rate": 0.0}, "mask_rate above 0"),
    ({"mask_rate": 1.5}, "mask_rate"),
    ({"label_smoothing": 1.0}, "label_smoothing"),
  ],
)
def test_settings_out_of_range_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    make(**settings)


def test_a_model_with_another_head_is_refused():
  task = make(models.GPT2(vocab_size=31, **SMALL))
  with pytest.raises(UserError, match="head='mlm'") as error:
    task.init(KEY, texts())
  assert len(error.value.lines) == 3


@pytest.mark.slow
def test_it_learns_which_token_is_missing_on_any_number_of_devices():
  """Token t of a row follows from its neighbors: they count up."""
  starts = np.random.default_rng(0).integers(0, 26, (256, 1))
  ids = (4 + (starts + np.arange(16)) % 26).astype(np.int32)
  source = data.from_arrays({"input_ids": ids}, name="counting")
  model = bert(width=32, num_heads=4, max_length=16)
  task = make(model)
  tx = optim.create("adam", learning_rate=3e-3)

  def fit(devices, steps):
    return training.fit(
      task,
      tx,
      source,
      steps=steps,
      batch_size=64,
      devices=jax.devices()[:devices],
      progress=False,
    ).last

  one, eight = (jax.device_get(fit(count, 3).params) for count in (1, 8))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), one, eight
  )
  evaluator = training.Evaluator(task, source)
  values = evaluator(fit(1, 800))
  assert values["masked_accuracy"] > 0.95
