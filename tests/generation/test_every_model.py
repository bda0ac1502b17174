"""Generation by every model that predicts tokens, against exhaustive search."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sequence_models import CASES, jit, takes, tokens, variables_of

from dlcore.generation import beam_search, generate, prefill

VOCAB, LENGTH, START, END = 4, 3, 1, 3
PREDICTORS = [case for case in CASES if CASES[case].head == "lm"]
TARGETS = np.array([*itertools.product(range(VOCAB), repeat=LENGTH)])
"""All sequences of three tokens, `[64, 3]`."""


def make(case):
  """Returns a model of 4 tokens, variables, and prompts with padding."""
  model = CASES[case]
  if takes(model, "decoder_input_ids"):
    model = model.clone(target_vocab_size=VOCAB)
    ids = tokens(model, 2, 4)[0]
  else:
    model = model.clone(vocab_size=VOCAB)
    ids = tokens(model, 2, 4)[0] % VOCAB
  mask = np.array([[0, 1, 1, 1], [1, 1, 1, 1]])
  return model, variables_of(model), ids, mask


def forced_logits(model, variables, ids, mask):
  """Returns the logits of all targets after each prompt, `[2, 64, 3, 4]`."""
  ids, mask = (np.repeat(x, len(TARGETS), 0) for x in (ids, mask))
  targets = np.tile(TARGETS, (2, 1))
  run = functools.partial(model.apply, variables, train=False)
  if takes(model, "decoder_input_ids"):
    shifted = np.pad(targets, ((0, 0), (1, 0)), constant_values=START)[:, :-1]
    logits = run(ids, shifted, attention_mask=mask)
  else:
    ids = np.concatenate([ids, targets[:, :-1]], 1)
    mask = np.pad(mask, ((0, 0), (0, LENGTH - 1)), constant_values=1)
    logits = run(ids, attention_mask=mask)[:, -LENGTH:]
  return logits.reshape(2, -1, LENGTH, VOCAB)


def scores_of(logits):
  """Returns the mean log-probability of each target up to its end, by ids."""
  log_p = np.asarray(jax.nn.log_softmax(logits))
  scores = {}
  for target, table in zip(TARGETS.tolist(), log_p, strict=True):
    length = target.index(END) + 1 if END in target else LENGTH
    ids = tuple(target[:length])
    scores[ids] = table[np.arange(length), ids].sum() / length
  return scores


@pytest.mark.slow
@pytest.mark.parametrize("case", PREDICTORS)
def test_tokens_and_beams_are_those_of_an_exhaustive_search(case):
  model, variables, ids, mask = make(case)
  is_encoder_decoder = takes(model, "decoder_input_ids")
  start = {"decoder_start_id": START} if is_encoder_decoder else {}

  @jit
  def run(variables):
    state = prefill(
      model, variables, ids, attention_mask=mask, max_new_tokens=LENGTH, **start
    )
    # At most 9 of 48 beams are unfinished before the last token.
    beams = beam_search(state, num_beams=48, eos_ids=(END,), pad_id=-1)
    logits = forced_logits(model, variables, ids, mask)
    return generate(state).ids, beams, jnp.asarray(logits)

  greedy, beams, logits = run(variables)
  for row in range(2):
    target = (greedy[row] == TARGETS).all(1).argmax()
    best = logits[row, target].argmax(-1)
    np.testing.assert_array_equal(best, greedy[row])
    expected = scores_of(logits[row])
    count = len(expected)
    found = [
      tuple(sequence[:length])
      for sequence, length in zip(
        beams.ids[row, :count].tolist(), beams.lengths[row], strict=False
      )
    ]
    assert set(found) == set(expected)
    np.testing.assert_allclose(
      beams.scores[row, :count], [expected[ids] for ids in found], rtol=1e-4
    )
    assert (np.diff(beams.scores[row, :count]) <= 0).all()
