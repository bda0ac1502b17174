"""Properties of all decoders and encoder-decoders."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import models, trees
from dlcore.errors import UserError
from dlcore.layers import stack_blocks

KEY = jax.random.key(0)
SMALL = {
  "vocab_size": 23,
  "width": 16,
  "mlp_dim": 24,
  "num_heads": 4,
  "max_length": 9,
}
CASES = {
  "gpt2": models.GPT2(**SMALL, depth=2),
  "llama": models.Llama(
    **SMALL, depth=2, num_kv_heads=2, rope_scaling=(4.0, 1.0, 4.0, 32)
  ),
  "transformer": models.Transformer(**SMALL, depth=1, logits_bias=True),
  "pre_norm": models.Transformer(
    **SMALL, depth=1, decoder_depth=2, target_vocab_size=19, pre_norm=True
  ),
}
# Golden files test the gradients of all; these are slow to compile.
TRAINED = [case for case in CASES if case != "transformer"]
# Optimizing programs that run once would take most of the time.
FAST = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}
jit = functools.partial(jax.jit, compiler_options=FAST)


def is_encoder_decoder(model):
  return isinstance(model, models.Transformer)


def ids_of(model, *, seed=0):
  """Returns the inputs, in which each token occurs once."""
  ids = np.random.default_rng(seed).permutation(19)
  inputs = ids[:12].reshape(2, 6), ids[12:18].reshape(2, 3)
  return inputs if is_encoder_decoder(model) else inputs[:1]


@functools.cache
def make(case, **settings):
  """Returns a model and its variables, which tests do not modify."""
  model = CASES[case].clone(**settings)
  inputs = ids_of(model)
  generator = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: model.init(KEY, *inputs, train=False))

  def sample(path, leaf):
    noise = generator.normal(size=leaf.shape).astype(np.float32)
    return 1 + 0.1 * noise if path.endswith("scale") else 0.3 * noise

  return model, trees.map_with_path(sample, shapes)


@functools.cache
def evaluate(model):
  """Returns the compiled `(variables, *ids, attention_mask=) -> output`."""
  return jit(functools.partial(model.apply, train=False))


def loss_of(model, params):
  """Returns the loss for labels that the last inputs determine."""
  inputs = ids_of(model)
  logits = model.apply({"params": params}, *inputs, train=True)
  losses = optax.softmax_cross_entropy_with_integer_labels
  return losses(logits, (inputs[-1] * 5 + 1) % 19).mean()


@functools.cache
def learn(model):
  """Returns a compiled training step that also returns the gradient."""
  tx = optax.adam(1e-2)

  @jit
  def step(params, state):
    loss = functools.partial(loss_of, model)
    value, gradient = jax.value_and_grad(loss)(params)
    updates, state = tx.update(gradient, state)
    return optax.apply_updates(params, updates), state, value, gradient

  return tx, step


def scanned(params):
  """Returns the parameters of the model with `scan=True`."""
  if "encoder" in params:
    stacks = {k: stack_blocks(params[k]) for k in ("encoder", "decoder")}
    return {**params, **stacks}
  return stack_blocks(params)


@pytest.mark.slow
@pytest.mark.parametrize("case", TRAINED)
def test_scan_and_remat_preserve_the_gradient_which_is_nonzero_everywhere(case):
  model, variables = make(case)
  plain = jit(jax.grad(functools.partial(loss_of, model)))(variables["params"])
  params = scanned(variables["params"])
  tx, step = learn(model.clone(scan=True, remat=True))
  *_, scanned_gradient = step(params, tx.init(params))
  left = trees.flatten(scanned(plain))
  right = trees.flatten(scanned_gradient)
  assert left.keys() == right.keys()
  largest = max(np.abs(leaf).max() for leaf in left.values())
  for path, leaf in left.items():
    scale = np.abs(leaf).max()
    if path.endswith("attention/key/bias"):
      scale = largest  # Zero up to rounding, because of the softmax.
    else:
      assert scale > 1e-6 * largest, path
    # The order of summation differs.
    assert np.abs(leaf - right[path]).max() <= 1e-4 * scale + 1e-7, path


@pytest.mark.slow
@pytest.mark.parametrize("case", TRAINED)
def test_one_batch_is_overfitted(case):
  model, variables = make(case)
  params = scanned(variables["params"])
  tx, step = learn(model.clone(scan=True, remat=True))
  state = tx.init(params)
  for _ in range(120):
    params, state, value, _ = step(params, state)
  assert value < 0.05


@pytest.mark.fast_cases("gpt2")
@pytest.mark.parametrize("case", CASES)
def test_bfloat16_is_finite_and_close(case):
  model, variables = make(case)
  ids = ids_of(model)
  mask = np.ones_like(ids[0])
  exact = evaluate(model)(variables, *ids, attention_mask=mask)
  rough = evaluate(model.clone(dtype=jnp.bfloat16))(
    variables, *ids, attention_mask=mask
  )
  assert rough.dtype == jnp.float32
  # bfloat16 has 8 bits, and errors add up over the layers.
  assert np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("case", CASES)
def test_intermediates_have_their_names_and_shapes(case):
  model, variables = make(case)
  inputs = ids_of(model)
  _, state = jax.eval_shape(
    functools.partial(model.apply, train=False, intermediates=True),
    variables,
    *inputs,
  )
  shapes = {name: [x.shape for x in tree] for name, tree in state.items()}
  if not is_encoder_decoder(model):
    assert shapes == {
      "hidden_states": [(2, 6, 16)] * 3,
      "attentions": [(2, 4, 6, 6)] * 2,
    }
    return
  depth = model.decoder_depth or 1
  assert shapes == {
    "encoder_hidden_states": [(2, 6, 16)] * 2,
    "encoder_attentions": [(2, 4, 6, 6)],
    "decoder_hidden_states": [(2, 3, 16)] * (depth + 1),
    "decoder_attentions": [(2, 4, 3, 3)] * depth,
    "cross_attentions": [(2, 4, 3, 6)] * depth,
  }


@pytest.mark.parametrize("case", CASES)
def test_the_forward_pass_lowers_for_every_platform(case):
  model, variables = make(case)
  model = model.clone(scan=True)
  ids = [jnp.asarray(x) for x in ids_of(model)]
  params = {"params": scanned(variables["params"])}
  exported = jax.export.export(
    jax.jit(functools.partial(model.apply, train=False)),
    platforms=("cpu", "cuda", "tpu"),
  )(params, *ids)
  assert exported.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_a_classifier_reads_the_last_token_without_padding(case):
  model, variables = make(case, head="classifier", num_classes=3)
  (ids,) = ids_of(model)
  mask = np.array([[0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
  logits = evaluate(model)(variables, ids, attention_mask=mask)
  assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)
  single = evaluate(model)(variables, ids[:1, 1:4], attention_mask=None)
  np.testing.assert_allclose(logits[:1], single, rtol=1e-4, atol=1e-5)


def test_a_dropout_rate_may_be_traced():
  model, variables = make("gpt2")

  @jit
  def run(rate):
    return model.clone(dropout=rate, attention_dropout=rate).apply(
      variables, *ids_of(model), train=True, rngs={"dropout": KEY}
    )

  without, dropped = run(0.0), run(0.5)
  ids = ids_of(model)
  expected = evaluate(model)(
    variables, *ids, attention_mask=np.ones_like(ids[0])
  )
  np.testing.assert_allclose(without, expected, rtol=1e-3, atol=1e-4)
  assert np.abs(dropped - expected).max() > 0.1


@pytest.mark.parametrize(
  ("name", "settings", "inputs", "message"),
  [
    ("gpt2", {"head": "lmm"}, {}, "expected head to be .*'lm'"),
    ("gpt2", {"head": "classifier"}, {}, "num_classes"),
    ("gpt2", {"num_heads": 3}, {}, "try num_heads=2"),
    ("gpt2", {"max_length": 5}, {}, "at most 5 tokens"),
    ("gpt2", {"dropout": 1.5}, {}, "dropout"),
    ("gpt2", {}, {"attention_mask": np.ones((2, 5))}, r"shape \(2, 6\)"),
    ("llama", {"num_kv_heads": 3}, {}, "divide num_heads"),
    ("llama", {"depth": 0}, {}, "depth"),
    ("llama", {}, {"token_type_ids": np.ones((2, 6))}, "has no token types"),
    ("transformer", {"head": "classifier"}, {}, "expected head to be"),
    ("transformer", {"target_vocab_size": -1}, {}, "target_vocab_size"),
  ],
)
def test_invalid_fields_and_inputs_are_errors(name, settings, inputs, message):
  model = CASES[name].clone(**settings)
  with pytest.raises(UserError, match=message):
    jax.eval_shape(
      lambda: model.init(KEY, *ids_of(model), **inputs, train=False)
    )


def test_float_inputs_are_an_error():
  with pytest.raises(UserError, match="integers"):
    CASES["gpt2"].init(KEY, jnp.ones((2, 6)), train=False)
