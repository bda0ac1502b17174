import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from jax import export
from small import initialized

from dlcore import layers, models, trees
from dlcore.errors import UserError

KEY = jax.random.key(0)
TX = optax.adam(1e-2)
# Compilation takes most of the time.
FAST = {"xla_backend_optimization_level": 0}
SETTINGS = {
  **small.IMAGES,
  "cnn": {"stages": ((4,), (8, 8)), "dense": (16,)},
  "cnn mean": {"stages": ((4,), (8, 8)), "pool": "mean", "dense": ()},
  "cnn plain": {
    "batch_norm": False,
    "stage_pooling": "avg",
    "stages": ((4, 8),),
  },
  "lenet5": {},
  "mlp": {"widths": (32, 16)},
  "resnet20": {"stages": (1, 2), "width": 4},
  "resnet50": {"stages": (1, 1), "width": 4},
  "tabular": {"widths": (32, 16), "numbers": (0, 2), "frequencies": 4},
}
# One of each class, for tests that do not depend on the shapes.
EACH = [
  case for case in SETTINGS if case not in ("cnn mean", "cnn plain", "resnet50")
]
REGULARIZED = [case for case in EACH if case != "lenet5"]
"""Cases with dropout and remat."""
CHEAP = {"cnn", "mlp", "resnet20"}
"""Cases of the fast tier for tests that compile a program for each case."""
ELSEWHERE = {
  *(models.Bert, models.ViT),  # test_encoders.py
  *(models.GPT2, models.Llama, models.Transformer),  # test_decoders.py
  *(models.RecurrentNetwork, models.Seq2Seq),  # test_recurrent.py
  # test_text_classifiers.py
  *(models.NgramBag, models.NgramCNN, models.TextCNN),
}


@functools.cache
def make(case, size=12, **settings):
  """Returns a model, variables and a batch, which tests do not modify.

  NumPy samples the variables, since compiling initializers takes seconds.
  """
  model = models.create(
    case.split()[0], num_classes=5, **SETTINGS.get(case, {}), **settings
  )
  generator = np.random.default_rng(0)
  x = generator.normal(size=(6, size, size, 1)).astype(np.float32)
  return model, initialized(model, x, generator), x


@functools.partial(jax.jit, static_argnums=0, compiler_options=FAST)
def train_apply(model, variables, x, rate):
  """Returns the output in train mode."""
  y, _ = model.clone(dropout=rate).apply(
    variables,
    x,
    train=True,
    rngs={"dropout": jax.random.key(2)},
    mutable=["batch_stats"],
  )
  return y


@functools.partial(jax.jit, static_argnums=0, compiler_options=FAST)
def evaluate(model, variables, x):
  return model.apply(variables, x, train=False)


def test_every_model_class_has_a_case():
  def classes(names):
    return {type(models.create(name, num_classes=5)) for name in names}

  tested = classes({case.split()[0] for case in SETTINGS})
  assert tested | ELSEWHERE == classes(models.MODELS)


@pytest.mark.parametrize("case", SETTINGS)
def test_logits_are_float32_and_variables_plain_dicts(case):
  model, sampled, x = make(case)
  variables = jax.eval_shape(lambda: model.init(KEY, x, train=False))
  logits = evaluate(model, sampled, x)
  assert (logits.shape, logits.dtype) == ((6, 5), jnp.float32)
  assert type(variables) is dict
  assert type(variables["params"]) is dict
  assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
  with pytest.raises(TypeError):
    model.apply(variables, x)


@pytest.mark.fast_cases("cnn", "mlp")
@pytest.mark.parametrize("case", EACH)
def test_jit_equals_no_jit(case):
  model, variables, x = make(case)
  plain = model.apply(variables, x, train=False)
  compiled = evaluate(model, variables, x)
  np.testing.assert_allclose(plain, compiled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", SETTINGS)
def test_in_eval_mode_an_example_does_not_depend_on_its_batch(case):
  model, variables, x = make(case)
  others = np.concatenate([x[:2], 1 - 3 * x[2:]])
  left, right = (evaluate(model, variables, batch) for batch in (x, others))
  np.testing.assert_allclose(left[:2], right[:2], rtol=1e-4, atol=1e-5)
  assert np.abs(left[2:] - right[2:]).max() > 0.01


@functools.cache
def learner(case):
  """Returns a loss and a compiled training step with a dropout rate.

  The step uses remat if the model supports it.
  """
  model, _, x = make(case)
  labels = jnp.arange(6) % 5

  def loss(params, extra, rate, remat):
    settings = {"dropout": rate, "remat": remat}
    settings = {} if case == "lenet5" else settings
    logits, extra = model.clone(**settings).apply(
      {"params": params, **extra},
      x,
      train=True,
      rngs={"dropout": KEY},
      mutable=list(extra),
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), extra

  @functools.partial(jax.jit, compiler_options=FAST)
  def step(params, extra, state, rate):
    (value, extra), gradient = jax.value_and_grad(loss, has_aux=True)(
      params, extra, rate, True
    )
    updates, state = TX.update(gradient, state)
    params = optax.apply_updates(params, updates)
    return params, extra, state, value, gradient

  return loss, step


def split(variables):
  extra = dict(variables)
  return extra.pop("params"), extra


@pytest.mark.fast_cases("mlp")
@pytest.mark.parametrize("case", SETTINGS)
def test_every_parameter_has_a_gradient_and_one_batch_is_overfitted(case):
  params, extra = split(make(case)[1])
  _, step = learner(case)
  state = TX.init(params)
  for i in range(100):
    params, extra, state, value, gradient = step(params, extra, state, 0.0)
    if i == 0:
      for path, leaf in trees.flatten(gradient).items():
        assert np.abs(leaf).max() > 0, path
  assert value < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("case", REGULARIZED)
def test_remat_preserves_the_gradient(case):
  params, extra = split(make(case)[1])
  loss, step = learner(case)
  *_, rematerialized = step(params, extra, TX.init(params), 0.5)
  gradient = jax.jit(
    lambda *arguments: jax.grad(loss, has_aux=True)(*arguments, False)[0],
    compiler_options=FAST,
  )
  assert_same_gradient(rematerialized, gradient(params, extra, 0.5))


def assert_same_gradient(left, right):
  for a, b in zip(*map(jax.tree.leaves, (left, right)), strict=True):
    # The order of summation differs; gradients before batch norm are near 0.
    scale = np.abs(b).max()
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * scale + 1e-6)


@pytest.mark.fast_cases(*CHEAP)
@pytest.mark.parametrize("case", EACH)
def test_bfloat16_is_finite_and_close(case):
  model, variables, x = make(case)
  exact = evaluate(model, variables, x)
  logits = evaluate(model.clone(dtype=jnp.bfloat16), variables, x)
  assert logits.dtype == jnp.float32
  # bfloat16 has 8 bits, and errors add up over the layers.
  assert np.abs(logits - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.fast_cases("cnn", "mlp")
@pytest.mark.parametrize("case", REGULARIZED)
def test_a_traced_dropout_rate_gives_the_same_output_as_a_number(case):
  model, variables, x = make(case)
  outputs = []
  for rate in (0.0, 0.5):
    fixed, _ = jax.jit(
      lambda rate=rate: model.clone(dropout=rate).apply(
        variables,
        x,
        train=True,
        rngs={"dropout": jax.random.key(2)},
        mutable=["batch_stats"],
      ),
      compiler_options=FAST,
    )()
    traced = train_apply(model, variables, x, rate)
    np.testing.assert_allclose(traced, fixed, rtol=1e-4, atol=1e-5)
    outputs.append(fixed)
  assert np.abs(outputs[0] - outputs[1]).max() > 0.01


@pytest.mark.fast_cases("cnn", "convnext_tiny")
@pytest.mark.parametrize("case", EACH)
def test_the_gradient_lowers_for_every_platform(case):
  model, variables, x = make(case)
  gradient = jax.grad(
    lambda variables, x: model.apply(variables, x, train=False).sum()
  )
  export.export(jax.jit(gradient), platforms=("cpu", "cuda", "tpu"))(
    variables, x
  )


@pytest.mark.parametrize("case", ["cnn", "resnet20"])
def test_remat_stores_less_for_the_backward_pass(case):
  model, variables, _ = make(case)
  params, extra = split(variables)
  x = np.ones((64, 12, 12, 1), np.float32)

  def stored(remat):
    def loss(params):
      y, _ = model.clone(remat=remat).apply(
        {"params": params, **extra}, x, train=True, mutable=list(extra)
      )
      return jnp.square(y).mean()

    # The leaves of the pullback are its residuals.
    pullback = jax.eval_shape(lambda params: jax.vjp(loss, params)[1], params)
    return trees.count(pullback)

  assert stored(True) < 0.7 * stored(False)


@pytest.mark.parametrize("name", ["stochastic_depth", "drop_block"])
def test_dropped_blocks_have_no_effect_in_eval_mode(name):
  model, variables, x = make("resnet20")
  dropping = model.clone(**{name: 0.5}, block_size=2)
  unchanged = evaluate(dropping, variables, x)
  np.testing.assert_array_equal(unchanged, evaluate(model, variables, x))

  @functools.partial(jax.jit, compiler_options=FAST)
  def drop(seed):
    return dropping.apply(
      variables,
      x,
      train=True,
      rngs={"dropout": jax.random.key(seed)},
      mutable=["batch_stats"],
    )[0]

  outputs = [drop(seed) for seed in (0, 0, 1)]
  np.testing.assert_array_equal(outputs[0], outputs[1])
  assert np.abs(outputs[0] - outputs[2]).max() > 0.01


@pytest.mark.slow
def test_stochastic_depth_increases_linearly_to_its_rate():
  model = models.create(
    "resnet20", num_classes=5, stages=(2, 2), width=4, stochastic_depth=0.8
  )
  x = jnp.ones((500, 4, 4, 1))

  @functools.partial(jax.jit, compiler_options=FAST)
  def run(key):
    _, state = model.apply(
      model.init(key, x[:1], train=False),
      x,
      train=True,
      rngs={"dropout": key},
      capture_intermediates=lambda module, _: module.name == "skip",
      mutable=["intermediates", "batch_stats"],
    )
    return {
      name: (jnp.abs(block["skip"]["__call__"][0]).max((1, 2, 3)) == 0).mean()
      for name, block in state["intermediates"].items()
    }

  fractions = [float(value) for _, value in sorted(run(KEY).items())]
  # Four standard deviations of a fraction of 500.
  np.testing.assert_allclose(fractions, [0.2, 0.4, 0.6, 0.8], atol=0.09)


@pytest.mark.parametrize(
  ("name", "settings", "count"),
  [
    ("lenet5", {}, 61_706),  # LeCun et al. 1998, with all connections in C3.
    ("cnn", {}, 105_914),
    (
      "cnn",
      {"stages": ((16,), (32, 32), (64,)), "pool": "mean", "dense": ()},
      33_338,
    ),
    ("mlp", {}, 784 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10),
    ("mlp", {"widths": ()}, 7_850),
  ],
)
def test_parameter_counts_equal_known_values(name, settings, count):
  model = models.create(name, num_classes=10, **settings)
  shapes = jax.eval_shape(
    lambda: model.init(KEY, jnp.zeros((1, 28, 28, 1)), train=False)
  )
  assert trees.count(shapes["params"]) == count


def test_submodules_have_stable_names():
  _, variables, _ = make("cnn")
  assert set(variables["params"]) == {
    *(f"conv_{i}" for i in range(3)),
    *(f"norm_{i}" for i in range(3)),
    "dense_0",
    "head",
  }
  assert set(variables["batch_stats"]) == {"norm_0", "norm_1", "norm_2"}


def test_batch_norm_over_a_mapped_axis_equals_that_of_the_whole_batch():
  model, variables, _ = make("cnn", axis_name="data")
  x = jax.random.normal(KEY, (8, 12, 12, 1))
  parts = jax.vmap(
    lambda x: train_apply(model, variables, x, 0.0), axis_name="data"
  )(x.reshape(4, 2, 12, 12, 1))
  expected = train_apply(model.clone(axis_name=None), variables, x, 0.0)
  np.testing.assert_allclose(
    parts.reshape(8, 5), expected, rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize("size", [8, 28, 32])
def test_lenet_accepts_images_of_any_size(size):
  model, variables, x = make("lenet5", size=size)
  output = jax.eval_shape(lambda: model.apply(variables, x, train=False))
  assert output.shape == (6, 5)


@pytest.mark.parametrize(
  ("name", "settings", "size", "message"),
  [
    ("cnn", {"stages": ((4,),) * 4}, 12, "16x16 pixels"),
    ("cnn", {"stages": ((4,), ())}, 12, "at least one convolution"),
    ("cnn", {"stages": ((4,), (0,))}, 12, "stages"),
    ("cnn", {"stages": (4, 8)}, 12, "stages"),
    ("cnn", {"stage_pooling": "maxx"}, 12, "did you mean 'max'"),
    ("cnn", {"pool": "men"}, 12, "expected pool to be .*'mean'"),
    ("cnn", {"kernel_size": 0}, 12, "kernel_size"),
    ("mlp", {"widths": (8, -1)}, 12, "widths"),
    ("mlp", {"activation": "rellu"}, 12, "did you mean 'relu'"),
    ("mlp", {"initializer": "lecunn"}, 12, "did you mean 'lecun'"),
    ("mlp", {"dropout": 1.5}, 12, "dropout"),
    ("lenet5", {}, 3, "4x4 pixels"),
  ],
)
def test_invalid_fields_are_errors(name, settings, size, message):
  model = models.create(name, num_classes=5, **settings)
  with pytest.raises(UserError, match=message):
    jax.eval_shape(
      lambda: model.init(KEY, jnp.zeros((1, size, size, 1)), train=False)
    )


def test_tables_are_not_images():
  model = models.create("cnn", num_classes=5)
  with pytest.raises(UserError, match="'mlp' for tables"):
    model.init(KEY, jnp.zeros((2, 30)), train=False)


def test_errors_for_unknown_names_and_fields_suggest_the_nearest():
  with pytest.raises(UserError, match="did you mean 'lenet5'"):
    models.create("lenet", num_classes=5)
  with pytest.raises(UserError, match="did you mean 'widths'"):
    models.create("mlp", num_classes=5, width=(3,))


@pytest.mark.parametrize("case", EACH)
def test_the_summary_counts_every_parameter(case):
  model, variables, _ = make(case)
  images = jax.ShapeDtypeStruct((1, 12, 12, 1), jnp.float32)
  rows = models.list_layers(model, images)
  total = trees.count(variables["params"])
  assert sum(row.parameters for row in rows) == total
  assert rows[-1].shape == (5,)
  assert f"{total:,}" in models.summary(model, images)


def test_flops_of_a_dense_layer_are_two_per_weight():
  model = models.create("mlp", num_classes=10, widths=())
  pixels = jax.ShapeDtypeStruct((1, 784), jnp.float32)
  assert models.flops(model, pixels) == 2 * 7_840


def test_flops_include_all_steps_of_a_recurrent_network():
  model = models.create("lstm", num_classes=1, vocab_size=9, width=8)
  ids = jax.ShapeDtypeStruct((1, 50), jnp.int32)
  assert models.flops(model, ids) == 50 * 2 * (2 * 8 * 32) + 2 * 8


def test_flops_of_resnet18_equal_those_of_the_paper():
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  model = models.create("resnet18", num_classes=1000)
  # Table 1 of arXiv:1512.03385 counts a multiply-add as one.
  assert models.flops(model, images) / 2 == pytest.approx(1.8e9, rel=0.02)


@pytest.mark.parametrize(
  ("name", "count"),
  [("resnet18", 1), ("bert_base", 1), ("gpt2", 1), ("marian", 2)],
)
def test_models_can_be_summarized_for_data_of_another_kind(name, count):
  settings = {} if name == "resnet18" else {"depth": 1}
  model = models.create(name, num_classes=10, **settings)
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  inputs = models.example_inputs(model, images)
  assert len(inputs) == count
  assert (inputs[0] == images) == (name == "resnet18")
  rows = models.list_layers(model, *inputs)
  shapes = jax.eval_shape(lambda x: model.init(KEY, *x, train=False), inputs)
  total = trees.count(shapes["params"])
  assert sum(row.parameters for row in rows) == total


def test_importing_runs_no_computation():
  # With an unknown backend any computation raises.
  subprocess.run(
    [sys.executable, "-c", "from dlcore import models"],
    env={"JAX_PLATFORMS": "none_such", "PYTHONPATH": ":".join(sys.path)},
    check=True,
  )


@pytest.mark.parametrize("remat", [False, True])
def test_feature_maps_are_the_outputs_of_convolutions_in_call_order(remat):
  model, variables, x = make("resnet20")
  maps = models.feature_maps(model.clone(remat=remat), variables, x)
  blocks = ["stage_0_block_0", "stage_1_block_0", "stage_1_block_1"]
  paths = [path.partition("/")[0] for path in maps]
  assert list(dict.fromkeys(paths)) == ["stem", *blocks]
  kernel = variables["params"]["stem"]["conv"]["kernel"]
  expected = layers.convolution(x, kernel, padding=((1, 1), (1, 1)))
  np.testing.assert_allclose(maps["stem/conv"], expected, atol=1e-5)


def test_a_model_without_convolutions_has_no_feature_maps():
  model, variables, x = make("mlp")
  assert models.feature_maps(model, variables, x) == {}
