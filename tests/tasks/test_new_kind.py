"""A new kind of task needs its loss, metrics, prediction and a row only."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from dlcore import (
  data,
  experiment,
  losses,
  metrics,
  models,
  report,
  report_arrays,
  tasks,
)
from dlcore.errors import UserError
from dlcore.report import run
from dlcore.tasks.kind import no_arrays

KEY = jax.random.key(0)


NAMES = ("red", "round", "sweet")


def multilabel(model, *, input="features", normalization=None, threshold=0.5):  # noqa: A002
  """Returns the task of predicting which of C labels apply."""

  def loss(logits, batch):
    return losses.sigmoid_cross_entropy(logits, batch["tags"]).sum(-1)

  def measure(logits, batch):
    predicted = jax.nn.sigmoid(logits) > threshold
    actual = batch["tags"] > 0
    return {
      "loss": loss(logits, batch),
      "accuracy": predicted == actual,
      "exact_match": (predicted == actual).all(-1),
      "_hits": predicted & actual,
      "_predicted": predicted,
      "_actual": actual,
    }

  def predict(logits):
    probabilities = jax.nn.sigmoid(logits)
    return {
      "probabilities": probabilities,
      "predicted": probabilities > threshold,
    }

  def derived(sums):
    counts = [sums[name][0] for name in ("_hits", "_predicted", "_actual")]
    return {"f1": metrics.f1(*counts)}

  return tasks.make_task(
    model,
    input=input,
    loss=loss,
    metrics=measure,
    predict=predict,
    normalization=normalization,
    derived=derived,
  )


def check_data(info):
  if info.schema.target != "tags":
    raise UserError(
      "expected data with an array 'tags' of several labels",
      f"got {info.name!r}, whose target is {info.schema.target!r}",
    )
  num_classes = len(info.schema.classes)
  shape, _ = info.targets.get("tags", ((num_classes,), ""))
  if shape != (num_classes,):
    raise UserError(
      f"expected a column of 'tags' for each of {num_classes} classes",
      f"got the shape {['N', *shape]}",
    )


def to_json(row, info):
  names = np.array(info.schema.classes)
  probabilities = map(float, row["probabilities"])
  named = dict(zip(info.schema.classes, probabilities, strict=True))
  return {"tags": names[row["predicted"]].tolist(), **named}


def kept_arrays(split, rows, targets, info, read):
  predicted, actual = rows["predicted"], targets["tags"] > 0
  names = np.array(info.schema.classes)
  with np.errstate(invalid="ignore"):
    recall = (predicted & actual).sum(0) / actual.sum(0)
  wrong = (predicted != actual).sum(1)
  words = {
    name: np.array([" ".join(names[row]) for row in table])
    for name, table in (("label", actual), ("prediction", predicted))
  }
  worst = np.argsort(-wrong, kind="stable")[: (wrong > 0).sum()]
  return {
    "split": np.asarray(split),
    "by_class/examples": actual.sum(0),
    "by_class/recall": recall,
    "histogram/wrong labels of an example": wrong,
    **report_arrays.worst_examples(words, worst, read),
  }


MULTILABEL = tasks.TaskKind(
  make=multilabel,
  model_arguments=lambda info: {"num_classes": len(info.schema.classes)},
  check_data=check_data,
  to_json=to_json,
  report_arrays=kept_arrays,
)


def fruit():
  """A data set of numbers with three labels, each the sign of a column."""

  def source(size, seed):
    features = np.random.default_rng(seed).normal(size=(size, 4))
    tags = (features[:, :3] > 0).astype(np.uint8)
    arrays = {"features": features.astype(np.float32), "tags": tags}
    return data.from_arrays(arrays, name="fruit", target="tags", classes=NAMES)

  return data.Splits(source(256, 0), source(64, 1), source(64, 2))


@pytest.fixture(autouse=True)
def _rows(monkeypatch):
  monkeypatch.setitem(tasks.TASKS, "multilabel", MULTILABEL)
  monkeypatch.setitem(data.DATASETS, "fruit", fruit)


def config(task="multilabel", **settings):
  return experiment.complete(
    {
      "data": {"name": "fruit", "batch_size": 32},
      "model": {"name": "mlp", "widths": (16,)},
      "task": {"name": task, **settings},
      "optim": {"learning_rate": 0.02, "schedule": {"name": "constant"}},
      "training": {"steps": 100, "eval_every": 50},
      "sharding": {"devices": 1},
    }
  )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(tasks.TASKS, "multilabel", MULTILABEL)
    patch.setitem(data.DATASETS, "fruit", fruit)
    folder = tmp_path_factory.mktemp("runs") / "run"
    yield folder, experiment.train(config(), folder, progress=False)


def predict(folder, tmp_path):
  test = fruit().test
  np.savez(tmp_path / "new.npz", features=test.arrays["features"])
  return list(experiment.predict(folder, [str(tmp_path / "new.npz")]))


def test_the_kind_learns_and_its_metrics_are_those_of_scikit_learn(
  trained, tmp_path
):
  folder, summary = trained
  rows = predict(folder, tmp_path)
  json.dumps(rows)
  predicted = [[name in row["tags"] for name in NAMES] for row in rows]
  actual = fruit().test.arrays["tags"]
  values = {k.removeprefix("test/"): v for k, v in summary["metrics"].items()}
  assert values["accuracy"] == pytest.approx(np.mean(actual == predicted))
  f1 = sklearn_metrics.f1_score(actual, predicted, average="micro")
  assert values["f1"] == pytest.approx(f1)
  match = sklearn_metrics.accuracy_score(actual, predicted)
  assert values["exact_match"] == pytest.approx(match)
  assert values["accuracy"] > 0.9
  assert experiment.evaluate(folder)["f1"] == pytest.approx(f1)


def test_its_page_shows_the_arrays_that_it_names(trained):
  folder, _ = trained
  text = report.write(folder).read_text()
  titles = re.findall("<h2>(.*?)</h2>", text)
  expected = {"Result", "Curves", "By class, test", "Distributions, test"}
  assert {*expected, "Worst mistakes", "Config"} < set(titles)
  assert "Remarks" not in titles
  [table] = re.findall("<h2>By class, test</h2>(.*?)</section>", text, re.S)
  assert re.findall('<td class="text">(.*?)</td>', table) == [*NAMES]
  assert "wrong labels of an example" in text


def test_a_kind_without_arrays_has_a_page_of_the_other_sections(
  trained, tmp_path
):
  folder = shutil.copytree(trained[0], tmp_path / "run")
  arrays = no_arrays("test", {}, {}, fruit().test.info, np.zeros)
  experiment.RunFolder(folder).write_arrays("assets/predictions.npz", arrays)
  report.write(folder)
  text = (folder / "report.html").read_text()
  titles = set(re.findall("<h2>(.*?)</h2>", text))
  assert {"Result", "Curves", "About the data", "Config"} < titles
  assert "Remarks" not in titles
  assert not any("test" in title for title in titles)


@pytest.mark.parametrize(
  ("name", "array"),
  [
    ("by_class/recall", np.array(["a", "b"])),
    ("by_class/recall", np.zeros((2, 2))),
    ("histogram/x", np.array([np.nan, 1.0])),
    ("histogram/x", np.zeros(0)),
  ],
)
def test_a_malformed_array_is_omitted_with_a_remark(
  trained, name, array, tmp_path
):
  (tmp_path / "assets").mkdir()
  good = {"histogram/good": np.arange(5.0)}
  np.savez(tmp_path / "assets/predictions.npz", **{name: array}, **good)
  content = run.read(tmp_path)
  assert [*content.arrays] == ["histogram/good"]
  [remark] = content.remarks
  assert remark.startswith(f"{name} is omitted")


def test_its_settings_are_those_of_the_config():
  assert config(threshold=0.25)["task"]["threshold"] == 0.25
  assert config()["task"].keys() == {"name", "threshold"}
  with pytest.raises(UserError, match="threshold"):
    config(treshold=0.25)


def test_the_other_kinds_refuse_its_data_and_it_refuses_theirs():
  info = fruit().train.info
  for name, kind in tasks.TASKS.items():
    if name != "multilabel":
      with pytest.raises(UserError):
        kind.check_data(info)
  with pytest.raises(UserError, match="'tags'"):
    check_data(data.load("digits").train.info)
  four = {"features": np.zeros((2, 4)), "tags": np.zeros((2, 4), np.uint8)}
  wide = data.from_arrays(four, target="tags", classes=NAMES)
  with pytest.raises(UserError, match=r"'N', 4\]"):
    check_data(wide.info)
  check_data(wide.info._replace(targets={}))  # Of a stored run.


def test_a_nan_in_a_masked_row_reaches_no_gradient():
  model = models.MLP(num_classes=3, widths=())
  task = multilabel(model)
  features = np.array([[1.0, 2.0], [np.nan, np.nan]], np.float32)
  tags = np.array([[0, 1, 1], [np.nan] * 3], np.float32)
  mask = np.array([1.0, 0.0], np.float32)
  batch = {"features": features, "tags": tags, "mask": mask}
  params, model_state = task.init(KEY, batch)

  @jax.jit
  @jax.grad
  def gradient(params, batch):
    return task.loss(params, model_state, batch, KEY)[0][0]

  alone = {name: array[:1] for name, array in batch.items()}
  left, right = (gradient(params, b) for b in (batch, alone))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), left, right
  )
