"""Every kind of task keeps the contract of `Task` and `TaskKind`."""

import functools
import json

import jax
import numpy as np
import pytest

from dlcore import data, metrics, models, tasks
from dlcore.data.text.pair_building import PairSettings, build_pairs
from dlcore.data.text.similar_building import build_similar
from dlcore.data.text.text_parts import TextPart
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError

KEY = jax.random.key(0)
# One program for each function: its operations one by one compile longer.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def several():
  """A data set of two labels that co-occur."""
  features = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
  arrays = {"features": features, "label": (features > 0.2).astype(np.float32)}
  return data.Splits(
    data.from_arrays(arrays, classes=("a", "b"), multilabel=True)
  )


def letters():
  """A data set of running text."""
  ids = np.random.default_rng(0).integers(4, 9, (40, 7)).astype(np.int32)
  arrays = {"input_ids": ids[:, :-1], "labels": ids[:, 1:]}
  return data.Splits(data.from_arrays(arrays, target="labels"))


def tagged():
  """A data set of sequences with a class for each token but padding."""
  ids = np.random.default_rng(0).integers(1, 9, (40, 5)).astype(np.int32)
  mask = (np.arange(5) < 2 + np.arange(40)[:, None] % 4).astype(np.int32)
  labels = np.where(mask > 0, ids % 3, -100).astype(np.int32)
  arrays = {"input_ids": ids, "attention_mask": mask, "labels": labels}
  classes = ("O", "B-a", "I-a")
  return data.Splits(data.from_arrays(arrays, target="labels", classes=classes))


def pairs():
  """A data set of sources and targets, which are the same words reversed."""
  rows = np.random.default_rng(0).choice([*"abcdef"], (40, 4)).tolist()
  texts, others = ([" ".join(r[::step]) for r in rows] for step in (1, -1))
  part = TextPart(texts, others, {}, texts)
  settings = PairSettings(TextSettings("spaces", max_length=8))
  return build_pairs({"train": part}, settings, "pairs")


def similar():
  """A data set of pairs of texts, of which some occur twice."""
  rows = np.random.default_rng(0).choice([*"abc"], (40, 2, 3)).tolist()
  texts, others = ([" ".join(r[i]) for r in rows] for i in (0, 1))
  part = TextPart(texts, others, {}, texts)
  settings = TextSettings("spaces", max_length=8, min_count=1)
  return build_similar({"train": part}, settings, "similar")


SOURCES = {
  "digits": lambda: data.load("digits"),
  "diabetes": lambda: data.load("diabetes"),
  "letters": letters,
  "pairs": pairs,
  "several": several,
  "similar": similar,
  "tagged": tagged,
}
"""Data sets of which every kind of task must accept one."""

RECURRENT = {"name": "rnn", "vocab_size": 9, "width": 4}
MODELS = {
  "language_model": {**RECURRENT, "head": "lm"},
  "sequence_to_sequence": {"name": "seq2seq", "vocab_size": 10, "width": 4},
  "masked_language_model": {
    "name": "bert_base",
    "head": "mlm",
    "width": 4,
    "depth": 1,
    "num_heads": 1,
    "max_length": 8,
  },
  "tagging": {**RECURRENT, "head": "tokens"},
  "text_embedding": {
    "name": "bert_base",
    "head": "embedding",
    "poolings": ("mean",),
    "vocab_size": 12,
    "width": 4,
    "depth": 1,
    "num_heads": 1,
    "max_length": 8,
  },
}
"""Models of the kinds of tasks on token ids; an MLP for others."""


SLOW = {"masked_language_model", "sequence_to_sequence"}
"""Kinds of tasks whose models take seconds to compile."""


@pytest.fixture(
  scope="module",
  params=[
    pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
    for name in tasks.TASKS
  ],
)
def case(request):
  """A kind of task, its source, and the compiled task with its variables."""
  kind = tasks.TASKS[request.param]
  for load in SOURCES.values():
    source = load().train
    try:
      kind.check_data(source.info)
    except UserError:
      continue
    arguments = kind.model_arguments(source.info)
    settings = MODELS.get(request.param, {"name": "mlp", "widths": (8,)})
    model = models.create(**settings, **arguments)
    task = kind.build(model, source.info)
    task = task._replace(
      init=jit(task.init),
      loss=jit(task.loss),
      evaluate=jit(task.evaluate),
      predict=jit(task.predict),
    )
    batch = read(source, np.arange(16))
    return kind, source, task, task.init(KEY, batch)
  pytest.fail(f"add a data set that {request.param} accepts to SOURCES")


def read(source, rows, **arrays):
  rows = rows.astype(np.int32)
  return {**source.read(rows), "index": rows, **arrays}


def evaluate(task, variables, *batches):
  parts = [task.evaluate(*variables, batch, KEY)[1] for batch in batches]
  return metrics.compute(metrics.total(parts), task.derived)


def test_init_works_under_eval_shape(case):
  _, source, task, variables = case
  shapes = jax.eval_shape(task.init, KEY, read(source, np.arange(16)))
  assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, shapes)


def test_a_masked_row_changes_neither_loss_nor_metrics(case):
  _, source, task, variables = case
  mask = np.ones(4, np.float32)
  mask[-1] = 0
  whole = read(source, np.arange(3))
  padded = read(source, np.array([0, 1, 2, 9]), mask=mask)
  totals = [task.loss(*variables, b, KEY)[0] for b in (whole, padded)]
  np.testing.assert_allclose(totals[0], totals[1], rtol=1e-6)
  values = [evaluate(task, variables, batch) for batch in (whole, padded)]
  assert values[0] == pytest.approx(values[1], rel=1e-6, nan_ok=True)


def test_metrics_do_not_depend_on_the_batch_size(case):
  _, source, task, variables = case
  rows = np.arange(6)
  one = evaluate(task, variables, read(source, rows))
  parts = (read(source, rows[:3]), read(source, rows[3:]))
  # Sums of float32 in another order.
  assert one == pytest.approx(evaluate(task, variables, *parts), rel=1e-5)


def test_predictions_have_a_row_for_each_example_and_are_json(case):
  kind, source, task, variables = case
  rows = task.predict(*variables, read(source, np.arange(16)), KEY)
  rows = jax.device_get(rows)
  assert {len(array) for array in jax.tree.leaves(rows)} == {16}
  row = {name: array[0] for name, array in rows.items()}
  answer = kind.to_json(row, source.info)
  assert json.loads(json.dumps(answer)) == answer


def test_the_arrays_for_the_report_are_arrays(case):
  kind, source, task, variables = case
  batch = read(source, np.arange(16))
  rows = jax.device_get(task.predict(*variables, batch, KEY))

  def read_inputs(rows):
    return source.read(rows)[source.info.schema.input]

  info = source.info
  arrays = kind.report_arrays("test", rows, batch, info, read_inputs)
  assert all(np.asarray(array).dtype != object for array in arrays.values())
