"""Sequence to sequence: losses of tokens, decoding, scores of whole targets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import data, metrics, models, tasks, trees
from dlcore.data.text.pair_building import PairSettings, build_pairs
from dlcore.data.text.reference_texts import unpack_texts
from dlcore.data.text.text_parts import TextPart
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
# One program for each function: its operations one by one compile longer.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
MODELS = {
  "seq2seq": {"width": 6},
  "transformer_base": {
    "width": 8,
    "depth": 1,
    "num_heads": 2,
    "mlp_dim": 8,
    "max_length": 16,
  },
}


def make_source(target_tokenizer="characters", **settings):
  """Pairs of words and of the same letters reversed."""
  words = ["".join(RANDOM.choice([*"abcdef"], 1 + i % 6)) for i in range(40)]
  part = TextPart(words, [word[::-1] for word in words], {}, words)
  text = TextSettings("characters", min_count=1, max_length=16)
  splits = build_pairs(
    {"train": part, "valid": part, "test": part},
    PairSettings(text, target_tokenizer),
    "words",
    **settings,
  )
  return splits.train


SOURCE = make_source()
KIND = tasks.TASKS["sequence_to_sequence"]
ROWS = np.arange(12, dtype=np.int32)
OUTPUTS = ("input", "label", "prediction", "distance")


def make(name="seq2seq", source=SOURCE, **settings):
  schema = source.info.schema
  model = models.create(
    name,
    vocab_size=schema.vocab_size,
    **KIND.model_arguments(source.info),
    **MODELS[name],
  )
  return model, KIND.build(model, source.info, **settings)


def read(source=SOURCE, rows=ROWS):
  return {**source.read(rows), "index": rows}


def forced(model, params, batch, labels):
  """The logits of a model at each of some labels, and whether each counts."""
  before = np.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=2)
  logits = jit(functools.partial(model.apply, train=False))(
    {"params": params},
    batch["input_ids"],
    np.where(before == -100, 0, before),
    attention_mask=batch["attention_mask"],
  )
  return np.asarray(logits, np.float64), labels != -100


def with_end(rows):
  """Generated rows as labels: -100 behind the first end."""
  rows = np.asarray(rows)
  return np.where(np.cumsum(rows == 3, 1) - (rows == 3) == 0, rows, -100)


def log_softmax(logits):
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.fixture(
  scope="module",
  params=["seq2seq", pytest.param("transformer_base", marks=pytest.mark.slow)],
)
def started(request):
  """The name of a model, the model, its task, and variables with contrast."""
  model, task = make(request.param)
  params, model_state = jit(task.init)(KEY, read())
  params = trees.map_with_path(lambda _, leaf: 3 * leaf, params)
  return request.param, model, task, (params, model_state)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_that_of_the_target_behind_a_start(started, smoothing):
  name, model, _, variables = started
  _, task = make(name, label_smoothing=smoothing)
  batch = read()
  (total, weight), (_, sums) = jit(task.loss)(*variables, batch, KEY)
  labels = batch["labels"]
  logits, scored = forced(model, variables[0], batch, labels)
  log_p = log_softmax(logits)
  at = np.where(scored, labels, 0)[..., None]
  plain = -np.take_along_axis(log_p, at, -1)[..., 0]
  smooth = (1 - smoothing) * plain - smoothing * log_p.mean(-1)
  assert weight == scored.sum()
  assert total == pytest.approx(smooth[scored].sum(), rel=1e-4)
  mean = metrics.mean(sums["loss"])
  assert mean == pytest.approx(plain[scored].mean(), rel=1e-4)
  right = (logits.argmax(-1) == labels)[scored].mean()
  assert metrics.mean(sums["accuracy"]) == pytest.approx(right)


def test_generated_tokens_are_the_most_probable_given_those_before(started):
  """Teacher forcing with a generated target predicts the same target."""
  _, model, task, variables = started
  batch = read()
  rows = jit(task.predict)(*variables, batch, KEY)["predicted"]
  assert rows.shape == batch["labels"].shape
  labels = with_end(rows)
  assert (np.asarray(rows)[labels == -100] == 0).all()
  logits, scored = forced(model, variables[0], batch, labels)
  logits[..., :3] = -np.inf  # Padding, unknown and the start.
  assert scored.sum() > 2 * len(rows)  # Not only ends.
  np.testing.assert_array_equal(logits.argmax(-1)[scored], labels[scored])


@pytest.mark.slow
def test_padding_and_cutting_change_neither_loss_nor_prediction(started):
  """As in a batch of shorter pairs, which the order `bucketed` makes."""
  _, _, task, variables = started
  rows = np.flatnonzero(SOURCE.lengths <= 5).astype(np.int32)
  whole = read(rows=rows)
  cut = data.cut(whole, SOURCE.info.schema.sequences, 5)
  assert cut["labels"].shape == cut["input_ids"].shape == (len(rows), 5)
  losses = [jit(task.loss)(*variables, batch, KEY)[0] for batch in (whole, cut)]
  np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
  long, short = (
    np.asarray(jit(task.predict)(*variables, batch, KEY)["predicted"])
    for batch in (whole, cut)
  )
  np.testing.assert_array_equal(long[:, :5], short)


@pytest.mark.slow
def test_a_search_finds_targets_that_are_at_least_as_probable(started):
  name, model, _, variables = started
  batch, totals = read(), []
  for num_beams in (1, 4):
    _, task = make(name, num_beams=num_beams, length_penalty=0.0)
    rows = jit(task.predict)(*variables, batch, KEY)["predicted"]
    labels = with_end(rows)
    logits, scored = forced(model, variables[0], batch, labels)
    at = np.where(scored, labels, 0)[..., None]
    values = np.take_along_axis(log_softmax(logits), at, -1)[..., 0]
    totals.append((values * scored).sum())
  assert totals[1] >= totals[0] - 1e-3


@pytest.fixture(scope="module")
def with_references():
  """A source whose first two rows are one example, and outputs with errors."""
  words = ["ab", "ab", "cd", "e"]
  part = TextPart(words, ["u v", "u w x", "y", "z z"], {}, words)
  text = TextSettings("characters", min_count=1, max_length=8)
  source = build_pairs(
    {"train": part, "valid": part, "test": part},
    PairSettings(text, "spaces"),
    "own",
    references=True,
  ).train
  encode = source.info.schema.output_tokenizer.encode
  predicted = np.zeros((4, 8), np.int32)
  for i, text in enumerate(("u w", "u w", "y", "z z y")):
    ids = [*encode(text), 3]
    predicted[i, : len(ids)] = ids
  return source, predicted


def test_scores_are_those_of_the_nearest_reference(with_references):
  source, predicted = with_references
  _, task = make(source=source)
  values = task.score({"predicted": predicted}, source.arrays)
  # One error in two tokens, none in one, and one in two.
  assert values == pytest.approx(
    {"exact_match": 1 / 3, "token_error_rate": 2 / 5}
  )


def test_the_report_has_the_outputs_with_the_most_errors(with_references):
  source, predicted = with_references
  names = np.array(["ab", "ab", "cd", "e"])
  arrays = KIND.report_arrays(
    "test", {"predicted": predicted}, source.arrays, source.info, names.take
  )
  errors = arrays["histogram/wrong tokens of a target"]
  assert sorted(errors.tolist()) == [0, 1, 1]
  # The one without errors is none of them.
  rows = {name: arrays[f"worst_{name}"].tolist() for name in OUTPUTS}
  assert sorted(zip(*rows.values(), strict=True)) == [
    ("ab", "u v", "u w", 1),
    ("e", "z z", "z z y", 1),
  ]


def test_a_target_that_its_tokens_do_not_spell_is_never_matched():
  words, targets = ["a", "b", "c", "d"], ["x-y", "x-z", "x-y", "x - z"]
  part = TextPart(words, targets, {}, words)
  text = TextSettings("words", min_count=1, max_length=8)
  source = build_pairs(
    {"train": part, "valid": part, "test": part}, PairSettings(text), "own"
  ).train
  assert source.arrays["is_exact"].tolist() == [1, 1, 1, 0]
  assert "reference" not in source.arrays  # In valid and test alone.
  assert any("tokens of 1 of train, 1 of" in n for n in source.info.notes)
  _, task = make(source=source)
  values = task.score({"predicted": source.arrays["labels"]}, source.arrays)
  assert values == pytest.approx({"exact_match": 3 / 4, "token_error_rate": 0})


def test_references_are_texts_of_the_data_and_unknown_symbols_never_right():
  words, targets = ["a", "b", "c"], ["x y", "x", "y"]
  others = ["x Zürich", "x y"]
  train = TextPart(words, targets, {}, words)
  test = TextPart(["d", "e"], others, {}, ["d", "e"])
  text = TextSettings("words", min_count=1, max_length=8, lowercase=True)
  splits = build_pairs(
    {"train": train, "valid": test, "test": test}, PairSettings(text), "own"
  )
  source = splits.test
  texts = unpack_texts(source.arrays["reference"])
  assert texts == ["x zürich", "x y"]
  _, task = make(source=source, metrics=("chrf",))
  rows = {"predicted": source.arrays["labels"]}
  values = task.score(rows, source.arrays)
  # The first is "x [unk]", as its own tokens are.
  assert values["exact_match"] == 1 / 2
  assert values["token_error_rate"] == 1 / 4
  assert values["chrf"] < 60
  arrays = KIND.report_arrays(
    "test", rows, source.arrays, source.info, np.array(["d", "e"]).take
  )
  assert arrays["worst_label"].tolist() == ["x zürich"]
  assert arrays["worst_distance"].tolist() == [1]


def test_parts_of_words_are_scored_as_words_too():
  words = ["ab", "cd"]
  part = TextPart(words, ["xy zz", "q"], {}, words)
  text = TextSettings("characters", min_count=1, max_length=8)
  source = build_pairs(
    {"train": part, "valid": part, "test": part}, PairSettings(text), "own"
  ).train
  _, task = make(source=source)
  encode = source.info.schema.output_tokenizer.encode
  predicted = np.zeros((2, 8), np.int32)
  for i, text in enumerate(("xy z", "q")):
    ids = [*encode(text), 3]
    predicted[i, : len(ids)] = ids
  values = task.score({"predicted": predicted}, source.arrays)
  assert values == pytest.approx(
    {"exact_match": 1 / 2, "token_error_rate": 1 / 6, "word_error_rate": 1 / 3}
  )


@pytest.mark.parametrize(
  "num_beams", [1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_a_prediction_is_text_and_one_of_nan_is_not_finite(num_beams):
  _, task = make(num_beams=num_beams)
  batch = read()
  params, model_state = jit(task.init)(KEY, batch)
  predict = jit(task.predict)
  row = predict(params, model_state, batch, KEY)["predicted"][0]
  answer = KIND.to_json({"predicted": np.asarray(row)}, SOURCE.info)
  assert {*answer} == {"text"}
  assert {*answer["text"]} <= {*"abcdef"}
  params = trees.map_with_path(lambda _, leaf: leaf * np.nan, params)
  row = predict(params, model_state, batch, KEY)["predicted"][0]
  answer = KIND.to_json({"predicted": np.asarray(row)}, SOURCE.info)
  assert np.isnan(answer["text"])


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"num_beams": 0}, "num_beams"),
    ({"max_new_tokens": -1}, "max_new_tokens"),
    ({"length_penalty": -1.0}, "length_penalty"),
    ({"label_smoothing": 1.0}, "label_smoothing"),
    ({"metrics": ("blue",)}, "unknown score of translations 'blue'"),
  ],
)
def test_settings_out_of_range_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    make(**settings)


def test_other_data_and_other_models_are_refused():
  with pytest.raises(UserError, match="pairs of a source and a target"):
    KIND.check_data(data.load("digits").train.info)
  with pytest.raises(UserError, match="running text"):
    tasks.TASKS["language_model"].check_data(SOURCE.info)
  model = models.create("gru", vocab_size=10, width=4, head="lm")
  task = KIND.build(model, SOURCE.info)
  with pytest.raises(UserError, match="RecurrentNetwork, which takes"):
    task.init(KEY, read())


@pytest.mark.slow
def test_scheduled_sampling_changes_the_inputs_of_the_decoder():
  batch = read()

  def loss(rate, batch=batch):
    _, task = make(scheduled_sampling=rate)
    params, state = task.init(jax.random.key(1), batch)
    (total, count), _ = task.loss(params, state, batch, KEY)
    return float(total / count)

  plain = loss(0.0)
  np.testing.assert_allclose(loss(jnp.float32(0)), plain, rtol=1e-6)
  # Of other tokens, and as probable, since the weights are random.
  assert 1e-5 < abs(loss(1.0) - plain) < 0.3


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_the_rate_of_scheduled_sampling_is_from_0_to_1(rate):
  with pytest.raises(UserError, match="scheduled_sampling from 0 to 1"):
    make(scheduled_sampling=rate)
