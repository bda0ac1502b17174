"""What a strategy trains, and from which weights it begins."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import (
  data,
  experiment,
  models,
  optim,
  storage,
  tasks,
  training,
  transfer,
  trees,
)
from dlcore.errors import UserError
from dlcore.experiment import restoring
from dlcore.experiment.adaptation import phase_steps

KEY = jax.random.key(0)
BATCH = {
  "image": np.random.default_rng(0).random((4, 8, 8, 1), np.float32),
  "label": np.arange(4, dtype=np.int32) % 3,
  "index": np.arange(4, dtype=np.int32),
  "slot": np.arange(4, dtype=np.int32),
}
VIT = models.create(
  "vit_tiny",
  num_classes=3,
  patch_size=4,
  width=8,
  depth=3,
  num_heads=2,
  mlp_dim=8,
)
TASK = tasks.classification(VIT)
PARAMS, _ = TASK.init(KEY, BATCH)


def layers():
  return transfer.layer_order(
    lambda params: TASK.predict(params, {}, BATCH, KEY), PARAMS
  )


def trained(name, **settings):
  """The parameters that a strategy trains."""
  [phase] = transfer.STRATEGIES[name](**settings)
  return trained_in(phase)


def trained_in(phase):
  """The parameters that a phase trains."""
  task = phase.task(TASK, layers)
  return set(trees.flatten(task.init(KEY, BATCH)[0]))


ALL = set(trees.flatten(PARAMS))


def test_strategies_train_what_their_names_say():
  head = {"head/kernel", "head/bias"}
  for name in ("full", "layerwise", "l2sp", "scratch"):
    assert trained(name) == ALL
  assert trained("head") == head
  last = {path for path in ALL if path.startswith("block_2/")}
  assert trained("last_n", number=1) == head | last | {
    "norm/scale",
    "norm/bias",
  }
  assert len(trained("last_n", number=2)) == len(trained("last_n")) > len(last)
  biases = {path for path in ALL if path.endswith("/bias")}
  assert trained("bitfit") == biases | head
  adapters = {p for p in trained("lora") if p.startswith("adapters/")}
  assert trained("lora") - adapters == head
  assert "adapters/block_0/attention/query/a" in adapters
  assert "adapters/patches/kernel/a" in adapters


def test_rates_fall_towards_the_input():
  [phase] = transfer.STRATEGIES["layerwise"](decay=0.5)
  rates = phase.rates(layers)
  tx = optim.create("sgd", learning_rate=1.0, rates=rates)
  gradient = jax.tree.map(jnp.ones_like, PARAMS)
  moves, _ = tx.update(gradient, tx.init(PARAMS), PARAMS)
  moves = {path: float(-x.max()) for path, x in trees.flatten(moves).items()}
  assert moves["head/kernel"] == 1
  assert (
    moves["norm/scale"]
    == moves[
      "block_2/mlp/dense_0/kernel"
      if "block_2/mlp/dense_0/kernel" in moves
      else "norm/bias"
    ]
    == 0.5
  )
  assert moves["patches/kernel"] == moves["position"] == 0.5**4


def test_the_penalty_is_half_the_squared_distance_from_the_start():
  [phase] = transfer.STRATEGIES["l2sp"](alpha=0.3, beta=0.7)
  task = phase.task(TASK, layers)
  _, model_state = task.init(KEY, BATCH)
  moved = jax.tree.map(lambda leaf: leaf + 0.1, PARAMS)
  (total, weight), (state, measured) = task.loss(moved, model_state, BATCH, KEY)
  (plain, _), (_, expected) = TASK.loss(moved, {}, BATCH, KEY)
  new = [x for path, x in trees.flatten(moved).items() if "head/" in path]
  old = sum(x.size for x in jax.tree.leaves(moved)) - sum(x.size for x in new)
  penalty = 0.3 / 2 * old * 0.1**2
  penalty += 0.7 / 2 * sum(float(jnp.square(x).sum()) for x in new)
  assert float((total - plain) / weight) == pytest.approx(penalty, rel=1e-4)
  assert measured == expected
  assert jax.tree.structure(state) == jax.tree.structure(model_state)
  others = {"params": moved}
  params, model_state = task.with_variables(PARAMS, model_state, others)
  assert task.variables(params, model_state)["params"] is not None
  (total, _), _ = task.loss(params, model_state, BATCH, KEY)
  only_new = 0.7 / 2 * sum(float(jnp.square(x).sum()) for x in new)
  assert float((total - plain) / weight) == pytest.approx(only_new, rel=1e-4)


def test_layers_are_unfrozen_from_the_last_to_the_first():
  phases = transfer.STRATEGIES["gradual"](number=2, rate=0.5, decay=0.25)
  sets = [trained_in(phase) for phase in phases]
  assert sets[0] == {"head/kernel", "head/bias"}
  assert sets[0] < sets[1] < sets[2] == ALL
  assert {path.split("/")[0] for path in sets[1]} == {
    *("block_1", "block_2", "norm", "head"),
  }
  assert [phase.rate for phase in phases] == [1, 0.5, 0.125]


def test_fine_tuning_trains_the_head_and_then_all_at_lower_rates():
  first, second = transfer.STRATEGIES["fine_tune"](spread=16.0)
  assert trained_in(first) == {"head/kernel", "head/bias"}
  assert trained_in(second) == ALL
  assert (first.share, second.share, second.rate) == (0.2, 0.8, 0.5)
  values = [value for _, value in second.rates(layers)]
  np.testing.assert_allclose(values, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])


@pytest.mark.parametrize("steps", [3, 4, 5, 10, 1000])
def test_the_phases_share_all_steps(steps):
  equal = transfer.STRATEGIES["gradual"](number=2)
  counts = phase_steps(equal, steps)
  assert (sum(counts), min(counts) > 0, len(counts)) == (steps, True, 3)
  assert max(counts) - min(counts) <= 1
  uneven = transfer.STRATEGIES["fine_tune"](head_share=0.999)
  assert phase_steps(uneven, 10) == [9, 1]
  uneven = transfer.STRATEGIES["fine_tune"](head_share=0.001)
  assert phase_steps(uneven, 10) == [1, 9]
  with pytest.raises(UserError, match="at least 3, the phases"):
    phase_steps(equal, 2)


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("head", {"trained": "nothing"}, "expected trained to match"),
    ("head", {"trained": "("}, "regular expression"),
    ("last_n", {"number": 0}, "expected number of at least 1"),
    ("last_n", {"number": 3}, "expected number below 3"),
    ("layerwise", {"decay": 0.0}, "expected decay"),
    ("l2sp", {"alpha": -1.0}, "expected alpha"),
    ("l2sp", {"trained": "("}, "trained to be a regular expression"),
    ("lora", {"trained": "("}, "trained to be a regular expression"),
    ("setfit", {"trained": "("}, "trained to be a regular expression"),
    ("lora", {"rank": 0}, "expected rank"),
    ("fine_tune", {"head_share": 1.0}, "expected head_share"),
    ("fine_tune", {"spread": 0.5}, "expected spread"),
    ("fine_tune", {"rate": 0.0}, "expected rate"),
    ("gradual", {"number": 0}, "expected number"),
    ("gradual", {"rate": -1.0}, "expected rate"),
    ("gradual", {"decay": 0.0}, "expected decay"),
  ],
)
def test_settings_out_of_range_are_refused(name, settings, message):
  with pytest.raises(UserError, match=message):
    trained(name, **settings)


def complete(source="", steps=6, **settings):
  return experiment.complete(
    {
      "data": {"name": "digits", "batch_size": 32, "limit": 256},
      "model": {"name": "mlp", "widths": (16, 16)},
      "init": {"source": str(source), "strategy": settings or {"name": "full"}},
      "optim": {"learning_rate": 1e-2},
      "training": {"steps": steps},
      "sharding": {"devices": 1},
    }
  )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs") / "source"
  experiment.train(complete(steps=30), folder, progress=False)
  return folder


@pytest.mark.slow
@pytest.mark.parametrize(
  "settings",
  [
    {"name": "lora", "rank": 2},
    {"name": "lora", "dora": True, "base": "int8"},
    {"name": "head"},
    {"name": "l2sp"},
    {"name": "layerwise", "decay": 0.5},
  ],
  ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_a_run_begins_with_the_weights_and_is_evaluated_and_exported(
  source, tmp_path, settings
):
  run = tmp_path / "run"
  summary = experiment.train(complete(source, **settings), run, progress=False)
  assert (
    experiment.evaluate(run)["accuracy"] == summary["metrics"]["test/accuracy"]
  )
  # A few steps from trained weights: far above those from random ones.
  assert summary["metrics"]["test/accuracy"] > 0.5
  experiment.export(run, "safetensors", tmp_path / "out")
  again = experiment.build(complete(tmp_path / "out"))
  assert again.model.widths == (16, 16)
  images = data.load("digits").test.read(np.arange(8))["image"]
  rows = experiment.load(run).predict(images)
  assert [row["label"] for row in rows]
  kept = json.loads((run / "config.json").read_text())["init"]["strategy"]
  assert kept["name"] == settings["name"]


def params_of(folder):
  run = restoring.restore_run(folder, None)
  return run.task.variables(run.params, run.model_state)["params"]


def test_a_strategy_excludes_other_frozen_parameters():
  config = complete(name="head")
  config["optim"]["freeze"] = "^dense_0"
  with pytest.raises(UserError, match=r"init\.strategy or optim\.freeze"):
    experiment.build(config)


def variables_at_step(folder, step):
  checkpoints = folder / "checkpoints"
  return trees.flatten(storage.read_variables(checkpoints, step)["params"])


@pytest.mark.slow
def test_scratch_trains_the_model_of_the_source_from_random_weights(
  source, tmp_path, caplog
):
  caplog.set_level("INFO", "dlcore")
  config = complete(source, name="scratch")
  experiment.train(config, tmp_path / "scratch", progress=False)
  assert f"random weights, not those of {source}" in caplog.text
  assert "matched" not in caplog.text
  plain = complete(name="full")
  experiment.train(plain, tmp_path / "plain", progress=False)
  one, two = (
    trees.flatten(params_of(tmp_path / name)) for name in ("scratch", "plain")
  )
  for path, leaf in one.items():
    np.testing.assert_array_equal(leaf, two[path], err_msg=path)
  assets = tmp_path / "scratch" / "assets"
  assert not (assets / "initial_weights.json").exists()
  assert not (assets / "phases.json").exists()


@pytest.mark.slow
def test_scratch_continues_with_the_same_bits_without_the_source(
  source, tmp_path, monkeypatch
):
  base = shutil.copytree(source, tmp_path / "base")
  config = complete(base, steps=12, name="scratch")
  experiment.train(config, tmp_path / "straight", progress=False)
  fit = training.fit

  @functools.wraps(fit)
  def interrupted(*arguments, **settings):
    fit(*arguments, **{**settings, "steps": 6})
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(training, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
      experiment.train(config, tmp_path / "stopped", progress=False)
  shutil.rmtree(base)
  experiment.train(config, tmp_path / "stopped", progress=False)
  one, two = (
    variables_at_step(tmp_path / name, 12) for name in ("straight", "stopped")
  )
  assert one.keys() == two.keys()
  for path, leaf in one.items():
    np.testing.assert_array_equal(leaf, two[path], err_msg=path)


def test_scratch_excludes_adapters():
  config = complete("missing", name="scratch")
  config["init"]["adapter"] = "folder"
  with pytest.raises(UserError, match=r"init\.strategy=scratch") as error:
    experiment.build(config)
  assert len(error.value.lines) == 3


@pytest.mark.slow
def test_random_weights_that_stay_frozen_are_a_warning(tmp_path, caplog):
  config = complete(name="head", steps=1)
  experiment.train(config, tmp_path / "run", progress=False)
  assert "leaves random weights frozen" in caplog.text


@pytest.mark.slow
def test_a_phase_begins_where_the_one_before_has_ended(source, tmp_path):
  config = complete(source, steps=9, name="gradual", number=2)
  parts = experiment.build(config)
  first, second = parts.earlier
  assert (first.steps, second.steps, parts.steps) == (3, 3, 3)
  begun = first.fit(tmp_path / "0", progress=False).last
  origin = params_of(source)
  whole = tasks.variables(first.task, begun)["params"]
  changed = {
    path
    for path, leaf in trees.flatten(whole).items()
    if (leaf != trees.flatten(origin)[path]).any()
  }
  assert changed == {"head/kernel", "head/bias"}
  moved = second.fit(
    tmp_path / "1",
    before=lambda: tasks.variables(first.task, begun),
    progress=False,
  )
  after = tasks.variables(second.task, moved.last)["params"]
  still = trees.flatten(whole)["dense_0/kernel"]
  np.testing.assert_array_equal(after["dense_0"]["kernel"], still)


@pytest.mark.slow
@pytest.mark.parametrize("stopped_in", [0, 1, 2])
def test_a_run_of_phases_continues_with_the_same_bits(
  source, tmp_path, monkeypatch, stopped_in
):
  config = complete(source, steps=18, name="gradual", number=2)
  experiment.train(config, tmp_path / "straight", progress=False)
  fit, calls = training.fit, []

  @functools.wraps(fit)
  def interrupted(*arguments, **settings):
    calls.append(settings)
    if len(calls) <= stopped_in:
      return fit(*arguments, **settings)
    # Half of the steps, with the schedule of all of them.
    half = {**settings, "steps": settings["steps"] // 2}
    fit(*arguments, **half)
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(training, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
      experiment.train(config, tmp_path / "stopped", progress=False)
  other = complete(source, steps=18, name="gradual", number=2, rate=0.25)
  with pytest.raises(UserError, match=r"init\.strategy\.rate"):
    experiment.train(other, tmp_path / "stopped", progress=False)
  experiment.train(config, tmp_path / "stopped", progress=False)
  one, two = (
    trees.flatten(params_of(tmp_path / name))
    for name in ("straight", "stopped")
  )
  for path, leaf in one.items():
    np.testing.assert_array_equal(leaf, two[path])
