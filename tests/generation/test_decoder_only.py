import functools

import jax
import numpy as np
import pytest

from dlcore import models
from dlcore.errors import UserError
from dlcore.generation import generate, prefill, sampling

SMALL = {"vocab_size": 19, "width": 16, "depth": 2, "mlp_dim": 24}
MODEL = models.GPT2(**SMALL, num_heads=2, max_length=20)
LENGTH = 6
# Without optimization, compilation takes a third of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


@pytest.fixture(scope="module")
def prompts(random_variables):
  """A model, variables, and prompts padded left, right and not at all."""
  ids = np.random.default_rng(1).integers(0, 19, (3, 5))
  mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
  return MODEL, random_variables(MODEL, ids), ids, mask


@pytest.fixture(scope="module")
def greedy_output(prompts):
  model, variables, ids, mask = prompts

  @jit
  def run(variables, ids, mask):
    return generate(
      prefill(model, variables, ids, attention_mask=mask, max_new_tokens=LENGTH)
    )

  return run(variables, ids, mask)


def test_a_sequence_ends_at_its_first_eos_id_and_is_padded(
  prompts, greedy_output
):
  model, variables, ids, mask = prompts
  free = np.asarray(greedy_output.ids)
  eos_ids = (int(free[0, 2]), int(free[1, 4]))
  output = jit(
    lambda: generate(
      prefill(
        model, variables, ids, attention_mask=mask, max_new_tokens=LENGTH
      ),
      eos_ids=eos_ids,
      pad_id=-1,
    )
  )()
  for row in range(3):
    ends = [i for i, token in enumerate(free[row]) if token in eos_ids]
    length = ends[0] + 1 if ends else LENGTH
    assert output.lengths[row] == length
    np.testing.assert_array_equal(output.ids[row, :length], free[row, :length])
    assert (output.ids[row, length:] == -1).all()
  assert output.lengths[0] <= 3


@pytest.mark.slow
def test_a_sequence_does_not_depend_on_the_others_of_its_batch(
  prompts, greedy_output
):
  model, variables, ids, mask = prompts

  @jit
  def run(ids, mask):
    state = prefill(
      model, variables, ids, attention_mask=mask, max_new_tokens=LENGTH
    )
    sampler = sampling(temperature=2.0)
    return generate(state, sampler=sampler, key=jax.random.key(0))

  together = run(ids, mask).ids
  alone = run(ids[:1], mask[:1]).ids
  np.testing.assert_array_equal(together[:1], alone)
  assert (together != greedy_output.ids).any()


def test_more_tokens_than_positions_raise_before_anything_is_computed(prompts):
  model, variables, ids, _ = prompts
  with pytest.raises(UserError, match="at most 20 positions") as error:
    prefill(model, variables, ids, max_new_tokens=17)
  assert error.value.lines[1:] == (
    "got 5 + 17 - 1",
    "reduce max_new_tokens to 16",
  )
  with pytest.raises(UserError, match="truncate the prompts"):
    prefill(model, variables, np.ones((1, 30), int), max_new_tokens=1)


@pytest.mark.parametrize(("length", "new"), [(5, 16), (20, 1)])
def test_prompts_and_tokens_may_fill_all_positions(prompts, length, new):
  model, variables, *_ = prompts
  ids = np.ones((1, length), int)

  def fill(variables):
    state = prefill(model, variables, ids, max_new_tokens=new)
    return state.step(state.cache, state.ids)

  cache, _ = jax.eval_shape(fill, variables)
  keys = [leaf for leaf in jax.tree.leaves(cache) if leaf.ndim == 4]
  assert {leaf.shape[1] for leaf in keys} == {20}


IDS = np.ones((2, 4), int)


@pytest.mark.parametrize(
  ("model", "arguments", "message"),
  [
    (MODEL.clone(head=None), {}, 'head="lm"'),
    (MODEL.clone(head="classifier"), {}, "head='classifier'"),
    (models.Bert(**SMALL, num_heads=2, head="mlm"), {}, "head='mlm'"),
    (MODEL, {"max_new_tokens": 0}, "max_new_tokens to be an integer"),
    (MODEL, {"input_ids": IDS + 0.5}, "integers"),
    (MODEL, {"input_ids": IDS[0]}, "integers"),
    (MODEL, {"input_ids": IDS * 19}, "input_ids from 0 to 18"),
    (MODEL, {"input_ids": -IDS}, "input_ids from 0 to 18"),
    (MODEL, {"input_ids": IDS * 2**32}, "input_ids from 0 to 18"),
    (MODEL, {"input_ids": [[1, 2], [3]]}, "equal length in input_ids"),
    (MODEL, {"decoder_start_id": 1}, "decoder_start_id=None"),
    (MODEL, {"attention_mask": IDS[:, :3]}, "of shape"),
    (MODEL, {"attention_mask": IDS[:1]}, "of shape"),
    (MODEL, {"attention_mask": IDS * 1.0}, "attention_mask of"),
    (MODEL, {"attention_mask": IDS * [[1], [0]]}, "every row"),
  ],
)
def test_invalid_prompts_raise(model, arguments, message):
  arguments = {"input_ids": IDS, "max_new_tokens": 3, **arguments}
  with pytest.raises(UserError, match=message):
    prefill(model, {}, **arguments)
