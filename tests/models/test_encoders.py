import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import models, trees
from dlcore.errors import UserError
from dlcore.layers import (
  pool_tokens,
  recorded_head_input,
  stack_blocks,
  unstack_blocks,
)

KEY = jax.random.key(0)
# Without optimization programs compile faster.
FAST = {"xla_backend_optimization_level": 0}
jit = functools.partial(jax.jit, compiler_options=FAST)
TEXT = {
  "vocab_size": 19,
  "width": 12,
  "num_heads": 3,
  "depth": 2,
  "max_length": 8,
}
IMAGE = {
  "patch_size": 4,
  "width": 12,
  "num_heads": 3,
  "depth": 2,
  "num_classes": 5,
}
CASES = {
  "bert_base": {**TEXT, "num_classes": 5},
  "bert_base mlm": {**TEXT, "depth": 1, "head": "mlm", "num_classes": None},
  "bert_base tokens": {**TEXT, "depth": 1, "head": "tokens", "num_classes": 5},
  "distilbert": {**TEXT, "depth": 1, "num_classes": 5},
  "vit_tiny": IMAGE,
  "vit_tiny mean": {**IMAGE, "depth": 1, "pool": "mean", "pooler": True},
}
SHORT = ("bert_base", "vit_tiny")
"""One of each class, for slow tests that do not depend on the head."""


@functools.cache
def make(case):
  """Returns a model, variables and inputs, which tests do not modify."""
  model = models.create(case.split()[0], **CASES[case])
  generator = np.random.default_rng(0)
  if "vit" in case:
    inputs = (generator.normal(size=(6, 12, 8, 3)).astype(np.float32), {})
  else:
    ids = generator.integers(1, 19, (6, 7)).astype(np.int32)
    mask = np.arange(7) < np.array([7, 5, 2, 7, 6, 4])[:, None]
    inputs = (ids, {"attention_mask": mask.astype(np.int32)})

  def sample(path, leaf):
    if path.endswith("scale"):
      return np.ones(leaf.shape, np.float32)
    stddev = leaf.shape[0] ** -0.5 if path.endswith("kernel") else 0.5
    return (stddev * generator.normal(size=leaf.shape)).astype(np.float32)

  shapes = jax.eval_shape(lambda: model.init(KEY, inputs[0], train=False))
  return model, trees.map_with_path(sample, shapes), inputs


def apply(model, variables, inputs, **options):
  x, others = inputs
  options = {"train": False, **options}
  return model.apply(variables, x, **others, **options)


@functools.partial(jit, static_argnums=0)
def evaluate(model, variables, inputs):
  return apply(model, variables, inputs)


@functools.partial(jit, static_argnums=0)
def gradient(model, variables, inputs):
  """Returns the output and the gradient of the sum of its squares."""

  def loss(variables):
    output = apply(model, variables, inputs)
    return jnp.square(output).sum(), output

  return jax.value_and_grad(loss, has_aux=True)(variables)


def assert_close(left, right, tolerance):
  left, right = trees.flatten(left), trees.flatten(right)
  assert left.keys() == right.keys()
  largest = max(np.abs(leaf).max() for leaf in right.values())
  for path, leaf in left.items():
    # The bias of keys has a gradient of 0.
    scale = max(np.abs(right[path]).max(), 1e-3 * largest)
    assert np.abs(leaf - right[path]).max() < tolerance * scale, path


@pytest.mark.slow
def test_jit_equals_no_jit_for_images():
  model, variables, inputs = make("vit_tiny")
  model = model.clone(depth=1)
  plain = apply(model, variables, inputs)
  compiled = evaluate(model, variables, inputs)
  assert (compiled.shape, compiled.dtype) == ((6, 5), jnp.float32)
  assert_close(plain, compiled, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_parameter_has_a_gradient_and_one_batch_is_overfitted(case):
  model, variables, inputs = make(case)
  model = model.clone(depth=1)
  used = [p for p in variables["params"] if p != "block_1"]
  variables = {"params": {p: variables["params"][p] for p in used}}
  shape = jax.eval_shape(lambda: apply(model, variables, inputs)).shape
  labels = jnp.arange(np.prod(shape[:-1])).reshape(shape[:-1]) % 5
  if len(shape) == 3:  # Labels of tokens depend on their ids.
    labels = inputs[0] % 5
  tx = optax.adam(1e-2)

  def loss(variables):
    logits = apply(model, variables, inputs, train=True)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean()

  def step(carry, _):
    variables, state = carry
    value, gradient = jax.value_and_grad(loss)(variables)
    updates, state = tx.update(gradient, state)
    sizes = jax.tree.map(lambda leaf: jnp.abs(leaf).max(), gradient)
    return (optax.apply_updates(variables, updates), state), (value, sizes)

  @jit
  def learn(variables):
    return jax.lax.scan(step, (variables, tx.init(variables)), length=200)[1]

  values, sizes = learn(variables)
  for path, leaf in trees.flatten(sizes).items():
    assert leaf[0] > 0, path
  assert values[-1] < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
  ("case", "scan"), [("vit_tiny", False), ("bert_base", True)]
)
def test_scan_and_remat_preserve_the_gradient(case, scan):
  model, variables, inputs = make(case)
  (_, output), expected = gradient(model, variables, inputs)
  other = model.clone(scan=scan, remat=True)
  other_variables = variables
  if scan:
    other_variables = {"params": stack_blocks(variables["params"])}
    init = lambda: other.init(KEY, inputs[0], train=False)  # noqa: E731
    assert jax.tree.map(jnp.shape, other_variables) == jax.tree.map(
      jnp.shape, jax.eval_shape(init)
    )
  (_, other_output), actual = gradient(other, other_variables, inputs)
  if scan:
    actual = {"params": unstack_blocks(actual["params"])}
  assert_close(other_output, output, 1e-5)
  # The order of summation differs.
  assert_close(actual, expected, 1e-4)


def test_a_scan_returns_the_same_intermediates():
  model, variables, inputs = make("bert_base")
  stacked = {"params": stack_blocks(variables["params"])}

  @functools.partial(jit, static_argnums=0)
  def run(model, variables):
    return apply(model, variables, inputs, intermediates=True)

  _, plain = run(model, variables)
  _, scanned = run(model.clone(scan=True), stacked)
  assert set(plain) == {"hidden_states", "attentions"}
  assert [len(plain[key]) for key in ("hidden_states", "attentions")] == [3, 2]
  assert_close(scanned, plain, 1e-5)


@pytest.mark.fast_cases("bert_base")
@pytest.mark.parametrize("case", SHORT)
def test_bfloat16_is_finite_and_close(case):
  model, variables, inputs = make(case)
  exact = evaluate(model, variables, inputs)
  output = evaluate(model.clone(dtype=jnp.bfloat16), variables, inputs)
  assert output.dtype == jnp.float32
  # bfloat16 has 8 bits, and errors add up over the layers.
  assert np.abs(output - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.slow  # tests/models/test_contract.py traces every rate.
@pytest.mark.parametrize("case", SHORT)
def test_traced_rates_give_the_same_output_as_python_numbers(case):
  model, variables, inputs = make(case)
  names = ["dropout", "attention_dropout"]
  names += ["stochastic_depth"] if "vit" in case else ["head_dropout"]

  def run(rates, seed):
    rngs = {"dropout": jax.random.key(seed)}
    model_with_rates = model.clone(**dict(zip(names, rates, strict=True)))
    return apply(model_with_rates, variables, inputs, train=True, rngs=rngs)

  rates = (0.5, 0.25, 0.125)
  traced, fixed = jit(run), jit(functools.partial(run, rates))(0)
  assert_close(traced(rates, 0), fixed, 1e-5)
  zeros = (0.0, 0.0, 0.0)
  plain = evaluate(model, variables, inputs)
  assert_close(traced(zeros, 0), plain, 1e-5)
  for i in range(3):
    single = tuple(rate * (i == j) for j, rate in enumerate(rates))
    assert np.abs(traced(single, 1) - plain).max() > 0.01


@pytest.mark.parametrize("case", SHORT)
def test_the_forward_pass_lowers_for_every_platform(case):
  model, variables, inputs = make(case)
  shapes = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
    (variables, inputs),
  )
  program = jax.jit(lambda v, i: apply(model, v, i))
  exported = jax.export.export(program, platforms=("cpu", "cuda", "tpu"))
  assert exported(*shapes).platforms == ("cpu", "cuda", "tpu")


def test_the_position_embedding_is_resized_to_the_image_size():
  model, variables, (x, _) = make("vit_tiny")
  sized = model.clone(image_size=(12, 8))
  plain = evaluate(model, variables, (x, {}))
  assert_close(evaluate(sized, variables, (x, {})), plain, 1e-5)
  other = jnp.ones((1, 8, 20, 3))

  def shape(model):
    return jax.eval_shape(lambda: apply(model, variables, (other, {}))).shape

  assert shape(sized) == (1, 5)
  with pytest.raises(UserError, match="set image_size"):
    shape(model)


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    (
      "bert_base",
      {"head": "mml", "num_heads": 2},
      "expected head to be .*'mlm'",
    ),
    ("bert_base", {"num_heads": 5}, "try num_heads=4"),
    ("bert_base", {"dropout": 1.5}, "dropout"),
    ("bert_base", {"max_length": 3}, "at most 3 tokens"),
    ("bert_base", {"num_classes": None}, "num_classes"),
    ("bert_base", {"activation": "gelu_exakt"}, "did you mean 'gelu_exact'"),
    ("vit_tiny", {"pool": "men"}, "expected pool to be .*'mean'"),
    ("vit_tiny", {"patch_size": 5}, "multiples of patch_size=5"),
    ("vit_tiny", {"patch_size": 16}, "16x16 pixels"),
    ("vit_tiny", {"head": "clasifier"}, "expected head to be 'classifier'"),
  ],
)
def test_invalid_fields_are_errors(name, settings, message):
  _, _, (x, _) = make(name)
  model = models.create(name, **{**CASES[name], **settings})
  with pytest.raises(UserError, match=message):
    jax.eval_shape(lambda: model.init(KEY, x, train=False))


def test_float_ids_are_an_error():
  model, _, _ = make("bert_base")
  with pytest.raises(UserError, match="expected token ids"):
    jax.eval_shape(lambda: model.init(KEY, jnp.zeros((2, 3)), train=False))


def pooled_bert(**fields):
  return models.create(
    "bert_base",
    vocab_size=11,
    width=8,
    depth=1,
    num_heads=2,
    mlp_dim=8,
    max_length=8,
    **fields,
  )


def test_an_embedding_is_the_pooled_tokens():
  ids = np.array([[1, 2, 3, 4], [5, 6, 0, 0]], np.int32)
  mask = (ids > 0).astype(np.uint8)
  poolings = ("mean", "max")
  model = pooled_bert(head="embedding", poolings=poolings, normalize=True)
  variables = model.init(jax.random.key(0), ids, train=False)
  arguments = {"attention_mask": mask, "train": False}
  found = model.apply(variables, ids, **arguments)
  tokens = model.clone(head=None, pooler=False).apply(
    variables, ids, **arguments
  )
  expected = pool_tokens(tokens, mask, poolings, normalize=True)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert "pooler" not in variables["params"]
  # A classifier takes the same features.
  model = model.clone(head="classifier", num_classes=3)
  variables = model.init(jax.random.key(0), ids, train=False)
  with recorded_head_input() as recorded:
    model.apply(variables, ids, **arguments)
  assert recorded.value.shape == (2, 16)
  np.testing.assert_allclose(
    np.linalg.norm(recorded.value, axis=1), 1, rtol=1e-5
  )


def test_an_unknown_pooling_is_refused():
  model = pooled_bert(head="embedding", poolings=("meen",))
  with pytest.raises(UserError, match="did you mean 'mean'"):
    model.init(jax.random.key(0), np.ones((1, 4), np.int32), train=False)
