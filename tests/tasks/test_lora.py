"""Tasks with low-rank adapters: equal to merged weights, cheap, resumable."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore import layers, models, tasks, training, transfer, trees
from dlcore.errors import UserError

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
HEAD = "^head/"
TOKENS = RANDOM.integers(4, 60, (4, 9)).astype(np.int32)
PIXELS = RANDOM.random((4, 16, 16, 3), np.float32)
TRANSFORMER = {"width": 16, "depth": 2, "num_heads": 2, "mlp_dim": 32}
BERT = {
  **TRANSFORMER,
  "vocab_size": 60,
  "num_token_types": 0,
  "max_length": 16,
  "dropout": 0.0,
}
MODELS = {
  "bert_base": BERT,
  "bert_base, scan": {**BERT, "scan": True},
  "bert_base, remat": {**BERT, "remat": True},
  "vit_tiny": {**TRANSFORMER, "patch_size": 4},
  "resnet18": {"width": 4},
  "lstm": {"width": 8, "vocab_size": 60},
}
SETTINGS = {
  "plain": {},
  "stabilized": {"rank_stabilized": True, "alpha": 3.0},
  "dora": {"dora": True},
  "bfloat16": {"base": "bfloat16"},
  "int8": {"base": "int8"},
}


def make(name, **settings):
  """The task of a model, and a batch."""
  entry = name.split(",")[0]
  of_tokens = entry in ("bert_base", "lstm")
  input_name = "input_ids" if of_tokens else "image"
  model = models.create(entry, num_classes=3, **MODELS[name])
  batch = {
    input_name: TOKENS if of_tokens else PIXELS,
    "label": np.array([0, 1, 2, 1], np.int32),
    "index": np.arange(4, dtype=np.int32),
    "slot": np.arange(4, dtype=np.int32),
  }
  return tasks.classification(model, input=input_name, **settings), batch


def perturbed(params):
  """Other values for all parameters, such as B, which begins at 0."""
  keys = jax.random.split(KEY, len(jax.tree.leaves(params)))
  leaves, structure = jax.tree.flatten(params)
  return structure.unflatten(
    [
      x + 0.05 * jax.random.normal(k, x.shape)
      for k, x in zip(keys, leaves, strict=True)
    ]
  )


def loss_of(task, params, model_state, batch):
  (total, weight), _ = task.loss(params, model_state, batch, KEY)
  return total / weight


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.fast_cases("lstm-dora")
def test_adapters_compute_what_their_merged_weights_do(name, settings):
  base, batch = make(name)
  task = tasks.lora(base, rank=3, trained=HEAD, **SETTINGS[settings])
  params, model_state = task.init(KEY, batch)
  params = perturbed(params)
  variables = dict(task.variables(params, model_state))
  whole = variables.pop("params")
  pairs = [
    (task.evaluate(params, model_state, batch, KEY)[1]["loss"][0],
     base.evaluate(whole, variables, batch, KEY)[1]["loss"][0]),
    (task.predict(params, model_state, batch, KEY)["probabilities"],
     base.predict(whole, variables, batch, KEY)["probabilities"]),
  ]  # fmt: skip
  with layers.frozen("", dropout=False):
    expected = loss_of(base, whole, variables, batch)
  pairs.append((loss_of(task, params, model_state, batch), expected))
  tolerance = 1e-2 if settings == "bfloat16" else 1e-5
  for own, other in pairs:
    np.testing.assert_allclose(own, other, rtol=tolerance, atol=tolerance)
  shapes = jax.eval_shape(base.init, KEY, batch)[0]
  assert jax.tree.structure(whole) == jax.tree.structure(shapes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert_base, scan", "resnet18"])
def test_the_first_outputs_are_those_of_the_model(name):
  base, batch = make(name)
  params, model_state = base.init(KEY, batch)
  expected = base.predict(params, model_state, batch, KEY)["probabilities"]
  for settings in ({}, {"dora": True}):
    task = tasks.lora(base, trained=HEAD, **settings)
    own = task.predict(*task.init(KEY, batch), batch, KEY)["probabilities"]
    np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6)


def test_only_adapters_and_what_is_trained_are_differentiated():
  base, batch = make("bert_base")
  task = tasks.lora(base, r"(query|value)/kernel$", rank=2, trained=HEAD)
  params, model_state = task.init(KEY, batch)
  paths = set(trees.flatten(params))
  expected = {
    f"adapters/encoder/block_{i}/attention/{name}/{part}"
    for i in range(2)
    for name in ("query", "value")
    for part in "ab"
  }
  found = {path for path in paths if path.startswith("adapters/")}
  assert {path.split("block_")[1] for path in found} == {
    path.split("block_")[1] for path in expected
  }
  assert paths - found == {"head/kernel", "head/bias"}
  assert not [p for p in trees.flatten(model_state["frozen"]) if "head" in p]


@pytest.mark.slow
def test_a_step_has_no_gradient_of_a_whole_kernel():
  base, batch = make("bert_base")
  batch = {**batch, "input_ids": np.tile(TOKENS, (4, 1))}
  batch |= {"label": np.tile(batch["label"], 4)}
  width = {**BERT, "width": 128, "mlp_dim": 512}
  model = models.create("bert_base", num_classes=3, **width)
  base = tasks.classification(model, input="input_ids")

  def cost(task):
    params, model_state = jax.eval_shape(task.init, KEY, batch)
    gradient = jax.grad(functools.partial(loss_of, task))
    program = jax.jit(gradient).lower(params, model_state, batch).compile()
    return program.cost_analysis()["flops"]

  adapters = tasks.lora(base, rank=2, trained=HEAD)
  # Two of the three products of a layer are left.
  assert cost(adapters) < 0.75 * cost(base)


@pytest.mark.parametrize(
  ("base", "dtype"), [("bfloat16", jnp.bfloat16), ("int8", jnp.int8)]
)
def test_the_base_is_kept_in_few_bytes(base, dtype):
  task, batch = make("bert_base")
  shapes = jax.eval_shape(
    tasks.lora(task, trained=HEAD, base=base).init, KEY, batch
  )
  frozen = trees.flatten(shapes[1]["frozen"])
  kernels = {p: x.dtype for p, x in frozen.items() if p.endswith("/kernel")}
  assert set(kernels.values()) == {jnp.dtype(dtype)}
  assert all(x.dtype == jnp.float32 for x in frozen.values() if x.ndim == 1)


@pytest.mark.parametrize("settings", SETTINGS)
def test_weights_are_loaded_below_the_adapters(settings):
  base, batch = make("bert_base")
  task = tasks.lora(base, trained=HEAD, **SETTINGS[settings])
  others = perturbed(base.init(KEY, batch)[0])
  state = task.init(KEY, batch)
  load = transfer.initial({"params": others}, task)
  whole = task.variables(*load(*state))["params"]
  tolerance = {"bfloat16": 1e-2, "int8": 2e-2}.get(settings, 1e-6)
  for path, leaf in trees.flatten(others).items():
    own = trees.flatten(whole)[path]
    np.testing.assert_allclose(own, leaf, rtol=tolerance, atol=tolerance)
  with pytest.raises(UserError, match="expected the variables"):
    transfer.initial({"params": {"head": others["head"]}}, task)(*state)


@pytest.mark.slow
def test_a_frozen_batch_norm_does_not_move_and_a_resumed_run_is_equal(tmp_path):
  settings = {"wrap": lambda task: tasks.lora(task, rank=2, trained=HEAD)}
  whole = problem.fit(tmp_path / "a", steps=20, **settings).last
  problem.fit(tmp_path / "b", steps=10, **settings)
  resumed = problem.fit(tmp_path / "b", steps=20, **settings).last
  problem.assert_equal(whole, resumed)
  first = problem.fit(steps=1, eval_every=100, **settings).last
  for name in ("batch_stats", "frozen"):
    problem.assert_equal(whole.model_state[name], first.model_state[name])
  moments = {
    path
    for path in trees.flatten(whole.opt_state)
    if "/mu/" in path and "kernel" in path
  }
  assert moments
  assert all("head" in path for path in moments)
  variables = tasks.variables(
    settings["wrap"](tasks.classification(problem.Net())), whole
  )
  assert variables["params"].keys() == {"dense_0", "norm_0", "head"}
  training.evaluation_variables(whole)


@pytest.mark.parametrize(
  ("arguments", "settings", "message"),
  [
    (("nothing",), {}, "expected pattern to match"),
    (("(",), {}, "regular expression"),
    ((), {"trained": "nothing"}, "expected trained to match"),
    ((), {"rank": 0}, "expected rank"),
    ((), {"alpha": 0.0}, "expected alpha"),
    ((), {"alpha": float("nan")}, "expected alpha"),
    ((), {"base": "int4"}, "int8"),
  ],
)
def test_settings_out_of_range_are_refused(arguments, settings, message):
  base, batch = make("lstm")
  with pytest.raises(UserError, match=message):
    tasks.lora(base, *arguments, **settings).init(KEY, batch)


def test_a_task_has_adapters_once():
  base, batch = make("lstm")
  for task in (tasks.freeze(base, "^recurrent"), tasks.lora(base)):
    with pytest.raises(ValueError, match="without frozen parameters"):
      tasks.lora(task).init(KEY, batch)
