"""A run for each fold, in one report, and a prediction for every example."""

import json

import numpy as np
import pytest

from dlcore import data, experiment, report
from dlcore.errors import UserError
from dlcore.experiment import cross_validation

pytestmark = pytest.mark.slow

SIZE = 40
COUNT = 3


def examples(size=SIZE):
  features = np.random.default_rng(0).normal(size=(size, 2)).astype("f4")
  label = (features.sum(1) > 0).astype(np.int32)
  return {"features": features, "label": label}


def own(*, folds: int = 0, fold: int = 0, test_fraction: float = 0.2):
  """A data set of the test, whose examples have names."""
  return data.make_splits(
    {"train": examples()},
    data.ArraySchema(classes=("down", "up")),
    name="own",
    names={"train": [f"own.csv:{row + 2}" for row in range(SIZE)]},
    folds=folds,
    fold=fold,
    test_fraction=test_fraction,
  )


def numbers(*, folds: int = 0, fold: int = 0):
  """A data set of a regression, whose examples have no names."""
  train = examples()
  target = train.pop("label") * 2.0 + 0.5
  return data.make_splits(
    {"train": {**train, "target": target}},
    data.ArraySchema(target_offset=100.0),
    name="numbers",
    folds=folds,
    fold=fold,
  )


@pytest.fixture(scope="module", autouse=True)
def rows():
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(data.DATASETS, "own", own)
    patch.setitem(data.DATASETS, "numbers", numbers)
    yield


@pytest.fixture(scope="module")
def config(tiny, rows):
  return tiny(data={"name": "own", "batch_size": 8})


@pytest.fixture(scope="module")
def group(config, tmp_path_factory):
  """Runs over three folds: their folder and their summaries."""
  workdir = tmp_path_factory.mktemp("group") / "runs"
  results = experiment.train_folds(config, COUNT, workdir, progress=False)
  return workdir, results


def lines(workdir):
  text = (workdir / "predictions.jsonl").read_text()
  return list(map(json.loads, text.splitlines()))


def test_each_fold_is_an_ordinary_run(group):
  workdir, results = group
  assert sorted(results) == list(range(COUNT))
  checksums = set()
  for fold, result in results.items():
    folder = experiment.RunFolder(workdir / f"fold_{fold}")
    section = folder.config()["data"]
    assert (section["folds"], section["fold"]) == (COUNT, fold)
    assert folder.read_json("summary.json") == result
    checksums.add(folder.splits()["test"]["sha256"])
  assert len(checksums) == COUNT


def test_every_example_is_predicted_once_in_the_order_of_the_data(group):
  predicted = lines(group[0])
  names = [f"own.csv:{row + 2}" for row in range(SIZE)]
  assert [line["input"] for line in predicted] == names
  labels = [("down", "up")[label] for label in examples()["label"]]
  assert [line["target"] for line in predicted] == labels
  assert {line["fold"] for line in predicted} == set(range(COUNT))


def test_the_predictions_are_those_of_the_run_that_did_not_learn_from_them(
  group,
):
  workdir, results = group
  for fold, result in results.items():
    mine = [line for line in lines(workdir) if line["fold"] == fold]
    right = [line["label"] == line["target"] for line in mine]
    assert np.mean(right) == pytest.approx(result["metrics"]["test/accuracy"])
    tested = own(folds=COUNT, fold=fold).test
    assert {line["input"] for line in mine} == set(tested.names.tolist())


def test_the_table_and_the_page_are_over_folds(group):
  workdir, results = group
  table = experiment.seeds_table(results, workdir, "fold")
  scores = [result["metrics"]["test/accuracy"] for result in results.values()]
  assert f"{np.mean(scores):.4f} ± " in table
  assert "over the folds 0, 1, 2" in table
  page = (workdir / "report.html").read_text()
  assert "test accuracy, mean over 3 folds" in page
  assert "runs/fold_2" in page
  assert "differ in more than" not in page
  assert "tested on different examples" not in page
  assert "is omitted" not in page


@pytest.mark.slow
def test_two_groups_are_compared_by_folds(group, config, tmp_path):
  other = {**config, "seed": 1}
  workdir = tmp_path / "other"
  experiment.train_folds(other, COUNT, workdir, progress=False)
  page = tmp_path / "page.html"
  report.compare([group[0], workdir], page)
  text = page.read_text()
  assert "Runs of the same fold are compared in pairs" in text
  assert "over the 3 shared folds (0 to 2)" in text
  seeds = tmp_path / "seeds"
  experiment.train_seeds(config, 2, seeds, progress=False)
  report.compare([group[0], seeds], page)
  assert "one is over seeds, the other over folds" in page.read_text()


def test_finished_folds_are_not_trained_again(group, config):
  workdir, results = group
  before = (workdir / "predictions.jsonl").read_text()
  log = (workdir / "fold_1" / "metrics.jsonl").stat().st_mtime_ns
  (workdir / "predictions.jsonl").unlink()
  again = experiment.train_folds(config, COUNT, workdir, progress=False)
  assert again == results
  assert (workdir / "predictions.jsonl").read_text() == before
  assert (workdir / "fold_1" / "metrics.jsonl").stat().st_mtime_ns == log
  with pytest.raises(UserError, match="folds"):
    experiment.train_folds(config, COUNT + 1, workdir, progress=False)


@pytest.mark.slow
def test_targets_of_a_regression_have_their_offset(tiny, tmp_path):
  config = tiny(
    data={"name": "numbers", "batch_size": 8}, task={"name": "regression"}
  )
  experiment.train_folds(config, COUNT, tmp_path / "runs", progress=False)
  predicted = lines(tmp_path / "runs")
  assert [line["input"] for line in predicted] == list(range(SIZE))
  expected = examples()["label"] * 2 + 100.5
  assert [line["target"] for line in predicted] == expected.tolist()
  assert all(line["prediction"] > 50 for line in predicted)


@pytest.mark.slow
def test_few_examples_get_advice(config, tmp_path):
  alone = {**config, "training": {**config["training"], "steps": 1}}
  experiment.train(alone, tmp_path, progress=False)
  advice = experiment.advise_folds(alone, tmp_path)
  assert advice.startswith("test has 8 of 40 examples")
  assert "--folds=5" in advice
  fold = {**alone["data"], "folds": COUNT}
  for other in (
    {**alone, "data": fold},
    {**alone, "data": {**alone["data"], "test": "test.csv"}},
  ):
    assert experiment.advise_folds(other, tmp_path) == ""


@pytest.mark.parametrize("few", [cross_validation.FEW, 40])
def test_more_examples_get_none(config, tmp_path, monkeypatch, few):
  monkeypatch.setattr(cross_validation, "FEW", few)
  sizes = {"train": {"size": 30}, "test": {"size": 10}}
  monkeypatch.setattr(experiment.RunFolder, "splits", lambda self: sizes)
  assert bool(experiment.advise_folds(config, tmp_path)) == (few > 40)


@pytest.mark.parametrize("count", [1, 0, -3])
def test_a_wrong_number_of_folds_is_an_error(config, tmp_path, count):
  with pytest.raises(UserError, match=f"got {count}") as caught:
    experiment.train_folds(config, count, tmp_path / "runs")
  assert len(caught.value.lines) == 3
  assert not (tmp_path / "runs").exists()


def test_a_data_set_without_folds_is_an_error(tiny, tmp_path, monkeypatch):
  monkeypatch.setitem(data.DATASETS, "single", lambda *, size=3: None)
  config = tiny(data={"name": "single"})
  with pytest.raises(UserError, match="got 'single', which") as caught:
    experiment.train_folds(config, 3, tmp_path)
  assert len(caught.value.lines) == 3


@pytest.mark.parametrize("other", ["--profile=1:2", "--seeds=2"])
def test_folds_are_the_only_series(shell, other):
  answer = shell("train", other, "--folds=3")
  assert (answer.code, len(answer.err)) == (2, 3)
  assert f"got {other} with --folds=3" in answer.err[1]
