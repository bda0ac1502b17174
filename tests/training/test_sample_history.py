"""The texts of a run: when they are generated, and which are kept."""

import json
import logging

import jax
import jax.numpy as jnp
import optax
import problem
import pytest

from dlcore import sharding, training
from dlcore.task import Task
from dlcore.training.intervals import Intervals
from dlcore.training.sample_history import NAME, SampleHistory

SAMPLES = training.Samples(
  prompts=("a <b>", "\N{SNOWMAN}"),
  generate=lambda params, _: params["x"] * jnp.arange(2.0),
  decode=lambda values: [f"text {value:g}" for value in values],
  references=("", "two"),
)
TASK = Task(
  init=lambda key, batch: ({"x": jnp.float32(0)}, {}),
  loss=None,
  evaluate=None,
  predict=None,
)


def state(step):
  """A state whose parameter is its step, and the average twice of it."""
  begin = training.init_state(TASK, optax.identity(), {}, average=True)
  average = {"params": {"x": jnp.float32(2 * step)}}
  return begin.replace(params={"x": jnp.float32(step)}, average=average)


def history(folder, samples=SAMPLES, *, step=0, steps=1000, eval_every=10):
  intervals = Intervals.create(
    steps,
    1,
    eval_every=eval_every,
    checkpoint_every=0,
    keep_every=0,
    steps_per_call=1,
  )
  one = sharding.partitioner(1, devices=jax.local_devices()[:1])
  made = SampleHistory(samples, folder, one, intervals)
  made.compile(state(0))
  made.rewind(step)
  return made


def extend(made, steps, last=None):
  for step in steps:
    made.add(step, state(step), is_last=step == last)


def test_texts_are_of_evaluations_1_2_4_8_and_of_the_last(tmp_path):
  extend(history(tmp_path, steps=173), [*range(10, 180, 10), 173])
  texts = problem.samples(tmp_path)
  assert [*texts] == [10, 20, 40, 80, 160, 173]
  # Evaluation uses the averaged parameters.
  assert texts[40] == ["text 0", "text 80"]
  content = json.loads((tmp_path / NAME).read_text())
  assert content["prompts"] == [*SAMPLES.prompts]
  assert content["references"] == [*SAMPLES.references]


def test_a_run_that_ends_early_has_texts_of_its_end(tmp_path):
  extend(history(tmp_path), [10, 20, 30], last=30)
  assert [*problem.samples(tmp_path)] == [10, 20, 30]


def test_texts_after_the_step_of_a_resume_are_removed(tmp_path):
  extend(history(tmp_path), range(10, 50, 10))
  again = history(tmp_path, step=25)
  assert [*problem.samples(tmp_path)] == [10, 20]
  extend(again, [30, 40])
  assert [*problem.samples(tmp_path)] == [10, 20, 40]
  again.rewind(0)
  assert problem.samples(tmp_path) == {}


@pytest.mark.parametrize(
  "content", ["{", "[]", '{"samples": 3}', '{"samples": [{"step": "x"}]}']
)
def test_a_damaged_file_is_reported_and_begun_again(tmp_path, caplog, content):
  extend(history(tmp_path), [10])
  (tmp_path / NAME).write_text(content)
  (tmp_path / "sha256.json").unlink()
  with caplog.at_level(logging.WARNING, "dlcore"):
    again = history(tmp_path, step=10)
  assert NAME in caplog.text
  extend(again, [20])
  assert [*problem.samples(tmp_path)] == [20]


def test_a_changed_file_differs_from_its_checksum(tmp_path, caplog):
  extend(history(tmp_path), [10])
  text = (tmp_path / NAME).read_text()
  (tmp_path / NAME).write_text(text.replace("text 20", "text 21"))
  with caplog.at_level(logging.WARNING, "dlcore"):
    history(tmp_path, step=10)
  assert "checksum" in caplog.text


def test_a_generation_that_fails_does_not_cost_the_run(tmp_path, caplog):
  def fail(params, model_state):
    raise ValueError("no cache")

  with caplog.at_level(logging.WARNING, "dlcore"):
    made = history(tmp_path, SAMPLES._replace(generate=fail))
  extend(made, [10])
  assert "no cache" in caplog.text
  assert not (tmp_path / NAME).exists()


def test_runs_without_texts_or_folder_write_none(tmp_path):
  extend(history(tmp_path, None), [10])
  extend(history(None), [10])
  assert not [*tmp_path.iterdir()]
