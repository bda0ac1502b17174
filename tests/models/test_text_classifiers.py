"""Properties of the bag of n-grams and of the CNN of text."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import models, trees
from dlcore.layers import add_boundaries, hash_ngrams

KEY = jax.random.key(0)
WORDS, CLASSES = 19, 5
BAG = {"ngrams": (1, 3), "buckets": 64, "width": 6}
CNN = {"width": 6, "kernel_sizes": (2, 3), "features": 4}
CASES = {
  "ngram_bag": BAG,
  "ngram_bag hidden": {**BAG, "widths": (8,)},
  "ngram_cnn": {**BAG, **CNN},
  "text_cnn": CNN,
  "text_cnn hidden": {**CNN, "widths": (8,), "activation": "tanh"},
}
EACH = ("ngram_bag", "ngram_cnn", "text_cnn")
MASK = np.ones((6, 7), np.int32)
MASK[1, 5:] = 0
MASK[2, :3] = 0
MASK[3, 2] = 0
MASK[4, 1:] = 0
FAST = {"xla_backend_optimization_level": 0}
jit = functools.partial(jax.jit, compiler_options=FAST)


@functools.cache
def make(case, **settings):
  """Returns a model, its variables and ids, which tests do not modify."""
  settings = {"num_classes": CLASSES, **CASES[case], **settings}
  model = models.create(case.split()[0], vocab_size=WORDS, **settings)
  generator = np.random.default_rng(0)
  ids = generator.integers(0, WORDS, MASK.shape).astype(np.int32)

  def sample(leaf):
    return (0.5 * generator.normal(size=leaf.shape)).astype(np.float32)

  shapes = jax.eval_shape(lambda: model.init(KEY, ids, train=False))
  return model, jax.tree.map(sample, shapes), ids


@functools.partial(jit, static_argnums=0)
def evaluate(model, variables, ids, mask=None, types=None):
  others = {"attention_mask": mask, "token_type_ids": types}
  return model.apply(variables, ids, **others, train=False)


@functools.partial(jit, static_argnums=0)
def value_and_gradient(model, variables, ids, mask):
  def loss(variables):
    logits = model.apply(variables, ids, attention_mask=mask, train=False)
    return jnp.sin(logits).sum(), logits

  return jax.value_and_grad(loss, has_aux=True)(variables)


def test_the_bag_is_the_scaled_sum_of_the_embeddings_of_its_ngrams():
  model, variables, ids = make("ngram_bag")
  params = jax.tree.map(np.float64, variables["params"])
  logits = evaluate(model, variables, ids, MASK)
  begin, end = WORDS, WORDS + 1
  for row, mask, actual in zip(ids, MASK, logits, strict=True):
    framed, kept = add_boundaries(row[None], mask[None] > 0, begin, end)
    index, complete = hash_ngrams(framed, kept, (1, 3), 64)
    rows = params["ngram_embedding"]["embedding"][index[complete]]
    head = params["head"]
    expected = rows.sum(0) / len(rows) ** 0.5 @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_the_order_of_tokens_matters_for_ngrams_but_not_for_words():
  for ngrams, same in (((1,), True), ((1, 2), False)):
    model, variables, ids = make("ngram_bag", ngrams=ngrams)
    left, right = (evaluate(model, variables, x) for x in (ids, ids[:, ::-1]))
    assert np.allclose(left, right, atol=1e-5) == same


def test_the_cnn_is_the_maximum_over_windows_of_tokens():
  model, variables, ids = make("text_cnn")
  params = jax.tree.map(np.float64, variables["params"])
  logits = evaluate(model, variables, ids, MASK)
  for row, mask, actual in zip(ids, MASK, logits, strict=True):
    x = params["word_embedding"]["embedding"][row] * mask[:, None]
    features = []
    for size in (2, 3):
      conv = params[f"conv_{size}"]
      before = (size - 1) // 2
      padded = np.pad(x, ((before, size - 1 - before), (0, 0)))
      windows = [padded[t : t + size] for t in np.flatnonzero(mask)]
      y = np.einsum("TKD,KDF->TF", windows, conv["kernel"][:, 0])
      features.append(np.maximum(y + conv["bias"], 0).max(0))
    head = params["head"]
    expected = np.concatenate(features) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.fast_cases(*EACH)
@pytest.mark.parametrize("case", CASES)
def test_the_value_of_padding_has_no_effect(case):
  model, variables, ids = make(case)
  left = value_and_gradient(model, variables, ids, MASK)
  changed = np.where(MASK > 0, ids, (ids + 1) % WORDS)
  right = value_and_gradient(model, variables, changed, MASK)
  jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("case", ["ngram_bag", "text_cnn"])
def test_a_row_without_tokens_has_finite_logits_and_no_gradient(case):
  model, variables, ids = make(case)
  (_, logits), gradient = value_and_gradient(
    model, variables, ids, np.zeros_like(ids)
  )
  bias = variables["params"]["head"]["bias"]
  np.testing.assert_array_equal(logits, np.broadcast_to(bias, logits.shape))
  for path, leaf in trees.flatten(gradient).items():
    assert np.isfinite(leaf).all(), path
    assert not np.any(leaf) or path == "params/head/bias", path


@pytest.mark.parametrize("case", EACH)
def test_token_types_distinguish_equal_tokens(case):
  model, variables, ids = make(case)
  zeros, types = np.zeros_like(ids), (np.arange(7) > 3) * np.ones_like(ids)
  plain = evaluate(model, variables, ids)
  changed = evaluate(model, variables, ids, types=types)
  assert np.abs(changed - plain).max() > 0.01
  if case == "ngram_bag":
    np.testing.assert_array_equal(
      evaluate(model, variables, ids, types=zeros), plain
    )


@pytest.mark.parametrize("case", EACH)
@pytest.mark.parametrize("wrong", [-1, WORDS])
def test_an_id_out_of_range_returns_nan_unless_it_is_padding(case, wrong):
  model, variables, ids = make(case)
  ids = ids.copy()
  ids[0, 2] = ids[1, 6] = wrong
  logits = evaluate(model, variables, ids, MASK)
  assert np.isnan(logits[0]).all()
  assert np.isfinite(logits[1:]).all()


@pytest.mark.fast_cases("text_cnn hidden")
@pytest.mark.parametrize("case", CASES)
def test_every_parameter_has_a_gradient_and_one_batch_is_overfitted(case):
  model, variables, ids = make(case)
  tx = optax.adam(2e-2)
  labels = jnp.arange(6) % CLASSES

  def loss(variables):
    logits = model.apply(
      variables, ids, attention_mask=MASK, train=True, rngs={"dropout": KEY}
    )
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
    return jax.lax.scan(step, (variables, tx.init(variables)), length=150)[1]

  values, sizes = learn(variables)
  for path, leaf in trees.flatten(sizes).items():
    assert leaf[0] > 0, path
  assert values[-1] < 0.05


@pytest.mark.fast_cases("text_cnn")
@pytest.mark.parametrize("case", CASES)
def test_bfloat16_is_finite_and_close(case):
  model, variables, ids = make(case)
  exact = evaluate(model, variables, ids, MASK)
  rough = evaluate(model.clone(dtype=jnp.bfloat16), variables, ids, MASK)
  assert rough.dtype == jnp.float32
  # bfloat16 has 8 bits.
  assert np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


def test_dropped_ngrams_keep_the_sum_in_expectation():
  model, variables, ids = make("ngram_bag", head=None, num_classes=None)
  model = model.clone(ngram_dropout=0.5)

  @jit
  @jax.vmap
  def run(key):
    return model.apply(variables, ids, train=True, rngs={"dropout": key})

  samples = np.asarray(run(jax.random.split(KEY, 500)))
  expected = evaluate(model, variables, ids)
  error = np.abs(samples.mean(0) - expected).max()
  assert error < 5 * samples.std(0).max() / 500**0.5
  assert samples.std(0).min() > 0


def test_parameters_are_those_of_the_layers():
  def count(name, **settings):
    model = models.create(name, num_classes=7, **settings)
    shapes = jax.eval_shape(
      lambda: model.init(KEY, jnp.zeros((1, 3), jnp.int32), train=False)
    )
    return trees.count(shapes["params"])

  assert count("ngram_bag", buckets=100, width=8) == 100 * 8 + 8 * 7 + 7
  hidden = count("ngram_bag", buckets=100, width=8, widths=(5,))
  assert hidden == 100 * 8 + 8 * 5 + 5 + 5 * 7 + 7
  # Kim 2014: 100 kernels of 3, 4 and 5 words with vectors of 300.
  kernels = (3 + 4 + 5) * 300 * 100 + 3 * 100
  actual = count("text_cnn", vocab_size=50, width=300)
  assert actual == 50 * 300 + kernels + 300 * 7 + 7


@pytest.mark.parametrize("case", EACH)
def test_the_gradient_lowers_for_every_platform(case):
  model, variables, ids = make(case)

  def gradient(variables):
    return jax.grad(
      lambda variables: model.apply(
        variables, ids, attention_mask=MASK, train=False
      ).sum()
    )(variables)

  platforms = ("cpu", "cuda", "tpu")
  exported = jax.export.export(jax.jit(gradient), platforms=platforms)
  assert exported(variables).platforms == platforms


def branches(variables, ids):
  """Yields the logits of the bag and of the network of an `NgramCNN`."""
  models_of = {"bag": ("ngram_bag", BAG), "network": ("text_cnn", CNN)}
  for branch, (name, settings) in models_of.items():
    model = models.create(
      name, vocab_size=WORDS, num_classes=CLASSES, **settings
    )
    own = {"params": variables["params"][branch]}
    yield np.asarray(model.apply(own, ids, attention_mask=MASK, train=False))


def test_the_logits_of_the_ngram_cnn_are_the_mean_of_its_branches():
  model, variables, ids = make("ngram_cnn")
  bag, network = branches(variables, ids)
  actual = model.apply(variables, ids, attention_mask=MASK, train=False)
  np.testing.assert_allclose(actual, (bag + network) / 2, rtol=1e-6, atol=1e-6)


def test_a_training_example_of_the_ngram_cnn_has_the_logits_of_one_branch():
  model, variables, ids = make("ngram_cnn", bag_rate=0.25)
  bag, network = branches(variables, ids)

  @jax.vmap
  def run(key):
    return model.apply(
      variables, ids, attention_mask=MASK, train=True, rngs={"dropout": key}
    )

  actual = np.asarray(run(jax.random.split(KEY, 100)))
  is_bag = np.isclose(actual, bag, atol=1e-6).all(-1)
  is_network = np.isclose(actual, network, atol=1e-6).all(-1)
  assert (is_bag ^ is_network).all()
  assert abs(is_bag.mean() - 0.25) < 0.06
