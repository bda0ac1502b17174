import functools

import jax
import numpy as np
import pytest

from dlcore import models
from dlcore.errors import UserError
from dlcore.generation import generate, prefill, sampling

SMALL = {"vocab_size": 19, "width": 16, "depth": 2, "mlp_dim": 24}
MODELS = {
  "gpt2": models.GPT2(**SMALL, num_heads=2, max_length=20),
  "llama": models.Llama(**SMALL, num_heads=4, num_kv_heads=2, scan=True),
  **{
    cell: models.RecurrentNetwork(
      vocab_size=19, width=16, depth=2, cell=cell, head="lm"
    )
    for cell in ("lstm", "gru", "rnn")
  },
}
PARAMS = [
  pytest.param(name, marks=pytest.mark.slow) if name in ("gru", "rnn") else name
  for name in MODELS
]
LENGTH = 6
# Without optimization, compilation takes a third of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


@pytest.fixture(scope="module", params=PARAMS)
def prompts(request, random_variables):
  """A model, variables, and prompts padded left, right and not at all."""
  model = MODELS[request.param]
  ids = np.random.default_rng(1).integers(0, 19, (3, 5))
  mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
  return model, random_variables(model, ids), ids, mask


@pytest.fixture(scope="module")
def greedy_output(prompts):
  model, variables, ids, mask = prompts

  @jit
  def run(variables, ids, mask):
    return generate(
      prefill(model, variables, ids, attention_mask=mask, max_new_tokens=LENGTH)
    )

  return run(variables, ids, mask)


def test_with_a_cache_the_tokens_equal_those_of_full_forward_passes(
  prompts, greedy_output
):
  model, variables, ids, mask = prompts
  assert greedy_output.lengths.tolist() == [LENGTH] * 3

  @jit
  def forward(ids, mask):
    return model.apply(variables, ids, attention_mask=mask, train=False)

  for row in range(3):
    prompt = ids[row][mask[row] == 1]
    sequence = np.concatenate([prompt, greedy_output.ids[row]])
    padded = np.zeros((1, ids.shape[1] + LENGTH), int)
    padded[0, : len(sequence)] = sequence
    kept = (np.arange(padded.shape[1]) < len(sequence))[None]
    # The model is causal: one pass gives the argmax after every prefix.
    following = forward(padded, kept)[0].argmax(-1)
    last = len(prompt) - 1
    expected = following[last : last + LENGTH]
    np.testing.assert_array_equal(greedy_output.ids[row], expected)
  assert len(np.unique(greedy_output.ids)) > 3


def test_logits_step_by_step_equal_those_of_all_tokens_at_once(prompts):
  model, variables, ids, mask = prompts
  forward = functools.partial(model.apply, train=False)
  decode = functools.partial(forward, decode=True, mutable=["cache"])

  @jit
  def at_once(ids, mask):
    logits = forward(variables, ids, attention_mask=mask)
    return logits, decode(variables, ids)[1]

  @jit
  def in_steps(cache, ids, mask):
    return decode({**variables, **cache}, ids, attention_mask=mask)

  expected, cache = at_once(ids, mask)
  steps = []
  for i in (slice(0, 3), slice(3, 4), slice(4, 5)):
    logits, cache = in_steps(cache, ids[:, i], mask[:, i])
    steps.append(logits)
  expected, steps = (
    np.where(mask[..., None], x, 0)
    for x in (expected, np.concatenate(steps, 1))
  )
  # The order of summation differs.
  assert np.abs(expected - steps).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("prompts", ["gpt2"], indirect=True)
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


@pytest.mark.parametrize("prompts", ["gpt2"], indirect=True)
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


@pytest.mark.parametrize("prompts", ["gpt2"], indirect=True)
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


@pytest.mark.parametrize("prompts", ["gpt2"], indirect=True)
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
    (MODELS["gpt2"].clone(head=None), {}, 'head="lm"'),
    (MODELS["gpt2"].clone(head="classifier"), {}, "head='classifier'"),
    (models.Bert(**SMALL, num_heads=2, head="mlm"), {}, "head='mlm'"),
    (MODELS["gpt2"], {"max_new_tokens": 0}, "max_new_tokens to be an integer"),
    (MODELS["gpt2"], {"input_ids": IDS + 0.5}, "integers"),
    (MODELS["gpt2"], {"input_ids": IDS[0]}, "integers"),
    (MODELS["gpt2"], {"input_ids": IDS * 19}, "input_ids from 0 to 18"),
    (MODELS["gpt2"], {"input_ids": -IDS}, "input_ids from 0 to 18"),
    (MODELS["gpt2"], {"input_ids": IDS * 2**32}, "input_ids from 0 to 18"),
    (MODELS["gpt2"], {"input_ids": [[1, 2], [3]]}, "equal length in input_ids"),
    (MODELS["gpt2"], {"decoder_start_id": 1}, "decoder_start_id=None"),
    (MODELS["gpt2"], {"attention_mask": IDS[:, :3]}, "of shape"),
    (MODELS["gpt2"], {"attention_mask": IDS[:1]}, "of shape"),
    (MODELS["gpt2"], {"attention_mask": IDS * 1.0}, "attention_mask of"),
    (MODELS["gpt2"], {"attention_mask": IDS * [[1], [0]]}, "every row"),
  ],
)
def test_invalid_prompts_raise(model, arguments, message):
  arguments = {"input_ids": IDS, "max_new_tokens": 3, **arguments}
  with pytest.raises(UserError, match=message):
    prefill(model, {}, **arguments)
