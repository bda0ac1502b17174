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


def arrays_of(model):
  """Returns ids `[3, 4]`, others such as types, and targets, if any."""
  ids, *targets = tokens(model, 3, 4)
  others = {"token_type_ids": np.arange(12).reshape(3, 4) % 2}
  if isinstance(model, models.Bert):  # The default positions count padding.
    others["positions"] = np.broadcast_to(np.arange(4), (3, 4))
  return ids, {k: v for k, v in others.items() if takes(model, k)}, targets


def padded(values, mask, seed):
  """Returns int `[3, 7]`: the values where the mask is 1, others elsewhere."""
  array = np.random.default_rng(seed).integers(0, 2, mask.shape)
  array[mask > 0] = values.ravel()
  return array


@pytest.mark.fast_cases("text_cnn classifier")
@pytest.mark.parametrize("case", CASES)
def test_padding_changes_neither_values_nor_gradients(case):
  model, mask = CASES[case], np.array([*PLACES.values()])
  if isinstance(model, models.Bert) and model.head == "classifier":
    mask = np.array([PLACES["right"]] * 3)  # It pools the first position.
  ids, others, targets = arrays_of(model)

  def run(ids, mask, **others):
    """Returns outputs of the tokens, `[3, 4, C]` or `[3, C]`, and gradients."""
    kept = 1 if mask is None or targets else mask  # Targets have none.
    outputs, gradient = value_and_gradient(
      model,
      variables_of(model),
      (ids, *targets),
      kept,
      {**others, "attention_mask": mask},
    )
    if outputs.ndim == 3 and kept is mask:
      outputs = np.asarray(outputs)[mask > 0].reshape(3, 4, -1)
    return outputs, gradient

  left, right = (
    run(
      padded(ids, mask, seed),
      mask,
      **{name: padded(array, mask, seed) for name, array in others.items()},
    )
    for seed in (1, 2)
  )
  np.testing.assert_array_equal(left[0], right[0])
  assert_close(right, run(ids, None, **others))


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
