"""Properties of every model of token ids: a new row of `MODELS` is covered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from sequence_models import (
  CASES,
  EACH,
  WORDS,
  assert_close,
  jit,
  takes,
  tokens,
  value_and_gradient,
  variables_of,
)

from dlcore import models

DECODERS = [case for case in CASES if CASES[case].head == "lm"]
PACKED = [
  case
  for case in CASES
  if CASES[case].head != "classifier" and takes(CASES[case], "segment_ids")
]
PLACES = {
  "right": [1, 1, 1, 1, 0, 0, 0],
  "left": [0, 0, 0, 1, 1, 1, 1],
  "both sides": [0, 1, 1, 1, 1, 0, 0],
}
"""Masks of four tokens."""


def is_encoder_decoder(model):
  return takes(model, "decoder_input_ids")


def padded(values, mask, filler):
  """Returns `[B, S]` with values `[B, T]` where the mask is 1."""
  array = np.array(filler)
  array[mask > 0] = values.ravel()
  return array


@pytest.mark.fast_cases("text_cnn classifier")
@pytest.mark.parametrize("case", CASES)
def test_padding_changes_neither_values_nor_gradients(case):
  model = CASES[case]
  variables, (ids, *others) = variables_of(model), tokens(model, 3, 4)
  mask = np.array([*PLACES.values()])
  counts_padding = isinstance(model, models.Bert)
  if counts_padding and model.head == "classifier":  # Pools the first position.
    mask = np.array([PLACES["right"]] * 3)
  plain = {"token_type_ids": np.arange(12).reshape(3, 4) % 2}
  if counts_padding:
    plain["positions"] = np.broadcast_to(np.arange(4), (3, 4))
  plain = {k: v for k, v in plain.items() if takes(model, k)}
  results = []
  for seed in (1, 2):
    garbage = np.random.default_rng(seed).integers(0, 2, (2, *mask.shape))
    arguments = {k: padded(v, mask, garbage[0]) for k, v in plain.items()}
    long = padded(ids, mask, garbage[1] + 3 * seed).astype(np.int32)
    results.append(
      value_and_gradient(
        model,
        variables,
        (long, *others),
        1 if others else mask,
        {**arguments, "attention_mask": mask},
      )
    )
  short = value_and_gradient(model, variables, (ids, *others), 1, plain)
  (left, _), (right, gradient) = results
  if left.ndim == 3 and not others:
    kept = (np.asarray(x)[mask > 0] for x in (left, right))
    left, right = (x.reshape(3, 4, -1) for x in kept)
  np.testing.assert_array_equal(left, right)
  assert_close((right, gradient), short)


LENGTHS = ((4, 2, 4), (2, 4))
"""Of the sequences in each of two rows of 12 tokens."""


def packed():
  """Returns packed rows, and the same sequences with one in a row.

  Both are arguments of a model: `input_ids`, and `segment_ids` and `positions`
  `[2, 12]`, or `attention_mask` `[5, 4]`.
  """
  ids, segments, positions = np.zeros((3, 2, 12), np.int32)
  alone, mask = np.zeros((2, 5, 4), np.int32)
  count, generator = 0, np.random.default_rng(1)
  for row, lengths in enumerate(LENGTHS):
    start = 0
    for number, length in enumerate(lengths, start=1):
      span = slice(start, start + length)
      ids[row, span] = generator.integers(0, WORDS, length)
      segments[row, span], positions[row, span] = number, np.arange(length)
      alone[count, :length], mask[count, :length] = ids[row, span], 1
      count, start = count + 1, start + length
  together = {"segment_ids": segments, "positions": positions}
  return ids, together, alone, {"attention_mask": mask}


@pytest.mark.fast_cases("lstm lm")
@pytest.mark.parametrize("case", PACKED)
def test_packed_rows_equal_the_sequences_alone(case):
  """Positions restart, and a recurrent state is reset, at every segment."""
  model, results = CASES[case], []
  ids, together, alone, apart = packed()
  for rows, arguments in ((ids, together), (alone, apart)):
    kept = next(iter(arguments.values())) > 0
    outputs, gradient = value_and_gradient(
      model, variables_of(model), (rows,), kept, arguments
    )
    results.append((np.asarray(outputs)[kept], gradient))
  assert_close(*results)


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted({*PACKED} & {*EACH}))
def test_positions_are_those_of_the_segments_by_default(case):
  model = CASES[case]
  ids, packing, *_ = packed()
  segments = packing["segment_ids"]
  apply = jit(functools.partial(model.apply, train=False))
  left, right = (
    apply(variables_of(model), ids, **arguments)
    for arguments in ({"segment_ids": segments}, packing)
  )
  np.testing.assert_array_equal(left[segments > 0], right[segments > 0])


@pytest.mark.fast_cases("gru lm")
@pytest.mark.parametrize("case", DECODERS)
def test_decoding_with_a_cache_equals_teacher_forcing(case):
  """Three tokens at once, then one at a time, after padding on either side."""
  model = CASES[case]
  variables, ids = variables_of(model), tokens(model, 3, 5)
  mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
  forward = functools.partial(model.apply, train=False, attention_mask=mask)
  expected = jit(forward)(variables, *ids)
  steps = [slice(0, 3), slice(3, 4), slice(4, 5)]
  if is_encoder_decoder(model):
    logits = decode_target(model, variables, *ids, mask, steps)
  else:
    logits = decode(model, variables, *ids, mask, steps)
    logits, expected = (np.asarray(x)[mask > 0] for x in (logits, expected))
  assert_close(logits, expected)


def decode(model, variables, ids, mask, steps):
  """Returns the logits of a decoder that continues its cache at each step."""
  apply = functools.partial(
    model.apply, train=False, decode=True, mutable=["cache"]
  )
  shapes = jax.eval_shape(lambda: apply(variables, ids)[1])
  cache = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)

  @jit
  def run(cache, ids, mask):
    return apply({**variables, **cache}, ids, attention_mask=mask)

  logits = []
  for step in steps:
    y, cache = run(cache, ids[:, step], mask[:, step])
    logits.append(y)
  return np.concatenate(logits, 1)


def decode_target(model, variables, source, target, mask, steps):
  """Returns the logits of an encoder-decoder, whose mask is of the source."""
  apply = functools.partial(model.apply, train=False)
  encode = jit(functools.partial(apply, method="encode"))

  @jit
  def run(cache, ids, encoded):
    return apply(
      {**variables, **cache},
      ids,
      encoded,
      mask,
      method="decode",
      decode=True,
      mutable=["cache"],
    )

  encoded = encode(variables, source, attention_mask=mask)
  _, cache = run({}, target, encoded)
  logits = []
  for step in steps:
    y, cache = run(cache, target[:, step], encoded)
    logits.append(y)
  return np.concatenate(logits, 1)


@pytest.mark.fast_cases("gpt2 lm")
@pytest.mark.parametrize("case", DECODERS)
def test_logits_depend_on_the_past_and_the_source_only(case):
  """By the gradient of the logits with respect to the embedded tokens."""
  model = CASES[case]
  ids = [jnp.asarray(x) for x in tokens(model, 1, 5)]
  shifts = [jnp.zeros((1, 5, model.width))] * len(ids)

  def output(shifts):
    used = set()

    def shift(next_function, positional, named, context):
      y = next_function(*positional, **named)
      for i, array in enumerate(ids):
        is_lookup = isinstance(context.module, nn.Embed) and positional
        if is_lookup and positional[0] is array:
          used.add(i)
          y = y + shifts[i]
      return y

    with nn.intercept_methods(shift):
      logits = model.apply(variables_of(model), *ids, train=False)[0]
    assert len(used) == len(ids)
    return jnp.sin(logits) @ jnp.cos(jnp.arange(logits.shape[-1]))  # [T]

  influence = [
    np.abs(x[:, 0]).max(-1) > 0 for x in jit(jax.jacrev(output))(shifts)
  ]
  np.testing.assert_array_equal(influence[-1], np.tri(5, dtype=bool))
  assert all(x.all() for x in influence[:-1])


@pytest.mark.fast_cases("text_cnn classifier")
@pytest.mark.parametrize("case", EACH)
def test_jit_equals_no_jit(case):
  model = CASES[case]
  ids, mask = tokens(model, 3, 7), np.array([*PLACES.values()])
  run = functools.partial(model.apply, train=False)
  plain, compiled = (
    function(variables_of(model), *ids, attention_mask=mask)
    for function in (run, jit(run))
  )
  assert plain.dtype == jnp.float32
  assert_close(plain, compiled)
