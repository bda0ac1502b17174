"""What holds for every decoder and encoder-decoder."""

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
# The gradients of all are among the golden files; these are slow to compile.
TRAINED = [case for case in CASES if case != "transformer"]
# Programs that run once: optimising them would take most of the time.
FAST = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}
jit = functools.partial(jax.jit, compiler_options=FAST)


def is_translator(model):
  return isinstance(model, models.Transformer)


def ids_of(model, *, seed=0):
  """Returns the inputs: no token is there twice, nor in both texts."""
  drawn = np.random.default_rng(seed).permutation(19)
  texts = drawn[:12].reshape(2, 6), drawn[12:18].reshape(2, 3)
  return texts if is_translator(model) else texts[:1]


@functools.cache
def make(case, **settings):
  """Returns a model and its variables; nobody changes them."""
  model = CASES[case].clone(**settings)
  inputs = ids_of(model)
  generator = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: model.init(KEY, *inputs, train=False))

  def draw(path, leaf):
    drawn = generator.normal(size=leaf.shape).astype(np.float32)
    return 1 + 0.1 * drawn if path.endswith("scale") else 0.3 * drawn

  return model, trees.map_with_path(draw, shapes)


@functools.cache
def read(model):
  """Returns the compiled `(variables, *ids, attention_mask=) -> output`."""
  return jit(functools.partial(model.apply, train=False))


def loss_of(model, params):
  """Returns how badly tokens are told that the last inputs determine."""
  inputs = ids_of(model)
  logits = model.apply({"params": params}, *inputs, train=True)
  losses = optax.softmax_cross_entropy_with_integer_labels
  return losses(logits, (inputs[-1] * 5 + 1) % 19).mean()


@functools.cache
def learn(model):
  """Returns a compiled step of training, which gives out the gradient too."""
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
    sides = {k: stack_blocks(params[k]) for k in ("encoder", "decoder")}
    return {**params, **sides}
  return stack_blocks(params)


@pytest.mark.parametrize("case", TRAINED)
def test_scanned_and_computed_again_a_gradient_is_the_same_and_nowhere_zero(
  case,
):
  model, variables = make(case)
  plain = jit(jax.grad(functools.partial(loss_of, model)))(variables["params"])
  params = scanned(variables["params"])
  tx, step = learn(model.clone(scan=True, remat=True))
  *_, again = step(params, tx.init(params))
  left, right = trees.flatten(scanned(plain)), trees.flatten(again)
  assert left.keys() == right.keys()
  largest = max(np.abs(leaf).max() for leaf in left.values())
  for path, leaf in left.items():
    scale = np.abs(leaf).max()
    if path.endswith("attention/key/bias"):
      scale = largest  # Of softmax: 0 but for rounding.
    else:
      assert scale > 1e-6 * largest, path
    # Sums in another order.
    assert np.abs(leaf - right[path]).max() <= 1e-4 * scale + 1e-7, path


@pytest.mark.parametrize("case", TRAINED)
def test_one_batch_is_learned(case):
  model, variables = make(case)
  params = scanned(variables["params"])
  tx, step = learn(model.clone(scan=True, remat=True))
  state = tx.init(params)
  for _ in range(120):
    params, state, value, _ = step(params, state)
  assert value < 0.05


@pytest.mark.parametrize("case", CASES)
def test_no_token_sees_a_later_one(case):
  model, variables = make(case)
  model = model.clone(head=None)
  inputs = ids_of(model)
  name = "word_embedding"
  if is_translator(model) and model.target_vocab_size:
    name = "target_embedding"

  @jit
  def influence(params):
    def output(table):
      changed = {**params, name: {"embedding": table}}
      x = model.apply({"params": changed}, *inputs, train=False)[0]
      return x[:, 0] - x[:, 1]  # Not their sum, which a norm leaves at 0.

    return jax.jacrev(output)(params[name]["embedding"])

  given = inputs[-1][0]
  seen = np.abs(influence(variables["params"])[:, given]).max(-1) > 0
  np.testing.assert_array_equal(seen, np.tri(len(given), dtype=bool))


@pytest.mark.parametrize("case", CASES)
def test_padding_on_either_side_changes_nothing(case):
  model, variables = make(case)
  ids, *rest = ids_of(model)
  text, run = ids[:, :4], read(model)
  outputs = []
  for start, filler in ((0, 3), (0, 4), (1, 3), (2, 3)):
    padded = np.full((2, 6), filler)
    mask = np.zeros((2, 6), int)
    padded[:, start : start + 4], mask[:, start : start + 4] = text, 1
    y = run(variables, padded, *rest, attention_mask=mask)
    outputs.append(y if rest else y[:, start : start + 4])
  plain = read(model)(variables, text, *rest, attention_mask=None)
  for y in outputs:
    # Sums in another order.
    assert np.abs(y - plain).max() < 1e-5 * np.abs(plain).max()


@pytest.mark.parametrize("case", ["llama", "pre_norm"])
def test_jit_equals_no_jit(case):
  model, variables = make(case)
  ids = ids_of(model)
  mask = np.ones_like(ids[0])
  plain = model.apply(variables, *ids, attention_mask=mask, train=False)
  compiled = read(model)(variables, *ids, attention_mask=mask)
  assert plain.dtype == jnp.float32
  np.testing.assert_allclose(plain, compiled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_is_finite_and_close(case):
  model, variables = make(case)
  ids = ids_of(model)
  mask = np.ones_like(ids[0])
  exact = read(model)(variables, *ids, attention_mask=mask)
  rough = read(model.clone(dtype=jnp.bfloat16))(
    variables, *ids, attention_mask=mask
  )
  assert rough.dtype == jnp.float32
  # 8 bits and a handful of layers.
  assert np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("case", CASES)
def test_intermediates_have_their_names_and_shapes(case):
  model, variables = make(case)
  inputs = ids_of(model)
  _, seen = jax.eval_shape(
    functools.partial(model.apply, train=False, intermediates=True),
    variables,
    *inputs,
  )
  shapes = {name: [x.shape for x in found] for name, found in seen.items()}
  if not is_translator(model):
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
def test_it_lowers_for_every_platform(case):
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
def test_a_classifier_judges_by_the_last_kept_token(case):
  model, variables = make(case, head="classifier", num_classes=3)
  (ids,) = ids_of(model)
  mask = np.array([[0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
  logits = read(model)(variables, ids, attention_mask=mask)
  assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)
  alone = read(model)(variables, ids[:1, 1:4], attention_mask=None)
  np.testing.assert_allclose(logits[:1], alone, rtol=1e-4, atol=1e-5)


def test_a_dropout_rate_may_be_traced():
  model, variables = make("gpt2")

  @jit
  def run(rate):
    return model.clone(dropout=rate, attention_dropout=rate).apply(
      variables, *ids_of(model), train=True, rngs={"dropout": KEY}
    )

  fixed, dropped = run(0.0), run(0.5)
  ids = ids_of(model)
  whole = read(model)(variables, *ids, attention_mask=np.ones_like(ids[0]))
  np.testing.assert_allclose(fixed, whole, rtol=1e-3, atol=1e-4)
  assert np.abs(dropped - whole).max() > 0.1


@pytest.mark.parametrize(
  ("name", "settings", "inputs", "message"),
  [
    ("gpt2", {"head": "lmm"}, {}, "did you mean 'lm'"),
    ("gpt2", {"head": "classifier"}, {}, "num_classes"),
    ("gpt2", {"num_heads": 3}, {}, "try 2 heads"),
    ("gpt2", {"max_length": 5}, {}, "at most 5 tokens"),
    ("gpt2", {"dropout": 1.5}, {}, "dropout"),
    ("gpt2", {}, {"attention_mask": np.ones((2, 5))}, r"shape \(2, 6\)"),
    ("llama", {"num_kv_heads": 3}, {}, "divide the heads"),
    ("llama", {"depth": 0}, {}, "depth"),
    ("llama", {}, {"token_type_ids": np.ones((2, 6))}, "knows no types"),
    ("transformer", {"head": "classifier"}, {}, "there are: lm"),
    ("transformer", {"target_vocab_size": -1}, {}, "target_vocab_size"),
  ],
)
def test_settings_that_cannot_work_are_told(name, settings, inputs, message):
  model = CASES[name].clone(**settings)
  with pytest.raises(UserError, match=message):
    jax.eval_shape(
      lambda: model.init(KEY, *ids_of(model), **inputs, train=False)
    )


def test_what_is_no_text_is_told():
  with pytest.raises(UserError, match="integers"):
    CASES["gpt2"].init(KEY, jnp.ones((2, 6)), train=False)
