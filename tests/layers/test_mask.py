"""Attention masks: shapes, dtypes, and what they keep."""

import numpy as np
import pytest

from dlcore import layers
from dlcore.errors import UserError
from dlcore.layers import bool_mask, causal_mask, padding_mask

MASK = np.array([[1, 1, 0], [0, 1, 1]])


@pytest.mark.parametrize("dtype", [bool, np.int32, np.uint8])
def test_a_mask_keeps_its_values_as_bool(dtype):
  mask = bool_mask(MASK.astype(dtype), (2, 3))
  assert mask.dtype == bool
  np.testing.assert_array_equal(mask, MASK == 1)
  broadcast = padding_mask(MASK.astype(dtype))
  assert broadcast.shape == (2, 1, 1, 3)
  np.testing.assert_array_equal(broadcast[:, 0, 0], MASK == 1)
  assert padding_mask(None) is padding_mask(None, (2, 3)) is None


@pytest.mark.parametrize(
  "shape", [(2, 1), (1, 3), (3, 2), (2, 3, 1), (3,), (6,), (), (2, 4)]
)
def test_a_mask_of_another_shape_is_refused(shape):
  mask = np.ones(shape, int)
  for check in (bool_mask, padding_mask):
    with pytest.raises(UserError, match=r"of shape \(2, 3\)"):
      check(mask, (2, 3))
    with pytest.raises(UserError, match=r"of shape \(2, 3\)"):
      check(mask, [2, 3])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_a_float_mask_is_refused(dtype):
  for check in (bool_mask, padding_mask):
    with pytest.raises(UserError, match="integers or bool") as error:
      check(MASK.astype(dtype), (2, 3))
    assert len(error.value.lines) == 3


@pytest.mark.parametrize("mask", [MASK.tolist(), 1, "11", object()])
def test_a_mask_that_is_no_array_is_refused(mask):
  for check in (bool_mask, padding_mask):
    with pytest.raises(UserError, match="attention_mask, an array") as error:
      check(mask, (2, 3))
    assert len(error.value.lines) == 3
  with pytest.raises(UserError, match="attention_mask, an array"):
    padding_mask(mask)


def test_a_query_attends_to_the_past_of_its_offset():
  assert causal_mask(2, 4, 1)[0, 0].tolist() == [
    [True, True, False, False],
    [True, True, True, False],
  ]
  np.testing.assert_array_equal(causal_mask(3)[0, 0], np.tri(3) == 1)


def test_the_mask_of_a_cache_has_the_shape_of_the_new_tokens():
  class Module:
    def has_variable(self, *_):
      return False

  for mask in (MASK[:, :2], MASK[:1], MASK[None]):
    for decode in (False, True):
      with pytest.raises(UserError, match=r"of shape \(2, 3\)"):
        layers.mask_and_positions(
          Module(), np.zeros((2, 3), int), mask, decode=decode
        )


SEGMENTS = np.array([[1, 1, 2, 2, 2, 0], [0, 1, 2, 3, 0, 0]])


def test_tokens_attend_inside_of_their_segment():
  mask = layers.segment_mask(SEGMENTS)
  assert mask.shape == (2, 1, 6, 6)
  for row, ids in enumerate(SEGMENTS):
    expected = (ids[:, None] == ids[None]) & (ids > 0)
    np.testing.assert_array_equal(mask[row, 0], expected)


def test_positions_restart_where_a_segment_begins():
  begins = layers.segment_begins(SEGMENTS)
  assert begins.astype(int).tolist() == [[1, 0, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0]]
  positions = np.asarray(layers.segment_positions(SEGMENTS))
  assert positions[SEGMENTS > 0].tolist() == [0, 1, 0, 1, 2, 0, 0, 0]
