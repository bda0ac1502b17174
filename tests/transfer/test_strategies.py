"""What a strategy trains, and from which weights it begins."""

import functools
import json
import re
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
from dlcore.experiment.example_inputs import example_inputs

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


@pytest.mark.slow
def test_a_run_of_stacked_blocks_is_the_source_of_separate_ones(tmp_path):
  def config(source, **model):
    fields = {"width": 8, "depth": 2, "num_heads": 2, "patch_size": 4}
    tree = complete(source, steps=1)
    tree["model"] = {"name": "vit_tiny", **fields, **model}
    tree["optim"] = {"learning_rate": 0.0}
    return experiment.complete(tree)

  experiment.train(config("", scan=True), tmp_path / "a", progress=False)
  stacked = trees.flatten(params_of(tmp_path / "a"))
  for name, scan in (("b", False), ("c", True)):
    run = tmp_path / name
    experiment.train(config(tmp_path / "a", scan=scan), run, progress=False)
    for path, leaf in trees.flatten(params_of(run)).items():
      block = re.match(r"block_(\d)/", path)
      whole = stacked[re.sub(r"block_\d/", "blocks/", path)]
      expected = whole[int(block[1])] if block else whole
      np.testing.assert_array_equal(leaf, expected, err_msg=path)


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
    ("gradual", {"number": 2.5}, "expected number"),
    ("gradual", {"rate": np.inf}, "expected rate"),
    ("fine_tune", {"rate": np.nan}, "expected rate"),
    ("fine_tune", {"spread": np.nan}, "expected spread"),
    ("layerwise", {"decay": np.nan}, "expected decay"),
    ("l2sp", {"beta": np.nan}, "expected beta"),
    ("lora", {"rank": 2.5}, "expected rank"),
    ("lora", {"alpha": 0.0}, "expected alpha"),
    ("lora", {"alpha": np.nan}, "expected alpha"),
    ("lora", {"dropout": 1.0}, "expected dropout of at least 0 and below 1"),
    ("lora", {"dropout": -0.5}, "expected dropout"),
    ("lora", {"pattern": ""}, "expected pattern to match"),
    ("setfit", {"share": 1.0}, "expected share"),
    ("setfit", {"rate": np.nan}, "expected rate"),
    ("setfit", {"temperature": 0.0}, "expected temperature"),
    ("bitfit", {"trained": "("}, "expected trained to be a regular"),
    ("head", {"trained": ""}, "'', which matches all"),
    ("fine_tune", {"trained": ""}, "'', which matches all"),
    ("gradual", {"trained": ""}, "'', which matches all"),
    ("setfit", {"trained": ""}, "'', which matches all"),
  ],
)
def test_settings_out_of_range_are_refused(name, settings, message):
  def use():
    for phase in transfer.STRATEGIES[name](**settings):
      trained_in(phase)

  with pytest.raises(UserError, match=message):
    use()


def test_an_empty_pattern_adds_no_parameters_to_those_of_the_strategy():
  biases = {path for path in ALL if path.endswith("/bias")}
  assert trained("bitfit", trained="") == biases
  adapters = trained("lora", trained="")
  assert {path.split("/")[0] for path in adapters} == {"adapters"}
  # All of the parameters have a distance from the start.
  [phase] = transfer.STRATEGIES["l2sp"](alpha=0.3, beta=0.7, trained="")
  task = phase.task(TASK, layers)
  params, state = task.init(KEY, BATCH)
  assert set(trees.flatten(state["frozen"]["start"])) == ALL
  (total, _), _ = task.loss(params, state, BATCH, KEY)
  (plain, _), _ = TASK.loss(params, {}, BATCH, KEY)
  assert float(total) == float(plain)


@pytest.mark.parametrize(
  "name", ["last_n", "layerwise", "fine_tune", "gradual"]
)
def test_layers_whose_parameters_are_stacked_are_refused(name):
  task = tasks.classification(VIT.clone(scan=True))
  params, _ = jax.eval_shape(task.init, KEY, BATCH)

  def stacked():
    return transfer.layer_order(
      lambda params: task.predict(params, {}, BATCH, KEY), params
    )

  def use():
    for phase in transfer.STRATEGIES[name]():
      phase.rates(stacked)
      phase.task(task, stacked)

  with pytest.raises(UserError, match=r"stacked ones[\s\S]*scan=False"):
    use()


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


def test_setfit_needs_one_class_for_every_example():
  config = experiment.complete(
    {
      "data": {"name": "diabetes"},
      "model": {"name": "mlp"},
      "task": {"name": "regression"},
      "init": {"strategy": {"name": "setfit"}},
    }
  )
  with pytest.raises(UserError, match=r"'setfit'[\s\S]*no classes") as error:
    experiment.build(config)
  assert "sampling" not in str(error.value)


def with_rates(name, *rates):
  config = complete(name=name)
  config["optim"] = {
    "name": "sgd",
    "rates": rates,
    "layers": ("^dense_0", "^dense_1"),
    "layer_decay": 0.5,
    "clip_norm": 0.0,
    "schedule": {"name": "constant"},
    "learning_rate": 1.0,
  }
  return experiment.build(experiment.complete(config))


@pytest.mark.parametrize("name", ["fine_tune", "gradual", "head", "lora"])
def test_a_rate_of_frozen_parameters_is_accepted(name):
  last = with_rates(name, ("^dense_0/", 0.25))
  counts = []
  for phase in (*last.earlier, last):
    info = phase.splits.train.info
    params, _ = phase.task.init(KEY, example_inputs(info))
    ones = jax.tree.map(jnp.ones_like, params)
    moves, _ = phase.tx.update(ones, phase.tx.init(params), params)
    own = moves.get("dense_0", {})
    counts.append(len(own))
    for leaf in own.values():
      np.testing.assert_allclose(leaf, -0.25 * 0.5 * phase.phase.rate)
  assert counts == {"fine_tune": [0, 2], "gradual": [0, 0, 0, 2]}.get(name, [0])


def test_a_rate_of_no_parameter_of_the_model_is_refused():
  last = with_rates("fine_tune", ("^dense_9/", 0.5))
  [first] = last.earlier
  for phase in (first, last):
    params, _ = phase.task.init(KEY, example_inputs(phase.splits.train.info))
    with pytest.raises(UserError, match="expected the patterns of rates"):
      phase.tx.init(params)


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fine_tune", "setfit"])
def test_a_run_of_several_phases_is_not_made_longer(source, tmp_path, name):
  run = tmp_path / "run"

  def config(steps, **training):
    tree = complete(source, steps=steps, name=name)
    tree["optim"]["schedule"] = {"name": "constant"}
    return experiment.complete(
      {**tree, "training": {"steps": steps, **training}}
    )

  summary = experiment.train(config(6), run, progress=False)
  files = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
  message = r"expected training\.steps=6, [\s\S]*the 2 phases of [\s\S]*got 12"
  with pytest.raises(UserError, match=message):
    experiment.train(config(12), run, progress=False)
  assert files == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
  loss = experiment.evaluate(run)["loss"]
  assert loss == summary["metrics"]["test/loss"]
  # The number of epochs has no effect beside that of steps.
  again = experiment.train(config(6, epochs=20.0), run, progress=False)
  assert again == summary


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
