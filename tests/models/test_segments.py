"""Segments of packed rows: tokens hidden in them, and invalid ones.

test_sequence_properties.py compares packed rows with the sequences alone.
"""

import functools

import jax
import numpy as np
import pytest
from sequence_models import CASES, KEY, jit, tokens, variables_of

from dlcore.errors import UserError

SEGMENTS = np.array([[1, 1, 1, 2, 2, 0], [1, 1, 2, 2, 2, 2]], np.int32)


@pytest.mark.slow
def test_an_attention_mask_hides_tokens_of_a_segment():
  model = CASES["gpt2 lm"]
  (ids,) = tokens(model, *SEGMENTS.shape)
  mask = np.ones_like(ids)
  mask[:, 0] = 0
  packing = {"segment_ids": SEGMENTS, "attention_mask": mask}
  apply = jit(functools.partial(model.apply, train=False, **packing))
  changed = ids.copy()
  changed[:, 0] += 1
  left, right = (apply(variables_of(model), x) for x in (ids, changed))
  np.testing.assert_array_equal(left[:, 1:], right[:, 1:])


@pytest.mark.parametrize(
  ("settings", "arguments", "message"),
  [
    ({}, {"segment_ids": np.ones((2, 3), int)}, r"of shape \(2, 6\)"),
    ({}, {"segment_ids": np.ones((2, 6))}, "segment_ids, integers"),
    ({}, {"segment_ids": [[1] * 6] * 2}, "segment_ids, an array"),
    ({"head": "classifier", "num_classes": 2}, {}, "one output for each row"),
    ({}, {"decode": True}, "decode=True"),
  ],
)
@pytest.mark.parametrize("case", ["gpt2 lm", "llama2_7b lm", "lstm lm"])
def test_invalid_segments_are_errors(case, settings, arguments, message):
  model = CASES[case].clone(**settings)
  (ids,) = tokens(model, *SEGMENTS.shape)
  arguments = {"segment_ids": SEGMENTS, **arguments}
  with pytest.raises(UserError, match=message):
    jax.eval_shape(lambda: model.init(KEY, ids, train=False, **arguments))
