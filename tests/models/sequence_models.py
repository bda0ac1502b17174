"""Small models of all rows of `MODELS` that take token ids, with every head."""

import dataclasses
import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import models, trees
from dlcore.errors import UserError

KEY = jax.random.key(0)
WORDS, CLASSES = 13, 3
HEADS = ("classifier", "lm", "mlm", "tokens")
SIZES = {
  "num_classes": CLASSES,
  "width": 8,
  "depth": 1,
  "num_heads": 2,
  "num_kv_heads": 1,
  "mlp_dim": 12,
  "max_length": 16,
  "ngrams": (1, 2),
  "buckets": 64,
  "kernel_sizes": (2, 3),
  "features": 6,
}
"""Small values of fields. Where 0 is the default it means another field."""

VARIANTS = {
  "gpt2 lm scan": {"scan": True, "depth": 2},
  "bert_base tokens deep": {"depth": 2},
  "gru lm deep": {"depth": 2, "tie_embeddings": True},
  "lstm lm layer_norm": {"layer_norm": True},
  "gru tokens bidirectional": {"bidirectional": True, "depth": 2},
  "gru classifier bidirectional": {"bidirectional": True},
  "seq2seq lm general": {"attention": "general", "cell": "lstm", "depth": 2},
  "seq2seq lm dot": {"attention": "dot", "bidirectional": False},
  "transformer_base lm deep": {
    "depth": 2,
    "pre_norm": True,
    "target_vocab_size": 11,
  },
}
"""Fields that change the computation, for the case of the first two words."""

# Without optimization, compilation takes a third of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def shrunk(name):
  """Returns a small model of a row of `MODELS`, None if it takes no ids."""
  model = models.create(name)
  fields = {field.name for field in dataclasses.fields(model)}
  if "vocab_size" not in fields:
    return None
  sizes = {
    field: value
    for field, value in SIZES.items()
    if field in fields and getattr(model, field) != 0
  }
  return model.clone(vocab_size=WORDS, **sizes)


def heads(model):
  """Returns the heads of a model, which its error for another one lists."""
  ids = tokens(model, 1, 3)
  try:
    jax.eval_shape(lambda: model.clone(head="?").init(KEY, *ids, train=False))
  except UserError as error:
    return [h for h in re.findall(r"'(\w+)'", str(error)) if h in HEADS]
  return [model.head]


def find_cases():
  """Returns models by case, such as "gpt2 lm"; rows of equal models share one.

  The first row of a class has a case for each head, the others one that shows
  all tokens. A new row of `MODELS` has its cases without a line here.
  """
  names, cases = {}, {}
  for name in models.MODELS:
    model = shrunk(name)
    if model is not None:
      names.setdefault(model, name)
  known = set()
  for model, name in names.items():
    of_tokens = [h for h in heads(model) if h != "classifier"]
    chosen = of_tokens[:1] if type(model) in known else heads(model)
    known.add(type(model))
    cases |= {f"{name} {head}": model.clone(head=head) for head in chosen}
  variants = {
    case: cases[case.rsplit(" ", 1)[0]].clone(**settings)
    for case, settings in VARIANTS.items()
  }
  return {**cases, **variants}


def takes(model, argument):
  """Returns whether a model takes an array as this argument."""
  parameters = inspect.signature(type(model).__call__).parameters
  if argument not in parameters or parameters[argument].annotation is None:
    return False
  untyped = getattr(model, "num_token_types", None) == 0
  return not (untyped and argument == "token_type_ids")


def tokens(model, rows, length, seed=0):
  """Returns ids int32 `[rows, length]`, two arrays for encoder-decoders.

  Those of a row differ.
  """
  generator = np.random.default_rng(seed)
  words = getattr(model, "target_vocab_size", 0) or WORDS
  sizes = [WORDS] + [words] * takes(model, "decoder_input_ids")
  return tuple(
    np.stack(
      [generator.permutation(size)[:length] for _ in range(rows)]
    ).astype(np.int32)
    for size in sizes
  )


@functools.cache
def variables_of(model):
  """Returns variables that NumPy samples, which tests do not modify."""
  generator = np.random.default_rng(0)
  ids = tokens(model, 1, 3)
  shapes = jax.eval_shape(lambda: model.init(KEY, *ids, train=False))

  def sample(path, leaf):
    noise = generator.normal(size=leaf.shape).astype(np.float32)
    return 1 + 0.1 * noise if path.endswith("scale") else 0.4 * noise

  return trees.map_with_path(sample, shapes)


def weighted_sum(outputs, mask):
  """Returns a scalar that weights each logit of a kept position differently.

  Args:
    outputs: `[B, T, C]` with a mask `[B, T]`, or `[B, C]`.
    mask: 0 for positions that do not count.
  """
  weights = jnp.cos(jnp.arange(outputs.shape[-1]))
  values = jnp.sin(outputs) @ weights
  return (values * mask if values.ndim == 2 else values).sum()


@functools.partial(jit, static_argnums=0)
def value_and_gradient(model, variables, ids, kept, arguments):
  """Returns the outputs, and the gradient of their `weighted_sum`."""

  def loss(variables):
    outputs = model.apply(variables, *ids, **arguments, train=False)
    return weighted_sum(outputs, kept), outputs

  gradient, outputs = jax.grad(loss, has_aux=True)(variables)
  return outputs, gradient


def assert_close(actual, expected, tolerance=5e-5):
  """Compares trees that differ by the order of summation, leaf by leaf."""
  actual, expected = trees.flatten(actual), trees.flatten(expected)
  assert actual.keys() == expected.keys()
  largest = max(np.abs(leaf).max() for leaf in expected.values())
  assert largest > 0
  for path, leaf in expected.items():
    scale = max(np.abs(leaf).max(), 1e-3 * largest)
    if path.endswith("attention/key/bias"):
      scale = largest  # Zero up to rounding, because of the softmax.
    assert np.abs(actual[path] - leaf).max() <= tolerance * scale, path


CASES = find_cases()
EACH = [*{(type(m), m.head): c for c, m in reversed(CASES.items())}.values()]
"""A case of each class and head, for properties that no field changes."""
