"""Streams: the tokens of `generate` one by one, and their text."""

import jax
import numpy as np
import pytest

from dlcore import models
from dlcore.errors import UserError
from dlcore.generation import (
  TextOutput,
  generate,
  penalize_repetition,
  prefill,
  sampling,
  stream,
)

MODEL = models.RecurrentNetwork(
  vocab_size=19, width=16, depth=2, cell="gru", head="lm"
)


@pytest.mark.slow
def test_a_stream_yields_the_tokens_of_generate(random_variables):
  ids = np.random.default_rng(1).integers(0, 19, (2, 5))
  variables = random_variables(MODEL, ids)

  def prepare(variables):
    state = prefill(MODEL, variables, ids, max_new_tokens=6)
    return penalize_repetition(state, 1.3)

  settings = {"sampler": sampling(temperature=2.0), "key": jax.random.key(3)}
  free = jax.jit(lambda v: generate(prepare(v), **settings))(variables)
  steps = list(stream(prepare, variables, **settings))
  np.testing.assert_array_equal(np.stack(steps, 1), free.ids)
  eos = {int(free.ids[0, 1]), int(free.ids[1, 3])}
  settings |= {"eos_ids": sorted(eos), "pad_id": 18}
  ended = jax.jit(lambda v: generate(prepare(v), **settings))(variables)
  steps = list(stream(prepare, variables, **settings))
  length = int(ended.lengths.max())
  assert len(steps) == length < 6
  np.testing.assert_array_equal(np.stack(steps, 1), ended.ids[:, :length])


def test_a_stream_needs_a_key_as_generate_does(chains):
  steps = stream(lambda _: chains(2), {}, sampler=sampling())
  with pytest.raises(UserError, match="expected a key"):
    next(steps)


def letters(ids):
  return bytes(ids).decode("utf-8", "replace")


def push(output, text):
  return [output.push(byte) for byte in text.encode()]


def test_text_comes_in_whole_characters():
  output = TextOutput(letters)
  assert push(output, "aé€b") == ["a", "", "é", "", "", "€", "b"]
  assert output.finish() == ""
  assert output.text == "aé€b"


def test_bytes_that_no_character_follows_come_at_the_end():
  output = TextOutput(letters)
  assert [output.push(byte) for byte in b"a\xc3"] == ["a", ""]
  assert output.finish() == "\ufffd"


def test_the_text_ends_before_a_stop_string_that_is_never_shown():
  output = TextOutput(letters, ["END", "\n\n"])
  pieces = push(output, "a EN b\nc END d")
  assert "".join(pieces) == output.text == "a EN b\nc "
  assert output.stopped
  # A beginning of a stop string waits for the next token.
  assert pieces[2:5] == ["", "", "EN "]


@pytest.mark.parametrize("stop", ["aab", "ab", "b"])
def test_any_stop_string_ends_the_text_where_it_begins(stop):
  output = TextOutput(letters, [stop])
  pieces = push(output, "aaabc")
  assert "".join(pieces) == "aaabc"[: "aaabc".index(stop)]


def test_an_empty_stop_string_is_refused():
  with pytest.raises(UserError, match="stop strings"):
    TextOutput(letters, ["end", ""])
