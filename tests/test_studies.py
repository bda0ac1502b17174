"""The studies that show how to use the parts work as they claim."""

import json
import subprocess
import sys
from pathlib import Path

import gan
import jax
import jax.numpy as jnp
import memory_charts
import memory_problems
import minimal_loop
import numpy as np
import own_parts
import pytest
from tables import of_campaigns

from dlcore import storage, trees

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_minimal_loop_learns_and_saves_in_sixty_lines(tmp_path):
  values = minimal_loop.main(tmp_path, steps=300)
  assert values["accuracy"] > 0.85
  tree = storage.read_checkpoint(tmp_path, 300)
  assert tree["state"]["step"] == 300
  with open(minimal_loop.__file__) as file:
    assert sum(bool(line.strip()) for line in file) <= 60


@pytest.mark.slow
def test_a_gan_of_two_tasks_approaches_the_data(tmp_path):
  before, after = gan.main(steps=1000)
  assert after < before / 2


@pytest.mark.slow
def test_parts_of_ones_own_learn():
  before, after = own_parts.main(steps=200)
  assert after < before / 2


def test_the_target_of_the_adding_problem_is_the_sum_of_a_mark_in_each_half():
  problem = memory_problems.PROBLEMS["adding"]
  arrays = problem.make(7, 4000, seed=3).arrays
  numbers, marks = np.moveaxis(arrays["features"], -1, 0)
  np.testing.assert_array_equal(marks[:, :3].sum(1), 1)
  np.testing.assert_array_equal(marks[:, 3:].sum(1), 1)
  np.testing.assert_allclose((numbers * marks).sum(1), arrays["target"], 1e-6)
  # The squared error of the mean, whose own error is 3 deviations of 4,000.
  assert np.var(arrays["target"]) == pytest.approx(problem.trivial, abs=0.009)


def test_the_symbols_of_delayed_copying_are_the_labels_of_the_last_steps():
  arrays = memory_problems.copying(9, 50, seed=3).arrays
  ids, labels = arrays["features"].argmax(-1), arrays["labels"]
  np.testing.assert_array_equal(arrays["features"].sum(-1), 1)
  np.testing.assert_array_equal(labels[:, -3:], ids[:, :3])
  assert (labels[:, :-3] == memory_problems.IGNORED).all()
  # Pauses, and a signal in each of the last steps, are the same for all.
  assert (ids[:, 3:] == [8] * 3 + [9] * 3).all()


@pytest.mark.parametrize("name", memory_problems.PROBLEMS)
def test_series_are_a_function_of_the_seed(name):
  make = memory_problems.PROBLEMS[name].make
  assert make(8, 20, 0).info.sha256 == make(8, 20, 0).info.sha256
  assert make(8, 20, 0).info.sha256 != make(8, 20, 1).info.sha256


@pytest.mark.parametrize("name", memory_problems.PROBLEMS)
def test_the_compared_networks_have_about_equally_many_parameters(name):
  problem = memory_problems.PROBLEMS[name]
  batch = problem.make(8, 2, 0).read(np.arange(2))
  sizes = {}
  for model, make in memory_problems.MODELS.items():
    task = problem.task(make(**problem.outputs))
    params, _ = jax.eval_shape(task.init, jax.random.key(0), batch)
    sizes[model] = trees.count(params)
  assert max(sizes.values()) < 1.15 * min(sizes.values()), sizes


class Decay:
  """A linear memory: a step `d` before the last one has the weight 0.5**d."""

  def apply(self, variables, inputs, *, train):
    distance = jnp.arange(inputs.shape[1])[::-1]
    return jnp.einsum("BTF,T->B", inputs, 0.5**distance)[:, None]


def test_gradient_norms_are_ordered_by_distance():
  norms = memory_problems.gradient_norms(Decay(), {}, jnp.ones((3, 5, 4)))
  np.testing.assert_allclose(norms, 2 * 0.5 ** np.arange(5), rtol=1e-6)


@pytest.mark.slow
def test_the_study_of_long_memory_ends_with_its_page_and_table(tmp_path):
  output = tmp_path / "result.json"
  subprocess.run(
    [
      sys.executable,
      "experiments/studies/long_memory.py",
      "--fast",
      f"--workdir={tmp_path}",
      f"--output={output}",
    ],
    cwd=ROOT,
    check=True,
  )
  result = json.loads(output.read_text())
  assert set(result["gradients"]) == set(memory_problems.MODELS)
  for by_model in result["error"].values():
    for errors in by_model.values():
      assert [len(row) for row in errors] == [2, 1]
  page = (tmp_path / "report.html").read_text()
  for name in memory_charts.NAMES.values():
    assert name in page
  assert "at initialization" in page
  assert "| copying | `gru` |" in of_campaigns.long_memory(result)
