"""Training steps on sequences: cut to a length, on several devices, carried."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sequence_models import (
  CASES,
  CLASSES,
  EACH,
  KEY,
  WORDS,
  assert_close,
  jit,
  takes,
  variables_of,
)

from dlcore import data, optim, sharding, tasks, training
from dlcore.data.text.pair_building import PairSettings, build_pairs
from dlcore.data.text.text_parts import TextPart
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError

ROWS, BATCH, LENGTH = 40, 8, 12
KINDS = {
  "classifier": "classification",
  "lm": "language_model",
  "mlm": "masked_language_model",
  "tokens": "tagging",
}
"""Kinds of tasks by the head of the model."""

TX = optim.create("sgd", learning_rate=1.0)
"""The change of the parameters is the gradient."""


def pairs():
  """Returns words of 1 to 11 letters and the same letters reversed."""
  generator = np.random.default_rng(0)
  words = [
    "".join(generator.choice([*"abcd"], 1 + i % 11)) for i in range(ROWS)
  ]
  part = TextPart(words, [word[::-1] for word in words], {}, words)
  text = TextSettings("characters", min_count=1, max_length=LENGTH)
  return build_pairs({"train": part}, PairSettings(text), "words").train


@functools.cache
def source_of(kind):
  """Returns rows of 1 to 12 tokens, whose padding holds any ids."""
  if kind == "sequence_to_sequence":
    return pairs()
  generator = np.random.default_rng(0)
  lengths = (1 + np.arange(ROWS) % LENGTH).astype(np.int32)
  mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
  ids = generator.integers(0, WORDS, mask.shape).astype(np.int32)
  arrays = {"input_ids": ids, "attention_mask": mask}
  classes = tuple("abc"[:CLASSES])
  if kind == "classification":
    arrays["label"] = ids[:, 0] % CLASSES
    return data.from_arrays(arrays, classes=classes, lengths=lengths)
  if kind == "masked_language_model":
    return data.from_arrays(arrays, lengths=lengths)
  labels = ids % CLASSES if kind == "tagging" else np.roll(ids, -1, 1)
  arrays["labels"] = np.where(mask > 0, labels, -100).astype(np.int32)
  named = {"classes": classes} if kind == "tagging" else {}
  return data.from_arrays(arrays, target="labels", lengths=lengths, **named)


def make(case, **settings):
  """Returns the task of a model, its source and variables."""
  model = CASES[case]
  kind = KINDS[model.head]
  if takes(model, "decoder_input_ids"):
    kind = "sequence_to_sequence"
  source = source_of(kind)
  model = model.clone(**tasks.TASKS[kind].model_arguments(source.info))
  task = tasks.TASKS[kind].build(model, source.info, **settings)
  return task, source, variables_of(model)["params"]


def read(source, rows):
  """Returns a batch of the rows of an order."""
  return {**source.read(rows.index), **data.rows_to_arrays(rows, mask=False)}


@pytest.mark.slow
@pytest.mark.parametrize("case", EACH)
def test_a_bucketed_batch_equals_the_same_rows_uncut(case):
  """A training step, and the metrics of an evaluation."""
  task, source, params = make(case)
  order = data.bucketed(source.lengths, BATCH, boundaries=(6, LENGTH))
  number = next(i for i in range(9) if order(0, i).length == 6)
  whole = read(source, order(0, number))
  cut = data.cut(whole, source.info.schema.sequences, 6)
  assert cut["input_ids"].shape == (BATCH, 6)
  step = training.make_step(task, TX)

  @jit
  def run(batch):
    state = training.init_state(task, TX, batch, variables=(params, {}))
    new, log = step(state, batch)
    change = jax.tree.map(jnp.subtract, new.params, params)
    return change, log, task.evaluate(params, {}, batch, KEY)[1]

  for part, expected in zip(run(cut), run(whole), strict=True):
    assert_close(part, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("case", "carry"),
  [
    # Its branches are chosen at random, by pmap on each device.
    *((case, False) for case in EACH if case.split()[0] != "ngram_cnn"),
    ("lstm lm", True),
  ],
)
def test_a_step_is_the_same_on_any_devices_by_jit_and_pmap(case, carry):
  """With a row that the mask excludes, so that devices differ in weight."""
  task, source, params = make(case, **{"carry": True} if carry else {})
  batch = read(source, data.shuffled(source.size, BATCH)(0, 0))
  batch["mask"] = np.array([1, 1, 1, 0, 1, 1, 1, 1], np.float32)
  model_state = {}
  if carry:
    batch["begins"] = np.arange(BATCH) % 3 == 0
    shapes = jax.eval_shape(task.init, KEY, batch)[1]
    normal = np.random.default_rng(0).normal
    model_state = jax.tree.map(
      lambda leaf: normal(size=leaf.shape).astype(np.float32), shapes
    )
  state = jax.device_get(
    training.init_state(task, TX, batch, variables=(params, model_state))
  )

  def run(compiler, count):
    partitioner = sharding.partitioner(BATCH, compiler, jax.devices()[:count])
    step = training.make_step(task, TX, axis_name=partitioner.axis_name)
    placed = partitioner.put_state(state)
    program = partitioner.compile(
      lambda state, _, batch: step(state, batch), placed, {}, batch
    )
    new, log = program(placed, {}, batch)
    change = jax.tree.map(np.subtract, jax.device_get(new.params), params)
    return change, jax.device_get((new.model_state, log))

  one = run("jit", 1)
  for compiler in ("jit", "pmap"):
    for part, expected in zip(run(compiler, 8), one, strict=True):
      assert_close(part, expected)


LANGUAGE_MODELS = [
  case
  for case, model in CASES.items()
  if model.head == "lm" and not takes(model, "decoder_input_ids")
]


def pieces_of(rows, length, piece):
  """Returns rows of text, and their pieces, none of which begins a row."""
  ids = np.random.default_rng(0).integers(0, WORDS, (rows, length + 1))
  whole = {"input_ids": ids[:, :-1], "labels": ids[:, 1:]}
  begins = {"begins": np.zeros(rows, bool)}
  return whole, [
    {name: array[:, at : at + piece] for name, array in whole.items()} | begins
    for at in range(0, length, piece)
  ]


def cache_shapes(model, length):
  """Returns the shapes of the state after `length` tokens of one row."""
  ids = jnp.zeros((1, length), jnp.int32)
  init = functools.partial(model.init, KEY, ids, train=False, decode=True)
  return jax.tree.map(jnp.shape, jax.eval_shape(init)["cache"])


@pytest.mark.slow
@pytest.mark.parametrize("case", LANGUAGE_MODELS)
def test_carry_over_pieces_equals_the_whole_sequence(case):
  """Values, and gradients of the last piece; other models are refused."""
  model = CASES[case]
  params = variables_of(model)["params"]
  task = tasks.language_model(model, carry=True)
  whole, pieces = pieces_of(3, 9, 3)
  if cache_shapes(model, 1) != cache_shapes(model, 2):
    with pytest.raises(UserError, match="whose cache grows"):
      jax.eval_shape(task.init, KEY, pieces[0])
    return
  decode = functools.partial(
    model.apply, train=False, decode=True, mutable=["cache"]
  )

  def last_loss(params, cache):
    logits, _ = decode({"params": params, **cache}, pieces[-1]["input_ids"])
    labels = jax.nn.one_hot(pieces[-1]["labels"], WORDS)
    return -(jax.nn.log_softmax(logits) * labels).sum()

  @jit
  def run(params):
    _, state = task.init(KEY, pieces[0])
    losses, evaluated, at_first = [], [], state
    for piece in pieces:
      before = state
      (total, _), (state, _) = task.loss(params, state, piece, KEY)
      losses.append(total)
      at_first, sums = task.evaluate(params, at_first, piece, KEY)
      evaluated.append(sums["loss"][0])
    gradient = jax.grad(lambda p: task.loss(p, before, pieces[-1], KEY)[0][0])
    return losses, evaluated, gradient(params)

  @jit
  def expected(params):
    one = tasks.language_model(model)
    (total, _), _ = one.loss(params, {}, whole, KEY)
    # The state before the last piece is a constant, from a single pass.
    head = whole["input_ids"][:, :6]
    _, fresh = decode({"params": params}, head)
    _, cache = decode({"params": params, **fresh}, head)
    return total, jax.grad(last_loss)(params, cache)

  losses, evaluated, gradient = run(params)
  total, last_gradient = expected(params)
  assert np.sum(losses) == pytest.approx(float(total), rel=1e-5)
  np.testing.assert_allclose(evaluated, losses, rtol=1e-5)
  assert_close(gradient, last_gradient)
