"""Every row of every table works with every script, or is refused."""

import shutil

import every_row
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from every_row import WORKS

from dlcore import (
  augment,
  data,
  experiment,
  metrics,
  models,
  optim,
  report,
  sharding,
  tasks,
  training,
)
from dlcore.data.text.pair_building import PairSettings, build_pairs
from dlcore.data.text.similar_building import build_similar
from dlcore.data.text.text_parts import TextPart
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError
from dlcore.task import Task


def tokens(*, num_words: int = 20) -> data.Splits:
  """A data set of token ids, added as the README describes."""
  generator = np.random.default_rng(0)

  def source(size):
    ids = generator.integers(0, num_words, (size, 6), np.int32)
    labels = (ids[:, 0] >= num_words // 2).astype(np.int32)
    arrays = {"input_ids": ids, "label": labels}
    return data.from_arrays(arrays, name="tokens", classes=("low", "high"))

  return data.Splits(source(64), source(16), source(16))


def pictures():
  """A data set of 32x32 pixels, which models of full size can downsample."""
  images = np.zeros((16, 32, 32, 3), np.uint8)
  labels = (np.arange(16) % 2).astype(np.int32)
  arrays = {"image": images, "label": labels}
  return data.Splits(data.from_arrays(arrays, classes=("even", "odd")))


def several():
  """A data set of two labels that co-occur."""
  random = np.random.default_rng(0)

  def source(size):
    features = random.normal(size=(size, 3)).astype(np.float32)
    labels = (features[:, :2] > 0.3).astype(np.float32)
    arrays = {"features": features, "label": labels}
    return data.from_arrays(arrays, classes=("a", "b"), multilabel=True)

  return data.Splits(source(64), source(16), source(16))


def tagged():
  """A data set of sequences with a class for each token."""
  generator = np.random.default_rng(0)

  def source(size):
    ids = generator.integers(0, 20, (size, 6), np.int32)
    labels = np.where(ids == 0, -100, ids % 2).astype(np.int32)
    arrays = {"input_ids": ids, "labels": labels}
    return data.from_arrays(arrays, target="labels", classes=("even", "odd"))

  return data.Splits(source(64), source(16), source(16))


def reversed_words():
  """Returns parts of texts and the same words reversed."""
  random = np.random.default_rng(0)

  def part(size):
    rows = random.choice([*"abcdef"], (size, 4)).tolist()
    texts, others = ([" ".join(r[::step]) for r in rows] for step in (1, -1))
    return TextPart(texts, others, {}, [*map(str, range(size))])

  return {"train": part(64), "valid": part(16), "test": part(16)}


def pairs():
  """A data set of sources and targets."""
  settings = PairSettings(TextSettings("spaces", max_length=8))
  return build_pairs(reversed_words(), settings, "pairs")


def similar():
  """A data set of pairs of texts that are encoded apart."""
  settings = TextSettings("spaces", max_length=8)
  return build_similar(reversed_words(), settings, "similar")


@pytest.fixture(autouse=True)
def _rows(monkeypatch):
  monkeypatch.setitem(data.DATASETS, "tokens", tokens)
  monkeypatch.setitem(data.DATASETS, "several", several)
  monkeypatch.setitem(data.DATASETS, "tagged", tagged)
  monkeypatch.setitem(data.DATASETS, "pairs", pairs)
  monkeypatch.setitem(data.DATASETS, "similar", similar)


def complete(source="digits", model=None, **sections):
  return experiment.complete(
    {
      "data": {"name": source, "batch_size": 16} | sections.pop("data", {}),
      "model": model or {"name": "mlp", "widths": (8,)},
      "training": {"steps": 1},
      "sharding": {"devices": 1},
      **sections,
    }
  )


def model_config(name):
  row = every_row.MODELS[name]
  model = {"name": name, **row.settings}
  return complete(row.data, model, task={"name": row.task})


def trace_step(config):
  """Builds the parts of a run and traces one step; compiles nothing."""
  parts = experiment.build(config)
  rows = np.arange(16, dtype=np.int32)
  source = parts.splits.train
  batch = {**source.read(rows), "index": rows, "slot": rows}
  state = jax.eval_shape(
    lambda batch: training.init_state(parts.task, parts.tx, batch), batch
  )
  jax.eval_shape(training.make_step(parts.task, parts.tx), state, batch)


def check(outcome, function, *arguments, **settings):
  """Calls a function that works, or is refused for the reason `outcome`."""
  if outcome == WORKS:
    return function(*arguments, **settings)
  with pytest.raises(UserError) as error:
    function(*arguments, **settings)
  assert outcome in str(error.value)
  assert len(error.value.lines) <= 3
  return None


def with_slow_rest(names):
  """Marks all but the first model of each class as slow: all are tiny here."""
  first = {}
  for name in names:
    model = models.MODELS[name]
    first.setdefault(getattr(model, "func", model), name)
  return [
    name
    if name in first.values()
    else pytest.param(name, marks=pytest.mark.slow)
    for name in names
  ]


def test_the_table_has_every_row():
  assert every_row.MODELS.keys() == models.MODELS.keys()
  assert every_row.TASKS.keys() == tasks.TASKS.keys()
  assert every_row.DATASETS.keys() == data.DATASETS.keys() - {
    "tokens",
    "several",
    "tagged",
    "pairs",
    "similar",
  }
  assert every_row.OPTIMIZERS.keys() == optim.OPTIMIZERS.keys()
  assert every_row.SCHEDULES.keys() == optim.SCHEDULES.keys()
  augmentations = augment.AUGMENTATIONS | augment.MIXTURES
  assert every_row.AUGMENTATIONS.keys() == augmentations.keys()
  tables = augment.TOKEN_AUGMENTATIONS
  assert every_row.TOKEN_AUGMENTATIONS.keys() == tables.keys()
  for row in every_row.MODELS.values():
    assert row.outcomes.keys() == set(every_row.SCRIPTS)


@pytest.mark.fast_cases("mlp", "resnet20", "bert_base")
@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_has_a_summary_and_a_step_or_a_reason(name, tmp_path):
  config, outcomes = model_config(name), every_row.MODELS[name].outcomes
  assert "parameters" in experiment.summary(config)
  if outcomes["train"] == WORKS:
    trace_step(config)
  else:
    folder = tmp_path / "run"
    check(outcomes["train"], experiment.train, config, folder, progress=False)
    with pytest.raises(UserError, match="finished checkpoint"):
      experiment.evaluate(folder)


@pytest.mark.parametrize("name", with_slow_rest(models.MODELS))
def test_no_model_takes_data_of_another_kind(name, tmp_path):
  row = every_row.MODELS[name]
  other = "digits" if row.data == "tokens" else "tokens"
  config = complete(other, {"name": name, **row.settings})
  with pytest.raises(UserError) as error:
    experiment.train(config, tmp_path / "run", progress=False)
  assert len(error.value.lines) <= 3
  reasons = every_row.REFUSED_DATA[other]
  assert any(reason in str(error.value) for reason in reasons)


@pytest.mark.parametrize(
  "name", ["seq2seq", "transformer_base", "marian", "gpt2", "llama2_7b", "lstm"]
)
def test_the_default_command_with_a_text_model_is_three_lines(name, shell):
  answer = shell("train", f"--config.model.name={name}")
  assert (answer.code, len(answer.err)) == (2, 3), answer.err


def npz(source, path):
  arrays = {name: source.arrays[name] for name in source.info.inputs}
  np.savez(path, **arrays)
  return str(path)


def run_every_script(config, folder):
  """Trains a run and applies all scripts to its folder."""
  assert "parameters" in experiment.summary(config)
  result = experiment.train(config, folder, progress=False)
  moved = shutil.move(folder, folder.with_name("moved"))
  values = experiment.evaluate(moved)
  assert values["loss"] == pytest.approx(
    result["metrics"]["test/loss"], rel=1e-5
  )
  for format_name in ("safetensors", "stablehlo"):
    output = folder.with_name(format_name)
    assert format_name in experiment.export(moved, format_name, output) or (
      output.exists()
    )
  assert report.write(moved).is_file()
  outcome = every_row.FEATURES[config["data"]["name"]]
  check(outcome, experiment.load_extractor, moved)
  return moved


@pytest.mark.slow
def test_a_data_set_of_token_ids_works_with_every_script(tmp_path):
  config = model_config("rnn")
  folder = run_every_script(config, tmp_path / "run")
  test = tokens().test
  rows = list(experiment.predict(folder, [npz(test, tmp_path / "new.npz")]))
  assert len(rows) == test.size
  assert all(row["label"] in ("low", "high") for row in rows)
  accuracy = np.mean(
    [
      row["label"] == test.info.schema.classes[label]
      for row, label in zip(rows, test.arrays["label"], strict=True)
    ]
  )
  assert accuracy == pytest.approx(experiment.evaluate(folder)["accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize(
  "name",
  [
    name
    for name, row in every_row.MODELS.items()
    if row.outcomes["train"] == WORKS
  ],
)
def test_every_model_works_with_every_script(name, tmp_path):
  run_every_script(model_config(name), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_of_full_size_has_a_summary(name, monkeypatch):
  monkeypatch.setitem(data.DATASETS, "pictures", pictures)
  row = every_row.MODELS[name]
  sizes = {"head": "classifier"} if "head" in row.settings else {}
  source = "pictures" if row.data == "digits" else row.data
  model = {"name": name, **sizes}
  config = complete(source, model, task={"name": row.task})
  assert "parameters" in experiment.summary(config)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_fits_its_data_and_refuses_other_data(name, tmp_path):
  fitting, other = every_row.TASKS[name]
  trace_step(complete(fitting.data, fitting.model, task={"name": name}))
  config = complete(other.data, task={"name": name})
  check(
    other.outcomes["train"],
    experiment.train,
    config,
    tmp_path / "run",
    progress=False,
  )
  check(other.outcomes["train --summary"], experiment.summary, config)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name in every_row.LARGE))
    for name in every_row.DATASETS
  ],
)
def test_every_data_set_works_or_names_its_setting(name, tmp_path, shell):
  row = every_row.DATASETS[name]
  settings = dict(row.settings)
  if "data_dir" in experiment.complete({"data": {"name": name}})["data"]:
    settings["data_dir"] = str(tmp_path / "data")
  config = complete(name, row.model, data=settings, task={"name": row.task})
  if row.outcomes["train"] == WORKS:
    trace_step(config)
    return
  outcome = row.outcomes["train"]
  check(outcome, experiment.train, config, tmp_path / "run", progress=False)
  check(row.outcomes["train --summary"], experiment.summary, config)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_makes_a_step(name):
  trace_step(complete(optim={"name": name}))


@pytest.mark.parametrize("name", optim.SCHEDULES)
def test_every_schedule_makes_a_step(name):
  config = complete(optim={"schedule": {"name": name}})
  trace_step(config)
  assert "at most" in experiment.summary(config)


@pytest.mark.slow
@pytest.mark.parametrize(
  "optimizer",
  [
    *({"name": name} for name in optim.OPTIMIZERS),
    *({"schedule": {"name": name}} for name in optim.SCHEDULES),
  ],
  ids=str,
)
def test_every_optimizer_and_schedule_works_with_every_script(
  optimizer, tmp_path
):
  run_every_script(complete(optim=optimizer), tmp_path / "run")


@pytest.mark.parametrize("name", every_row.AUGMENTATIONS)
def test_every_augmentation_is_of_images_only(name):
  settings = {"augment": {name: every_row.AUGMENTATIONS[name]}}
  trace_step(complete("digits", data=settings))
  text_model = {"name": "bert_base", **every_row.TEXT}
  for config in (
    complete("breast_cancer", data=settings),
    complete("tokens", text_model, data=settings),
  ):
    check(every_row.NO_IMAGE, trace_step, config)


@pytest.mark.parametrize("name", every_row.TOKEN_AUGMENTATIONS)
def test_every_augmentation_of_tokens_is_of_tokens_only(name):
  settings = {"augment": {name: every_row.TOKEN_AUGMENTATIONS[name]}}
  config = complete("digits", data=settings)
  check(every_row.NO_TOKEN_IDS, trace_step, config)
  # The data set of the test has no tokenizer, so no token of its own.
  reasons = {"token_dropout": "an unknown token", "token_masking": "[MASK]"}
  model = {"name": "bert_base", **every_row.TEXT}
  config = complete("tokens", model, data=settings)
  check(reasons.get(name, WORKS), trace_step, config)


def test_an_augmentation_of_other_data_is_refused_by_training(tmp_path):
  config = complete("breast_cancer", data={"augment": {"mixup": 0.4}})
  folder = tmp_path / "run"
  check(every_row.NO_IMAGE, experiment.train, config, folder, progress=False)


def sequence_task(model, inputs, target):
  """The task of predicting `target(batch)`, ids `[B, T]`, at each position."""

  def apply(params, batch, **settings):
    sequences = [batch[name] for name in inputs]
    return model.apply({"params": params}, *sequences, **settings)

  def init(key, batch):
    sequences = [batch[name] for name in inputs]
    return model.init(key, *sequences, train=False)["params"], {}

  def measure(logits, batch):
    ids = target(batch)
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits[:, : ids.shape[1]], ids
    ).mean(axis=1)
    mask = metrics.weights(batch, losses.shape[0])
    return losses, mask, {"loss": metrics.weighted(losses, mask)}

  def loss(params, model_state, batch, key):
    logits = apply(params, batch, train=True, rngs={"dropout": key})
    losses, mask, sums = measure(logits, batch)
    return (jnp.sum(losses * mask), jnp.sum(mask)), (model_state, sums)

  def evaluate(params, model_state, batch, key):
    return model_state, measure(apply(params, batch, train=False), batch)[2]

  def predict(params, model_state, batch, key):
    return {"ids": apply(params, batch, train=False).argmax(axis=-1)}

  return Task(init=init, loss=loss, evaluate=evaluate, predict=predict)


def sequence_problem(name):
  """A task and a source for the "lm" head of a model."""
  settings = dict(every_row.MODELS[name].settings) | {"head": "lm"}
  model = models.create(name, vocab_size=20, **settings)
  ids = np.random.default_rng(0).integers(0, 20, (32, 6), np.int32)
  if every_row.MODELS[name].data == "pairs":
    inputs = ("input_ids", "decoder_input_ids")
    arrays = {"input_ids": ids, "decoder_input_ids": ids, "label": ids[:, ::-1]}
    task = sequence_task(model, inputs, lambda batch: batch["label"])
  else:
    arrays = {"input_ids": ids}
    task = sequence_task(
      model, ("input_ids",), lambda batch: batch["input_ids"][:, 1:]
    )
  return task, data.from_arrays(arrays)


SEQUENCE_MODELS = [
  name
  for name, row in every_row.MODELS.items()
  if row.data == "pairs"
  or row.settings in (every_row.LANGUAGE, every_row.LLAMA, every_row.RECURRENT)
]


@pytest.mark.parametrize("name", with_slow_rest(SEQUENCE_MODELS))
def test_every_model_of_sequences_has_a_step_of_its_own_task(name):
  task, source = sequence_problem(name)
  rows = np.arange(16, dtype=np.int32)
  batch = {**source.read(rows), "index": rows, "slot": rows}
  tx = optim.create("adam", learning_rate=0.01)
  state = jax.eval_shape(
    lambda batch: training.init_state(task, tx, batch), batch
  )
  jax.eval_shape(training.make_step(task, tx), state, batch)


@pytest.mark.slow
@pytest.mark.parametrize(
  "name",
  [
    "lstm",
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in ("transformer_base", "marian", "gpt2", "llama2_7b", "seq2seq")
    ),
  ],
)
def test_models_of_sequences_learn_by_fit(name):
  task, source = sequence_problem(name)
  tx = optim.create("adam", learning_rate=0.03)
  devices = jax.devices()[:1]
  partitioner = sharding.partitioner(16, devices=devices)
  evaluate = training.Evaluator(task, source, partitioner=partitioner)
  first = training.init_state(task, tx, source.read(np.arange(16)))
  last = training.fit(
    task,
    tx,
    source,
    steps=60,
    batch_size=16,
    devices=devices,
    progress=False,
  ).last
  assert evaluate(last)["loss"] < evaluate(first)["loss"] - 0.3
