import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import models, trees
from dlcore.errors import UserError

KEY = jax.random.key(0)
ROWS, STEPS, WORDS, FEATURES = 4, 6, 11, 3
IDS = {"vocab_size": WORDS}
CASES = {
  "rnn classifier": IDS,
  "gru forecaster": {"head": "forecaster", "horizon": 4, "num_classes": None},
  "lstm series": {"bidirectional": True, "layer_norm": True},
  "lstm tied": {
    **IDS,
    "head": "lm",
    "tie_embeddings": True,
    "depth": 2,
    "remat": True,
  },
  "seq2seq additive": {**IDS, "depth": 2, "bidirectional": False},
  "seq2seq general": {
    **IDS,
    "attention": "general",
    "cell": "lstm",
    "target_vocab_size": 7,
  },
  "seq2seq dot": {
    **IDS,
    "attention": "dot",
    "cell": "rnn_relu",
    "bidirectional": False,
  },
}
DECODERS = [case for case in CASES if "seq2seq" in case]
COMPILED = {"rnn classifier", "gru forecaster"}
"""Cases of the fast tier for tests that compile a gradient for each case."""
MASK = np.ones((ROWS, STEPS), np.int32)
MASK[1, 4:] = 0
MASK[2, :2] = 0
# Without optimization, compilation takes a third of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def inputs_of(model):
  """Returns inputs of four rows."""
  generator = np.random.default_rng(0)
  if not model.vocab_size:
    shape = (ROWS, STEPS, FEATURES)
    return (generator.normal(size=shape).astype(np.float32),)
  ids = generator.integers(WORDS, size=(ROWS, STEPS))
  if not isinstance(model, models.Seq2Seq):
    return (ids.astype(np.int32),)
  target = generator.integers(7, size=(ROWS, 5))
  return ids.astype(np.int32), target.astype(np.int32)


@functools.cache
def make(case, **settings):
  """Returns a model, its variables and inputs, which tests do not modify."""
  settings = {"num_classes": 5, "width": 8, **CASES[case], **settings}
  model = models.create(case.split()[0], **settings)
  inputs = inputs_of(model)
  generator = np.random.default_rng(1)

  def sample(path, leaf):
    if path.endswith(("kernel", "embedding")):
      stddev = leaf.shape[0] ** -0.5
      return stddev * generator.normal(size=leaf.shape).astype(np.float32)
    return np.full(leaf.shape, float(path.endswith("scale")), np.float32)

  shapes = jax.eval_shape(lambda: model.init(KEY, *inputs, train=False))
  return model, trees.map_with_path(sample, shapes), inputs


@functools.partial(jit, static_argnums=0)
def evaluate(model, variables, *inputs, mask=None):
  return model.apply(variables, *inputs, attention_mask=mask, train=False)


@functools.partial(jit, static_argnums=0)
def value_and_gradient(model, variables, mask, *inputs):
  """Returns the gradient of a loss, the loss and the logits."""

  def loss(variables):
    logits = model.apply(variables, *inputs, attention_mask=mask, train=False)
    return loss_of(model, logits), logits

  (value, logits), gradient = jax.value_and_grad(loss, has_aux=True)(variables)
  return gradient, value, logits


@functools.partial(jit, static_argnums=0)
def train_apply(model, variables, rate, *inputs):
  """Applies the model in train mode with a traced rate."""
  rngs = {"dropout": jax.random.key(2)}
  model = model.clone(dropout=rate)
  return model.apply(variables, *inputs, train=True, rngs=rngs)


def loss_of(model, logits):
  """Returns a loss that can reach 0 for each row."""
  if model.head == "forecaster":
    return jnp.square(
      logits - jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)
    ).mean()
  rows = jnp.arange(logits.shape[0])
  labels = jnp.broadcast_to(
    rows.reshape(-1, *[1] * (logits.ndim - 2)), logits.shape[:-1]
  )
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels % 5)
  # The rows differ little in the first steps of a language model.
  return (losses if logits.ndim == 2 else losses[:, 2:]).mean()


@functools.cache
def logits_of(case):
  model, variables, inputs = make(case)
  return value_and_gradient(model, variables, np.ones_like(MASK), *inputs)[2]


@pytest.mark.fast_cases(*COMPILED)
@pytest.mark.parametrize("case", CASES)
def test_logits_are_float32_with_the_shape_of_the_head(case):
  model, variables, inputs = make(case)
  logits = logits_of(case)
  shape = {
    "classifier": (ROWS, 5),
    "forecaster": (ROWS, 4, FEATURES),
    "lm": (
      *inputs[-1].shape,
      getattr(model, "target_vocab_size", None) or WORDS,
    ),
  }[model.head]
  assert (logits.shape, logits.dtype) == (shape, jnp.float32)
  assert np.isfinite(logits).all()
  assert {leaf.ndim for leaf in jax.tree.leaves(variables)} <= {1, 2}


@pytest.mark.fast_cases("gru forecaster")
@pytest.mark.parametrize("case", ["gru forecaster", "lstm series"])
def test_padding_of_series_has_no_effect_whatever_its_value(case):
  model, variables, (inputs,) = make(case)
  expected = value_and_gradient(model, variables, MASK, inputs)
  changed = np.where(MASK[..., None], inputs, np.float32(np.nan))
  changed = value_and_gradient(model, variables, MASK, changed)
  for a, b in zip(*map(jax.tree.leaves, (changed, expected)), strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_padded_row_equals_the_row_without_padding():
  model, variables, (inputs,) = make("lstm series")
  padded = evaluate(model, variables, inputs, mask=MASK)
  single = evaluate(model, variables, inputs[1:2, :4])
  np.testing.assert_allclose(padded[1:2], single, rtol=1e-4, atol=1e-6)


@pytest.mark.fast_cases("rnn classifier")
@pytest.mark.parametrize("case", CASES)
def test_every_parameter_has_a_gradient_and_one_batch_is_overfitted(case):
  model, variables, inputs = make(case)
  tx = optax.adam(2e-2)
  update = jit(tx.update)
  state = tx.init(variables)
  for i in range(150):
    gradient, value, _ = value_and_gradient(
      model, variables, np.ones_like(MASK), *inputs
    )
    if i == 0:
      for path, leaf in trees.flatten(gradient).items():
        assert np.abs(leaf).max() > 0, path
    updates, state = update(gradient, state)
    variables = jax.tree.map(np.add, variables, updates)
  assert value < 0.05


@pytest.mark.fast_cases("rnn classifier")
@pytest.mark.parametrize("case", CASES)
def test_bfloat16_is_finite_and_close(case):
  model, variables, inputs = make(case)
  exact = logits_of(case)
  logits = evaluate(model.clone(dtype=jnp.bfloat16), variables, *inputs)
  assert logits.dtype == jnp.float32
  # bfloat16 has 8 bits, and errors add up over layers and steps.
  assert np.abs(logits - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.fast_cases("rnn classifier")
@pytest.mark.parametrize("case", ["rnn classifier", "lstm tied", "seq2seq dot"])
def test_a_traced_dropout_rate_of_zero_equals_eval_mode(case):
  model, variables, inputs = make(case)
  without = train_apply(model, variables, 0.0, *inputs)
  logits = logits_of(case)
  np.testing.assert_allclose(without, logits, rtol=1e-4, atol=1e-5)
  half = train_apply(model, variables, 0.5, *inputs)
  assert np.abs(half - logits).max() > 0.01


@pytest.mark.fast_cases("lstm series")
@pytest.mark.parametrize("case", ["lstm series", "seq2seq additive"])
def test_the_forward_and_backward_pass_lower_for_every_platform(case):
  model, variables, inputs = make(case)

  def gradient(variables, *inputs):
    run = functools.partial(model.apply, train=False, attention_mask=MASK)
    return jax.grad(lambda variables: run(variables, *inputs).sum())(variables)

  platforms = ("cpu", "cuda", "tpu")
  exported = jax.export.export(jax.jit(gradient), platforms=platforms)
  assert exported(variables, *inputs).platforms == platforms


def test_outputs_of_series_depend_on_the_past_only():
  model = models.create("lstm", num_classes=5, head=None, width=8, depth=2)
  (x,) = inputs_of(model)
  shapes = jax.eval_shape(lambda: model.init(KEY, x, train=False))
  variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), shapes)

  def middle(x):
    return model.apply(variables, x, train=False)[:, 2].sum()

  gradient = np.abs(jit(jax.grad(middle))(x)).sum((0, 2))
  assert (gradient[:3] > 0).all()
  assert not gradient[3:].any()


@pytest.mark.fast_cases("seq2seq general")
@pytest.mark.parametrize("case", DECODERS)
def test_a_decoder_attends_to_unmasked_tokens(case):
  model, variables, (ids, target) = make(case)
  run = jit(
    functools.partial(
      model.apply, attention_mask=MASK, train=False, intermediates=True
    )
  )
  _, state = run(variables, ids, target)
  (weights,) = state["cross_attentions"]
  assert weights.shape == (ROWS, 1, target.shape[1], STEPS)
  np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
  padding = np.broadcast_to(MASK[:, None, None] == 0, weights.shape)
  assert not np.asarray(weights)[padding].any()
  assert len(state["decoder_hidden_states"]) == model.depth + 1
  assert len(state["encoder_hidden_states"]) == model.depth + 1


@pytest.mark.parametrize(
  ("name", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)]
)
def test_a_layer_has_two_kernels_and_two_biases_per_gate(name, gates):
  model = models.create(name, num_classes=10)
  shapes = jax.eval_shape(
    lambda: model.init(KEY, jnp.zeros((1, 3, 20)), train=False)
  )
  layer = gates * (20 * 128 + 128 * 128 + 2 * 128)
  assert trees.count(shapes["params"]) == layer + 128 * 10 + 10


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("lstm", {"vocab_size": 3}, "set vocab_size=0"),
    ("lstm", {"head": "lm"}, "vocab_size > 0"),
    ("lstm", {"head": "lmm"}, "expected head to be .*'lm'"),
    ("lstm", {"cell": "lst"}, "did you mean 'lstm'"),
    ("lstm", {"num_classes": None}, "num_classes"),
    ("gru", {"width": 0}, "width"),
    ("rnn", {"dropout": 1.5}, "dropout"),
  ],
)
def test_invalid_fields_are_errors_for_series(name, settings, message):
  model = models.create(name, **{"num_classes": 5, **settings})
  with pytest.raises(UserError, match=message):
    model.init(KEY, jnp.zeros((1, 4, 3)), train=False)


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("lstm", {"head": "lm", "bidirectional": True}, "bidirectional=False"),
    ("lstm", {"head": "forecaster"}, "expected time series"),
    ("gru", {"vocab_size": 0}, "set vocab_size"),
    ("gru", {"vocab_size": None}, "an integer"),
  ],
)
def test_invalid_fields_are_errors_for_token_ids(name, settings, message):
  model = models.create(name, num_classes=5, **{**IDS, **settings})
  with pytest.raises(UserError, match=message):
    model.init(KEY, jnp.zeros((1, 4), jnp.int32), train=False)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (
      {"attention": "dott", "bidirectional": False},
      "expected attention to be .*'dot'",
    ),
    ({"attention": "dot"}, "bidirectional=False"),
    ({"head": "classifier"}, "expected head to be"),
  ],
)
def test_invalid_fields_are_errors_for_encoder_decoders(settings, message):
  model = models.create("seq2seq", num_classes=None, **settings)
  ids = jnp.zeros((1, 4), jnp.int32)
  with pytest.raises(UserError, match=message):
    model.init(KEY, ids, ids, train=False)
