"""Runs on tagged tokens: scores, report, folds, predictions of own files."""

import csv
import json

import numpy as np
import pytest

from dlcore import data, experiment
from dlcore.report import run as report_run

pytestmark = pytest.mark.slow

NAMES, OTHERS = ("Ann", "Bob", "Eve"), ("runs", "sees", "in", "the")


def sentences(count=90):
  """Sentences of names and other words, and a dot that is not scored."""
  random = np.random.default_rng(0)
  for i in range(count):
    words = random.choice([*NAMES, *OTHERS], 1 + i % 6).tolist()
    tags = ["B-P" if word in NAMES else "O" for word in words]
    yield [*words, "."], [*tags, "_"]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("DLCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  path = tmp_path_factory.mktemp("files") / "own.conll"
  blocks = [
    "".join(f"{word}\t{tag}\n" for word, tag in zip(*sentence, strict=True))
    for sentence in sentences()
  ]
  path.write_text("\n".join(blocks))
  source = {"name": "tagged_text", "path": str(path), "min_count": 1}
  return experiment.complete(
    {
      "data": {**source, "batch_size": 16, "sampling": "bucketed"},
      "model": {"name": "gru", "width": 8, "head": "tokens"},
      "task": {
        "name": "tagging",
        "class_weights": "balanced",
        "metrics": ("f1_macro", "kappa"),
      },
      "optim": {"name": "adam", "learning_rate": 3e-2},
      "training": {"steps": 20, "eval_every": 10, "best_by": "f1_macro"},
      "sharding": {"devices": 1},
    }
  )


@pytest.fixture(scope="module")
def folder(config, tmp_path_factory):
  path = tmp_path_factory.mktemp("runs") / "run"
  experiment.train(config, path, progress=False)
  return path


def test_scores_have_intervals_and_the_most_frequent_tag_beside_them(folder):
  summary = json.loads((folder / "summary.json").read_text())
  assert summary["trivial_answer"] == "always 'O'"
  names = {"accuracy", "sequence_accuracy", "f1_macro", "kappa"}
  assert {f"test/{n}" for n in names} == summary["intervals"].keys()
  for name in ("accuracy", "f1_macro"):
    low, high = summary["intervals"][f"test/{name}"]
    value = summary["metrics"][f"test/{name}"]
    assert low <= value <= high
    assert value > summary["trivial"][f"test/{name}"]
  assert summary["trivial"]["test/kappa"] == pytest.approx(0, abs=1e-9)


def test_the_report_shows_tokens_with_their_tags(folder):
  subject = report_run.read(folder)
  assert subject.remarks == ()
  page = (folder / "report.html").read_text()
  assert "tokens by class" in page
  assert "Classes, test" in page
  arrays = subject.arrays
  assert len(arrays["label"]) == len(arrays["probability"])
  if "worst_input" in arrays:
    ends = arrays["worst_token_end"]
    texts = arrays["worst_input"].tolist()
    assert ends.max(1).tolist() == [len(text) for text in texts]
    assert "<ruby>" in page


def test_files_of_every_format_are_tagged_alike(folder, tmp_path):
  new = [["Ann", "sees", "Bob", "."], ["the"]]
  (tmp_path / "a.conll").write_text("\n\n".join(map("\n".join, new)))
  rows = [json.dumps({"tokens": words}) for words in new]
  (tmp_path / "a.jsonl").write_text("\n".join(rows))
  (tmp_path / "a.csv").write_text("\n".join(["tokens", *map(" ".join, new)]))
  files = [str(tmp_path / f"a.{kind}") for kind in ("conll", "jsonl", "csv")]
  texts = list(map(" ".join, new))
  found = list(experiment.predict(folder, files, texts=texts))
  tags = [row["tags"] for row in found]
  assert tags == tags[:2] * 4
  assert [len(row) for row in tags[:2]] == [4, 1]
  assert {tag for row in tags for tag in row} <= {"B-P", "O"}
  output = tmp_path / "tags.csv"
  written = experiment.write_predictions(folder, files, output)
  assert written == (6, 0)
  with output.open(newline="") as file:
    table = list(csv.DictReader(file))
  assert [row["tags"].split(";") for row in table] == tags[:6]
  assert [int(row["row"]) for row in table] == [1, 6, 1, 2, 2, 3]


def test_folds_have_the_tags_of_all_tokens(config, tmp_path):
  experiment.train_folds(config, 3, tmp_path / "folds", progress=False)
  lines = (tmp_path / "folds/predictions.jsonl").read_text().splitlines()
  rows = list(map(json.loads, lines))
  assert len(rows) == 90
  expected = [
    [None if tag == "_" else tag for tag in tags] for _, tags in sentences()
  ]
  assert [row["target"] for row in rows] == expected
  assert [len(row["tags"]) for row in rows] == list(map(len, expected))


def test_the_counts_of_tags_survive_json(config):
  section = {k: v for k, v in config["data"].items() if k != "batch_size"}
  settings = {k: section[k] for k in ("path", "min_count")}
  info = data.load("tagged_text", **settings).train.info
  assert sum(info.class_counts) > 0
  assert data.info_from_json(data.info_to_json(info)) == info
