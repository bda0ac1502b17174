"""Packed rows: sequences one behind the other, each as if it were alone."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import models, trees
from dlcore.errors import UserError

KEY = jax.random.key(0)
WORDS = 13
SMALL = {"vocab_size": WORDS, "width": 8, "depth": 2}
ATTENTION = {
  "vocab_size": WORDS,
  "width": 8,
  "depth": 1,
  "num_heads": 2,
  "mlp_dim": 8,
  "max_length": 12,
}
CASES = {
  "gpt2": ATTENTION,
  "gpt2 scan": {**ATTENTION, "scan": True},
  "llama2_7b": ATTENTION,
  "gru": {**SMALL, "head": "lm"},
  "lstm": {**SMALL, "head": "lm"},
  "rnn layer_norm": {**SMALL, "head": "lm", "layer_norm": True},
  "lstm tokens": {
    **SMALL,
    "head": "tokens",
    "num_classes": 3,
    "bidirectional": True,
  },
}
LENGTHS = ((4, 2, 4), (2, 4))
"""Of the sequences in each of two rows of 12 tokens."""
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


@functools.cache
def make(case):
  model = models.create(case.split()[0], **CASES[case])
  generator = np.random.default_rng(0)
  ids = jnp.zeros((1, 3), jnp.int32)
  shapes = jax.eval_shape(lambda: model.init(KEY, ids, train=False))

  def sample(path, leaf):
    noise = generator.normal(size=leaf.shape).astype(np.float32)
    return 1 + 0.1 * noise if path.endswith("scale") else 0.4 * noise

  return model, trees.map_with_path(sample, shapes)


def packed():
  """Returns ids, segments and positions `[2, 12]`, and the sequences."""
  generator = np.random.default_rng(1)
  ids, segments, positions = np.zeros((3, 2, 12), np.int32)
  sequences = []
  for row, lengths in enumerate(LENGTHS):
    start = 0
    for number, length in enumerate(lengths, start=1):
      span = slice(start, start + length)
      ids[row, span] = generator.integers(0, WORDS, length)
      segments[row, span] = number
      positions[row, span] = np.arange(length)
      sequences.append((row, span))
      start += length
  return ids, segments, positions, sequences


def total(logits, mask):
  """Returns a scalar that weights each logit of a token differently."""
  weights = jnp.cos(jnp.arange(logits.shape[-1]))
  return (jnp.sin(logits) @ weights * mask).sum()


def run(model, variables, ids, **packing):
  return model.apply(variables, ids, train=False, **packing)


@pytest.mark.fast_cases("gpt2", "lstm")
@pytest.mark.parametrize("case", CASES)
def test_packed_rows_equal_the_sequences_alone(case):
  model, variables = make(case)
  ids, segments, positions, sequences = packed()
  by_length = collections.defaultdict(list)
  for row, span in sequences:
    by_length[span.stop - span.start].append((row, span))
  alone = {
    length: np.stack([ids[row, span] for row, span in spans])
    for length, spans in by_length.items()
  }

  @jit
  def of_rows(variables):
    def loss(variables):
      packing = {"segment_ids": segments, "positions": positions}
      logits = run(model, variables, ids, **packing)
      return total(logits, segments > 0), logits

    return jax.value_and_grad(loss, has_aux=True)(variables)

  @jit
  def of_sequences(variables):
    def loss(variables):
      logits = {n: run(model, variables, x) for n, x in alone.items()}
      return sum(total(y, 1) for y in logits.values()), logits

    return jax.value_and_grad(loss, has_aux=True)(variables)

  (_, logits), left = of_rows(variables)
  (_, expected), right = of_sequences(variables)
  for length, spans in by_length.items():
    found = np.stack([logits[row, span] for row, span in spans])
    error = np.abs(found - expected[length]).max()
    assert error <= 1e-5 * np.abs(expected[length]).max()
  left, right = trees.flatten(left), trees.flatten(right)
  largest = max(np.abs(leaf).max() for leaf in right.values())
  for path, leaf in left.items():
    scale = np.abs(right[path]).max()
    if path.endswith("attention/key/bias"):
      scale = largest  # Zero up to rounding, because of the softmax.
    # The order of summation differs.
    assert np.abs(leaf - right[path]).max() <= 1e-5 * scale, path


@pytest.mark.slow
@pytest.mark.parametrize("case", ["gpt2", "llama2_7b"])
def test_positions_are_those_of_the_segments_by_default(case):
  model, variables = make(case)
  ids, segments, positions, _ = packed()
  apply = jit(functools.partial(run, model))
  left = apply(variables, ids, segment_ids=segments)
  right = apply(variables, ids, segment_ids=segments, positions=positions)
  np.testing.assert_array_equal(left[segments > 0], right[segments > 0])


@pytest.mark.slow
def test_an_attention_mask_hides_tokens_of_a_segment():
  model, variables = make("gpt2")
  ids, segments, _, _ = packed()
  mask = np.ones_like(ids)
  mask[:, 0] = 0
  apply = jit(functools.partial(run, model))
  changed = ids.copy()
  changed[:, 0] += 1
  left, right = (
    apply(variables, x, segment_ids=segments, attention_mask=mask)
    for x in (ids, changed)
  )
  np.testing.assert_array_equal(left[:, 1:], right[:, 1:])


@pytest.mark.parametrize(
  ("settings", "arguments", "message"),
  [
    ({}, {"segment_ids": np.ones((2, 3), int)}, r"of shape \(2, 12\)"),
    ({}, {"segment_ids": np.ones((2, 12))}, "segment_ids, integers"),
    ({}, {"segment_ids": [[1] * 12] * 2}, "segment_ids, an array"),
    ({"head": "classifier", "num_classes": 2}, {}, "one output for each row"),
    ({}, {"decode": True}, "decode=True"),
  ],
)
@pytest.mark.parametrize("name", ["gpt2", "llama2_7b", "lstm"])
def test_invalid_segments_are_errors(name, settings, arguments, message):
  model = models.create(name, **{**CASES[name], **settings})
  ids, segments, *_ = packed()
  arguments = {"segment_ids": segments, **arguments}
  with pytest.raises(UserError, match=message):
    jax.eval_shape(lambda: model.init(KEY, ids, train=False, **arguments))
