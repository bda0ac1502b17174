"""Augmentations of token ids: rates, fixed tokens, local word order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import augment
from dlcore.errors import UserError

PAD, UNKNOWN, BEGIN, END, MASK = 0, 1, 2, 3, 4
IDS = augment.TokenIds((PAD, UNKNOWN, BEGIN, END, MASK), UNKNOWN, MASK)
ON = {"token_dropout": 0.3, "token_masking": 0.3, "word_order": 3}
KEY = jax.random.key(1)


def texts(rows=6, length=40):
  """Returns ids `[rows, length]`: a begin, words, an end and padding."""
  ids = 10 + np.arange(rows * length, dtype=np.int32).reshape(rows, length)
  for row in range(rows):
    size = length - 3 * row
    ids[row, 0], ids[row, size - 1], ids[row, size:] = BEGIN, END, PAD
  return ids


def changed(settings, ids, key=KEY, **arrays):
  batch = {"input_ids": ids, **arrays}
  return np.asarray(augment.compose(settings, IDS)(key, batch)["input_ids"])


def test_every_augmentation_is_tested():
  assert ON.keys() == augment.TOKEN_AUGMENTATIONS.keys()


@pytest.mark.parametrize("name", ON)
def test_the_key_and_the_slot_decide_and_special_tokens_stay(name):
  ids = texts()
  first = changed({name: ON[name]}, ids)
  np.testing.assert_array_equal(first, changed({name: ON[name]}, ids))
  assert (first != ids).any()
  assert (first != changed({name: ON[name]}, ids, jax.random.key(2))).any()
  fixed = np.isin(ids, (PAD, BEGIN, END))
  np.testing.assert_array_equal(first[fixed], ids[fixed])
  assert first.dtype == ids.dtype
  order = np.array([4, 0, 3])
  part = changed({name: ON[name]}, ids[order], slot=order)
  np.testing.assert_array_equal(part, first[order])


@pytest.mark.parametrize(
  ("name", "new"), [("token_dropout", UNKNOWN), ("token_masking", MASK)]
)
def test_a_share_of_the_tokens_is_replaced(name, new):
  ids = 10 + np.zeros((50, 200), np.int32)
  out = changed({name: 0.2}, ids)
  assert set(np.unique(out)) == {new, 10}
  # Five standard deviations of 10,000 tokens.
  assert abs((out == new).mean() - 0.2) < 0.02
  assert (changed({name: 1.0}, ids) == new).all()


@pytest.mark.parametrize("distance", [1, 3])
def test_tokens_move_by_at_most_the_distance(distance):
  ids = texts(rows=1, length=2000)
  out = changed({"word_order": distance}, ids)
  assert sorted(out[0]) == sorted(ids[0])
  moved = np.abs(np.argsort(out[0][1:-1]) - np.arange(1998))
  assert moved.max() == distance


def test_no_token_passes_a_special_one_or_goes_to_the_other_text():
  ids = np.arange(10, 74, dtype=np.int32)[None]
  ids[0, 20] = END
  types = (np.arange(64) >= 44).astype(np.int32)[None]
  for seed in range(20):
    key = jax.random.key(seed)
    out = changed({"word_order": 9}, ids, key, token_type_ids=types)[0]
    for start, stop in ((0, 20), (21, 44), (44, 64)):
      assert set(out[start:stop]) == set(ids[0, start:stop])


def test_the_attention_mask_tells_padding_without_a_token_for_it():
  ids = 10 + np.zeros((2, 30), np.int32)
  mask = (np.arange(30) < 20).astype(np.int32)[None].repeat(2, 0)
  out = changed({"token_dropout": 1.0}, ids, attention_mask=mask)
  np.testing.assert_array_equal(out == UNKNOWN, mask == 1)


@pytest.mark.parametrize("name", ON)
def test_a_traced_value_acts_as_the_python_number_and_zero_as_the_identity(
  compiled, name
):
  ids = texts()

  def run(value):
    batch = {"input_ids": ids}
    return augment.compose({name: value}, IDS)(KEY, batch)["input_ids"]

  off, on = compiled(jax.vmap(run))(jnp.array([0, ON[name]], jnp.float32))
  np.testing.assert_array_equal(off, ids)
  np.testing.assert_array_equal(on, changed({name: ON[name]}, ids))


@pytest.mark.parametrize(
  ("settings", "token_ids", "arrays", "message"),
  [
    ({"word_order": 3}, IDS, {"image": np.zeros((2, 3, 3, 1))}, "token ids"),
    ({"shift": 1}, IDS, {"input_ids": texts(2)}, "images to augment"),
    ({"token_dropout": 0.1}, None, {"input_ids": texts(2)}, "unknown token"),
    ({"token_masking": 0.1}, None, {"input_ids": texts(2)}, "mask token"),
    (
      {"word_order": 1},
      IDS,
      {"input_ids": texts(2), "labels": texts(2)},
      "labels of tokens",
    ),
  ],
)
def test_data_that_cannot_be_augmented_is_refused(
  settings, token_ids, arrays, message
):
  run = functools.partial(augment.compose(settings, token_ids), KEY)
  with pytest.raises(UserError, match=message) as error:
    jax.eval_shape(run, arrays)
  assert len(error.value.lines) == 3


@pytest.mark.parametrize(
  ("name", "most"),
  [("token_dropout", 1), ("token_masking", 1), ("word_order", 1000)],
)
def test_the_range_of_a_setting_ends_where_it_is_documented(name, most):
  augment.compose({name: most})
  for value in (-1, most + 1, "x", None, float("nan")):
    with pytest.raises(UserError, match=f"expected {name} from 0 to {most}"):
      augment.compose({name: value})


def test_all_off_is_no_augmentation():
  off = {name: value for name, (value, _) in augment.TABLES[1].items()}
  assert augment.compose(off, IDS) is None
