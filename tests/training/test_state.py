"""The state under JAX's transformations, and the settings of a run."""

import dataclasses
import inspect

import jax
import numpy as np
import optax
import problem
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dlcore import data, optim, storage, tasks, training
from dlcore.errors import UserError
from dlcore.training import checks

TASK = tasks.classification(problem.Net())
TX = optim.create("adamw", learning_rate=0.02)


def batch():
  rows = problem.indices(0)
  return {**problem.source(50).read(rows), "index": rows}


def create(batch):
  return training.init_state(TASK, TX, batch, seed=1)


def test_init_state_works_under_eval_shape():
  shapes = jax.eval_shape(create, batch())
  state = create(batch())
  assert jax.tree.structure(shapes) == jax.tree.structure(state)
  for shape, leaf in zip(
    jax.tree.leaves(shapes), jax.tree.leaves(state), strict=True
  ):
    assert (shape.shape, shape.dtype) == (leaf.shape, leaf.dtype)


def test_a_new_state_is_immutable_and_counts_from_zero():
  state = create(batch())
  assert int(state.step) == int(state.batch_index) == 0
  assert not any(map(np.any, jax.tree.leaves(state.metrics)))
  with pytest.raises(dataclasses.FrozenInstanceError):
    state.step = 1


def test_init_state_works_under_jit_with_out_shardings():
  mesh = Mesh(np.array(jax.devices()), ("data",))
  whole = NamedSharding(mesh, PartitionSpec())
  state = jax.jit(create, out_shardings=whole)(batch())
  plain = jax.jit(create)(batch())
  for path, leaf in problem.leaves(state).items():
    np.testing.assert_array_equal(leaf, problem.leaves(plain)[path])
  for leaf in jax.tree.leaves(state):
    assert leaf.sharding.is_equivalent_to(whole, leaf.ndim)


@pytest.mark.parametrize("tx", [TX, optax.adam(0.02)])
def test_a_plain_jit_of_make_step_trains_a_state(tx):
  state = training.init_state(TASK, tx, batch())
  step = jax.jit(training.make_step(TASK, tx))
  losses = []
  for _ in range(20):
    state, log = step(state, batch())
    losses.append(float(log["loss"]))
  assert losses[-1] < 0.7 * losses[0]
  assert int(state.step) == int(state.batch_index) == 20
  assert ("learning_rate" in log) == (tx is TX)


def test_a_seed_decides_the_initial_state():
  one, again = create(batch()), create(batch())
  problem.assert_equal(one, again)
  other = training.init_state(TASK, TX, batch(), seed=2)
  assert (other.params["head"]["kernel"] != one.params["head"]["kernel"]).any()
  assert (other.key != one.key).any()


@pytest.mark.parametrize("names", [("easy", "hard"), ("hard", "easy")])
@pytest.mark.fast_cases("names1")
def test_the_first_of_several_validation_sets_decides(tmp_path, names):
  random = problem.source(30, seed=3)
  labels = np.random.default_rng(7).permutation(random.arrays["label"])
  arrays = {**random.arrays, "label": labels}
  sources = {
    "easy": problem.source(30, seed=1),
    "hard": random._replace(
      arrays=arrays, read=lambda rows: {k: v[rows] for k, v in arrays.items()}
    ),
  }
  valid = {name: sources[name] for name in names}
  result = problem.fit(tmp_path, valid=valid, augment=None, eval_every=5)
  best = {}
  for name in names:
    rows = problem.lines(tmp_path, f"valid/{name}")
    assert [row["step"] for row in rows] == list(range(5, 41, 5))
    best[name] = min(rows, key=lambda row: (row["loss"], -row["step"]))["step"]
  assert best["easy"] != best["hard"]
  assert int(result.best.step) == best[names[0]]


@pytest.mark.slow
def test_a_validation_set_is_evaluated_the_same_with_others(tmp_path):
  problem.fit(tmp_path / "one", steps=10)
  valid = {"a": problem.source(20, seed=5), "b": problem.source(30, seed=1)}
  problem.fit(tmp_path / "two", steps=10, valid=valid)
  (one,) = problem.lines(tmp_path / "one", "valid")
  (two,) = problem.lines(tmp_path / "two", "valid/b")
  assert {**two, "split": "valid"} == one


def test_keep_every_keeps_checkpoints(tmp_path):
  result = problem.fit(tmp_path, checkpoint_every=5, keep_every=15)
  kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
  assert kept == {15, 30, 35, 40, int(result.best.step)}
  assert storage.is_good(tmp_path / "checkpoints", 15)


@pytest.mark.slow
def test_a_run_without_a_folder_rolls_back_in_memory(tmp_path):
  settings = {"wrap": problem.spoiled(33, 34, 35)}
  in_memory = problem.fit(**settings)
  assert float(in_memory.last.rate_scale) == 0.5
  assert int(in_memory.last.batch_index) == 46
  problem.assert_equal(in_memory, problem.fit(tmp_path, **settings))


@pytest.mark.slow
def test_a_run_without_a_folder_returns_its_best_state(tmp_path):
  # The loss falls, so the state of the greatest one is not the last.
  settings = {"best_by": "loss"}
  in_memory = problem.fit(**settings)
  assert int(in_memory.best.step) < int(in_memory.last.step) == 40
  problem.assert_equal(in_memory, problem.fit(tmp_path, **settings))
  shorter = problem.fit(steps=int(in_memory.best.step), **settings)
  problem.assert_equal(shorter.last, in_memory.best)


def test_fewer_steps_than_the_run_has_made_are_refused(tmp_path):
  problem.fit(tmp_path, steps=10)
  with pytest.raises(UserError, match="fewer steps: 10 in the run, 9 now"):
    problem.fit(tmp_path, steps=9)
  with pytest.raises(UserError, match="steps of at least 10") as caught:
    problem.fit(tmp_path, steps=9, on_change="warn")
  assert caught.value.lines[1] == "got 9"


@pytest.mark.slow
def test_profile_writes_a_trace_and_changes_no_bit(tmp_path):
  plain = problem.fit(steps=6)
  profiled = problem.fit(tmp_path, steps=6, profile=(2, 4))
  (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
  assert trace.stat().st_size > 0
  problem.assert_equal(profiled, plain)


@pytest.mark.parametrize(
  ("name", "value"),
  [
    *(("steps", 0), ("ema", 1.0), ("spike_factor", -1.0), ("keep_every", -1)),
    *(("log_every", 2**31), ("max_consecutive_skips", 10**30)),
  ],
)
def test_a_setting_out_of_range_is_refused_by_name(name, value):
  with pytest.raises(UserError) as caught:
    problem.fit(**{name: value})
  first, *_ = caught.value.lines
  assert first.startswith(f"expected {name} of at least")
  assert ("and at most" in first) == (name != "spike_factor")


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"steps": "10"}, "expected steps to be an integer"),
    ({"steps": 10.0}, "expected steps to be an integer"),
    ({"eval_every": 2.5}, "expected eval_every to be an integer"),
    ({"accumulate": True}, "expected accumulate to be an integer"),
    ({"ema": "0.9"}, "expected ema to be a number"),
    ({"profile": (10, 5)}, "profile as .first, last."),
    ({"profile": (5, 5)}, "profile as .first, last."),
    ({"devices": []}, "one device or more"),
    ({"order": data.shuffled(51, 16)}, "an order of the 50 training examples"),
  ],
)
def test_a_value_of_another_kind_is_refused_by_name(settings, message):
  with pytest.raises(UserError, match=message):
    problem.fit(**settings)


def test_the_ranges_of_fit_end_where_they_are_documented():
  most = 2**31 - 1
  positive = "steps batch_size accumulate max_consecutive_skips"
  limits = {
    **dict.fromkeys([*positive.split(), "eval_batch_size"], (1, most)),
    **dict.fromkeys(checks.RANGES.keys() - positive.split(), (0, most)),
    "eval_batch_size": (1, most),
    "seed": (0, 2**32 - 1),
    "ema": (0, 0.999_999_999),
    "min_delta": (0, np.inf),
    "spike_factor": (0, np.inf),
    "memory_limit": (0, np.inf),
  }
  parameters = inspect.signature(training.fit).parameters.values()
  defaults = {p.name: p.default for p in parameters} | {"steps": 1}
  for name, (least, greatest) in limits.items():
    for value in (least, greatest):
      checks.check_ranges({**defaults, name: value})
    beyond = {np.inf: np.nan, limits["ema"][1]: 1.0}
    for value in (least - 1, beyond.get(greatest, greatest + 1)):
      with pytest.raises(UserError, match=f"expected {name} of at least"):
        checks.check_ranges({**defaults, name: value})


def test_every_number_of_fit_has_a_range():
  parameters = inspect.signature(training.fit).parameters.values()
  numbers = {
    p.name for p in parameters if p.annotation in (int, float, "int", "float")
  }
  assert numbers == checks.RANGES.keys()
