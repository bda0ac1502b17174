import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import models, trees
from dlcore.errors import UserError
from dlcore.generation import (
  Start,
  after_prompt,
  after_source,
  beam_search,
  generate,
  greedy,
  sampling,
  without,
)

KEY = jax.random.key(0)
SMALL = {"vocabulary": 19, "width": 16, "depth": 2, "hidden": 24}
MODELS = {
  "gpt2": models.GPT2(**SMALL, heads=2, length=20),
  "llama": models.Llama(**SMALL, heads=4, key_value_heads=2, scan=True),
}
TRANSLATORS = {
  "transformer": models.Transformer(
    **{**SMALL, "depth": 1}, target_vocabulary=13, heads=2
  ),
  "seq2seq": models.Seq2Seq(
    vocabulary=19, width=16, target_vocabulary=13, depth=2
  ),
}
LENGTH = 6
# Programs that run once: optimising them would take most of the time.
FAST = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}
jit = functools.partial(jax.jit, compiler_options=FAST)


def draw(model, *inputs):
  """Draws variables such that the likeliest tokens vary."""
  generator = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: model.init(KEY, *inputs, train=False))

  def values(path, leaf):
    drawn = generator.normal(size=leaf.shape).astype(np.float32)
    # With a positive norm a tied head would tell each token once more.
    return -np.ones_like(drawn) if path.endswith("scale") else 0.4 * drawn

  return trees.map_with_path(values, shapes)


@functools.cache
def prompts(name):
  """Returns a model, its variables, and prompts padded left, right and not."""
  model = MODELS[name]
  ids = np.random.default_rng(1).integers(0, 19, (3, 5))
  mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
  return model, draw(model, ids), ids, mask


@functools.cache
def continued(name):
  model, variables, ids, mask = prompts(name)
  run = jit(
    lambda variables, ids, mask: generate(
      after_prompt(model, variables, ids, attention_mask=mask, length=LENGTH)
    )
  )
  return run(variables, ids, mask)


@pytest.mark.parametrize("name", MODELS)
def test_with_a_cache_the_text_is_that_of_reading_all_of_it_again(name):
  model, variables, ids, mask = prompts(name)
  found = continued(name)
  assert found.lengths.tolist() == [LENGTH] * 3

  @jit
  def read(ids, mask):
    return model.apply(variables, ids, attention_mask=mask, train=False)

  for row in range(3):
    kept = ids[row][mask[row] == 1]
    text = np.concatenate([kept, found.ids[row]])
    whole = np.zeros((1, ids.shape[1] + LENGTH), int)
    whole[0, : len(text)] = text
    seen = (np.arange(whole.shape[1]) < len(text))[None]
    # Causal: one reading tells what each reading of a part of it would.
    told = read(whole, seen)[0].argmax(-1)
    last = len(kept) - 1
    expected = told[last : last + LENGTH]
    np.testing.assert_array_equal(found.ids[row], expected)
  assert len(np.unique(found.ids)) > 4


@pytest.mark.parametrize("name", MODELS)
def test_logits_step_by_step_are_those_of_all_tokens_at_once(name):
  model, variables, ids, mask = prompts(name)
  read = functools.partial(model.apply, train=False)
  call = functools.partial(read, decode=True, mutable=["cache"])

  @jit
  def begin(ids, mask):
    return read(variables, ids, attention_mask=mask), call(variables, ids)[1]

  @jit
  def go_on(cache, ids, mask):
    return call({**variables, **cache}, ids, attention_mask=mask)

  whole, cache = begin(ids, mask)
  steps = []
  for i in (slice(0, 3), slice(3, 4), slice(4, 5)):
    logits, cache = go_on(cache, ids[:, i], mask[:, i])
    steps.append(logits)
  whole, steps = (
    np.where(mask[..., None], x, 0) for x in (whole, np.concatenate(steps, 1))
  )
  # Sums in another order.
  assert np.abs(whole - steps).max() < 1e-5 * np.abs(whole).max()


def test_what_stops_is_cut_there_and_padded():
  model, variables, ids, mask = prompts("gpt2")
  free = np.asarray(continued("gpt2").ids)
  stop = (int(free[0, 2]), int(free[1, 4]))
  found = jit(
    lambda: generate(
      after_prompt(model, variables, ids, attention_mask=mask, length=LENGTH),
      stop=stop,
      pad=-1,
    )
  )()
  for row in range(3):
    ends = [i for i, token in enumerate(free[row]) if token in stop]
    length = ends[0] + 1 if ends else LENGTH
    assert found.lengths[row] == length
    np.testing.assert_array_equal(found.ids[row, :length], free[row, :length])
    assert (found.ids[row, length:] == -1).all()
  assert found.lengths[0] <= 3


def test_a_text_does_not_depend_on_the_others_of_its_batch():
  model, variables, ids, mask = prompts("gpt2")

  @jit
  def run(ids, mask):
    start = after_prompt(
      model, variables, ids, attention_mask=mask, length=LENGTH
    )
    return generate(start, choose=sampling(temperature=2.0), key=KEY)

  together = run(ids, mask).ids
  alone = run(ids[:1], mask[:1]).ids
  np.testing.assert_array_equal(together[:1], alone)
  assert (together != continued("gpt2").ids).any()


def test_too_long_a_text_is_told_before_anything_is_computed():
  model, variables, ids, _ = prompts("gpt2")
  with pytest.raises(UserError, match="at most 20 tokens"):
    after_prompt(model, variables, ids, length=17)


LOGITS = jnp.log(jnp.array([0.1, 0.4, 0.05, 0.15, 0.3]))


@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    ({}, [0.1, 0.4, 0.05, 0.15, 0.3]),
    ({"top_k": 2}, [0, 4 / 7, 0, 0, 3 / 7]),
    ({"top_p": 0.7001}, [0, 8 / 17, 0, 3 / 17, 6 / 17]),
    ({"top_p": 0.6999}, [0, 4 / 7, 0, 0, 3 / 7]),
    # Of the three likeliest, the first two have 0.82 of the probability.
    ({"top_k": 3, "top_p": 0.8}, [0, 4 / 7, 0, 0, 3 / 7]),
    ({"temperature": 0.5}, [0.01, 0.16, 0.0025, 0.0225, 0.09]),
    ({"top_k": 99, "top_p": 1.0}, [0.1, 0.4, 0.05, 0.15, 0.3]),
  ],
)
def test_choices_at_random_are_as_frequent_as_probable(settings, expected):
  count = 20_000
  choose = jit(jax.vmap(sampling(**settings), (0, None)))
  ids = choose(jax.random.split(KEY, count), LOGITS)
  shares = np.bincount(ids, minlength=5) / count
  expected = np.array(expected) / np.sum(expected)
  # Five deviations of a share.
  assert np.abs(shares - expected).max() < 5 * 0.5 / count**0.5
  assert (shares[expected == 0] == 0).all()


def test_the_narrowest_choice_is_the_likeliest_and_rates_may_be_traced():
  assert greedy(KEY, LOGITS) == 1
  for settings in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}):
    assert sampling(**settings)(KEY, LOGITS) == 1
  traced = jax.jit(lambda t, p: sampling(temperature=t, top_p=p)(KEY, LOGITS))
  assert traced(0.7, 0.9) == sampling(temperature=0.7, top_p=0.9)(KEY, LOGITS)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"temperature": 0.0}, "temperature above 0"),
    ({"top_k": 0}, "top_k of at least 1"),
    ({"top_p": 1.5}, "top_p above 0"),
    ({"top_k": 2.5}, "whole numbers"),
    ({"temperature": float("nan")}, "temperature above 0"),
    ({"temperature": np.float32(0)}, "temperature above 0"),
    ({"temperature": jnp.float32(-1)}, "temperature above 0"),
    ({"temperature": None}, "temperature above 0"),
    ({"top_k": np.int64(0)}, "top_k of at least 1"),
    ({"top_k": np.float32(2.5)}, "whole numbers"),
    ({"top_k": True}, "whole numbers"),
    ({"top_p": np.float32(1.5)}, "top_p above 0"),
  ],
)
def test_settings_that_cannot_work_are_told(settings, message):
  with pytest.raises(UserError, match=message):
    sampling(**settings)


CHAIN = np.random.default_rng(3).normal(size=(2, 5, 4, 4)).astype("f") * 2
"""Logits of two chains: at each time, of the tokens after each token."""


def chains(length):
  """Returns a start whose state is the number of the chain, and the time."""

  def step(state, ids):
    which, t = state
    return (which, t + 1), jnp.asarray(CHAIN)[which, t, ids]

  state = (jnp.arange(2), jnp.zeros(2, jnp.int32))
  rows = lambda state, rows: jax.tree.map(lambda x: x[rows], state)  # noqa: E731
  return Start(step, state, jnp.zeros(2, jnp.int32), length, rows)


def all_texts(chain, length, stop, power):
  """Returns all texts and their scores, the best first."""
  tables = np.asarray(jax.nn.log_softmax(CHAIN[chain]))
  found = {}
  for text in itertools.product(range(4), repeat=length):
    if stop in text:
      text = text[: text.index(stop) + 1]
    before = (0, *text[:-1])
    steps = zip(tables, before, text, strict=False)
    score = sum(table[a, b] for table, a, b in steps)
    found[text] = score / len(text) ** power
  return sorted(found.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_texts(power):
  found = jit(
    lambda: beam_search(chains(4), beams=70, power=power, stop=(3,), pad=9)
  )()
  for chain in range(2):
    best = all_texts(chain, 4, 3, power)[:20]
    for i, (text, score) in enumerate(best):
      length = found.lengths[chain, i]
      assert tuple(found.ids[chain, i, :length].tolist()) == text
      assert (found.ids[chain, i, length:] == 9).all()
      np.testing.assert_allclose(found.scores[chain, i], score, rtol=1e-5)


def test_what_is_ruled_out_is_never_chosen():
  start = without(chains(4), (1,))
  assert 1 in np.asarray(generate(chains(4)).ids)
  assert 1 not in np.asarray(generate(start).ids)
  found = beam_search(start, beams=3, power=0.0)
  assert 1 not in np.asarray(found.ids)
  with pytest.raises(UserError, match="of the 4 tokens"):
    generate(without(chains(4), (1, 4)))


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: generate(chains(4), choose=sampling()), "a key"),
    (lambda: beam_search(chains(4), beams=0), "at least 1 beam"),
    (lambda: beam_search(chains(4), power=-1.0), "not negative"),
    (lambda: beam_search(chains(4), power=np.float32(-1)), "not negative"),
    (lambda: beam_search(chains(4), power=float("inf")), "not negative"),
    (lambda: beam_search(chains(4), beams=True), "at least 1 beam"),
  ],
)
def test_a_search_that_cannot_work_is_told(call, message):
  with pytest.raises(UserError, match=message):
    call()


@pytest.mark.parametrize("search", [generate, beam_search])
@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"stop": (4,)}, "stop to be of the 4 tokens"),
    ({"stop": (1, -1)}, "stop to be of the 4 tokens"),
    ({"stop": 2**32 + 1}, "stop to be of the 4 tokens"),
    ({"stop": (1.5,)}, "whole numbers"),
    ({"stop": [[1, 2]]}, "whole numbers"),
    ({"stop": None}, "whole numbers"),
    ({"pad": 1.5}, "whole numbers"),
    ({"pad": None}, "whole numbers"),
  ],
)
def test_ids_that_cannot_be_are_told(search, settings, message):
  with pytest.raises(UserError, match=message):
    search(chains(4), **settings)


def test_ids_that_stop_may_be_traced():
  for search in (generate, beam_search):
    traced = jax.jit(lambda stop, f=search: f(chains(4), stop=(stop, 3)).ids)
    known = search(chains(4), stop=(1, 3)).ids
    np.testing.assert_array_equal(traced(1), known)


def test_one_id_may_stop_a_beam():
  one, several = (
    beam_search(chains(4), beams=2, stop=stop) for stop in (3, (3,))
  )
  np.testing.assert_array_equal(one.ids, several.ids)


IDS = np.ones((2, 4), int)


@pytest.mark.parametrize(
  ("model", "given", "message"),
  [
    (MODELS["gpt2"].clone(head=None), {}, 'head="lm"'),
    (MODELS["gpt2"].clone(head="classifier"), {}, "head='classifier'"),
    (models.Bert(**SMALL, heads=2, head="mlm"), {}, "head='mlm'"),
    (MODELS["gpt2"], {"length": 0}, "at least 1 token"),
    (MODELS["gpt2"], {"input_ids": IDS + 0.5}, "integers"),
    (MODELS["gpt2"], {"input_ids": IDS[0]}, "integers"),
    (MODELS["gpt2"], {"input_ids": IDS * 19}, "ids from 0 to 18"),
    (MODELS["gpt2"], {"input_ids": -IDS}, "ids from 0 to 18"),
    (MODELS["gpt2"], {"input_ids": IDS * 2**32}, "ids from 0 to 18"),
    (MODELS["gpt2"], {"input_ids": [[1, 2], [3]]}, "of one length"),
    (TRANSLATORS["transformer"], {}, "use after_source"),
    (TRANSLATORS["seq2seq"], {}, "use after_source"),
    (MODELS["gpt2"], {"attention_mask": IDS[:, :3]}, "of shape"),
    (MODELS["gpt2"], {"attention_mask": IDS[:1]}, "of shape"),
    (MODELS["gpt2"], {"attention_mask": IDS * 1.0}, "whole numbers"),
    (MODELS["gpt2"], {"attention_mask": IDS * [[1], [0]]}, "every row"),
  ],
)
def test_prompts_that_cannot_be_are_told(model, given, message):
  given = {"input_ids": IDS, "length": 3, **given}
  with pytest.raises(UserError, match=message):
    after_prompt(model, {}, **given)


def test_one_beam_is_greedy():
  ids = generate(chains(5)).ids
  np.testing.assert_array_equal(beam_search(chains(5), beams=1).ids[:, 0], ids)


@functools.cache
def translation(name):
  ids = np.random.default_rng(2).integers(0, 19, (3, 5))
  mask = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
  model = TRANSLATORS[name]
  return model, draw(model, ids, ids), ids, mask


@functools.partial(jit, static_argnums=0)
def read_translation(model, variables, ids, mask, texts):
  """Returns log-probabilities, and the likeliest tokens, of whole texts."""
  begun = jnp.pad(texts, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
  logits = model.apply(variables, ids, begun, attention_mask=mask, train=False)
  chances = jax.nn.log_softmax(logits)
  told = jnp.take_along_axis(chances, texts[..., None], 2)[..., 0]
  return told, logits.argmax(-1)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_translation_is_that_of_reading_all_of_it_again(name):
  model, variables, ids, mask = translation(name)
  found = jit(
    lambda variables: generate(
      after_source(
        model,
        variables,
        ids,
        attention_mask=mask,
        start=1,
        length=LENGTH,
      )
    )
  )(variables)
  _, told = read_translation(model, variables, ids, mask, found.ids)
  np.testing.assert_array_equal(found.ids, told)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_padding_of_the_source_changes_no_translation(name):
  model, variables, ids, mask = translation(name)

  @jit
  def run(ids, mask):
    start = after_source(
      model, variables, ids, attention_mask=mask, start=1, length=LENGTH
    )
    return generate(start).ids, beam_search(start, beams=3).ids

  padded = run(ids, mask)
  for row in range(2):
    alone = run(ids[row : row + 1, mask[row] == 1], None)
    for one, several in zip(alone, padded, strict=True):
      np.testing.assert_array_equal(one[0], several[row])


@pytest.mark.parametrize(
  ("model", "start", "message"),
  [
    (TRANSLATORS["transformer"], 13, "start to be of the 13 tokens"),
    (TRANSLATORS["seq2seq"], -1, "start to be of the 13 tokens"),
    (TRANSLATORS["seq2seq"], 1.5, "whole numbers"),
    (TRANSLATORS["seq2seq"], None, "whole numbers"),
    (MODELS["gpt2"], 1, "use after_prompt"),
  ],
)
def test_translations_that_cannot_begin_are_told(model, start, message):
  variables = {}
  if model in TRANSLATORS.values():
    name = type(model).__name__.lower()
    variables = translation(name)[1]
  with pytest.raises(UserError, match=message):
    after_source(model, variables, IDS, start=start, length=3)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_the_score_of_a_beam_is_that_of_reading_its_text(name):
  model, variables, ids, mask = translation(name)
  found = jit(
    lambda variables: beam_search(
      after_source(
        model,
        variables,
        ids,
        attention_mask=mask,
        start=1,
        length=LENGTH,
      ),
      beams=3,
      stop=(2, 5),
    )
  )(variables)
  assert np.isfinite(found.scores).all()
  assert (np.diff(found.scores) <= 0).all()
  for beam in range(3):
    texts, lengths = found.ids[:, beam], found.lengths[:, beam]
    told, _ = read_translation(model, variables, ids, mask, texts)
    kept = np.arange(LENGTH) < lengths[:, None]
    scores = np.where(kept, told, 0).sum(1) / lengths
    np.testing.assert_allclose(found.scores[:, beam], scores, rtol=1e-4)
