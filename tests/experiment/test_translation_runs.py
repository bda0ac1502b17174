"""Runs of sequence to sequence: training, prediction line by line, texts."""

import json

import numpy as np
import pytest

from dlcore import experiment
from dlcore.errors import UserError
from dlcore.experiment.text_samples import sample_texts
from dlcore.report import run as report_run

pytestmark = pytest.mark.slow

LETTERS = [*"abcdefgh"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The run of a small model that turns pairs of letters around."""
  folder = tmp_path_factory.mktemp("translation")
  random = np.random.default_rng(0)
  rows = [random.choice(LETTERS, 2 + i % 2).tolist() for i in range(400)]
  for suffix, step in (("in", 1), ("out", -1)):
    lines = (" ".join(row[::step]).upper() for row in rows)
    (folder / f"own.{suffix}").write_text("\n".join(lines) + "\n")
  config = experiment.complete(
    {
      "data": {
        "name": "text_pairs",
        "path": str(folder / "own"),
        "source": "in",
        "target": "out",
        "batch_size": 32,
        "sampling": "bucketed",
        "cache_dir": str(folder / "cache"),
      },
      "model": {"name": "seq2seq", "width": 32, "attention": "general"},
      "task": {"name": "sequence_to_sequence"},
      "optim": {"learning_rate": 2e-2, "schedule": {"name": "constant"}},
      "training": {"steps": 150, "best_by": "exact_match", "eval_every": 50},
      "sharding": {"devices": 1},
    }
  )
  experiment.train(config, folder / "run", progress=False)
  return folder / "run"


def test_a_run_learns_and_records_generated_scores(run):
  summary = experiment.RunFolder(run).read_json("summary.json")["metrics"]
  names = ("loss", "accuracy", "exact_match", "token_error_rate")
  assert {f"test/{name}" for name in names} <= summary.keys()
  assert summary["test/exact_match"] > 0.9
  values = experiment.evaluate(run)
  assert values["exact_match"] == summary["test/exact_match"]


def test_the_report_shows_translations_by_step_and_the_attention(run):
  subject = report_run.read(run)
  assert subject.remarks == ()
  arrays = subject.arrays
  assert arrays["history_step"].tolist() == [50, 100, 150]
  prompts, expected = (
    arrays[f"history_{name}"].tolist() for name in ("prompt", "reference")
  )
  assert [text[::-1] for text in prompts] == expected
  rows = experiment.predict(run, [], None, prompts)
  predicted = [row["text"] for row in rows]
  assert arrays["history_text"][-1].tolist() == predicted
  weight = arrays["attention_weight"].astype(float)
  queries, keys = arrays["attention_query"], arrays["attention_key"]
  assert weight.shape == (3, 1, queries.shape[1], keys.shape[1])
  for maps, of_target, of_source in zip(weight, queries, keys, strict=True):
    target, source = ([*filter(None, row)] for row in (of_target, of_source))
    assert (target[-1], source[0], source[-1]) == ("[eos]", "[bos]", "[eos]")
    np.testing.assert_allclose(
      maps[0, : len(target), : len(source)].sum(-1), 1, atol=5e-3
    )
  titles = (run / "report.html").read_text()
  assert "Attention, test" in titles
  assert "Samples during training" in titles


def test_lines_of_a_file_and_texts_are_translated(run, tmp_path):
  (tmp_path / "new.txt").write_text("A B C\n\nD  E\n")
  (tmp_path / "new.jsonl").write_text(json.dumps({"in": "F G"}) + "\n")
  rows = list(
    experiment.predict(
      run,
      [str(tmp_path / n) for n in ("new.txt", "new.jsonl")],
      None,
      ["H A B"],
    )
  )
  assert [row.get("text", row.get("error")) for row in rows] == [
    "C B A",
    "an empty text",
    "E D",
    "G F",
    "B A H",
  ]
  assert [row["input"].rpartition(":")[2] for row in rows[:3]] == [
    "1",
    "2",
    "3",
  ]
  assert rows[-1]["input"] == "H A B"


def test_the_report_has_no_continuations_of_a_model_that_translates(
  run, caplog
):
  """They need a source; a failure to sample them was logged."""
  parts = experiment.build(experiment.RunFolder(run).config())
  assert sample_texts(parts, parts.splits.valid, ({}, {})) == {}
  assert "omits samples" not in caplog.text


def test_weights_with_another_tokenizer_of_the_targets_are_refused(
  run, tmp_path
):
  for suffix in ("in", "out"):
    text = (run.parent / f"own.{suffix}").read_text()
    new = text.lower() if suffix == "out" else text
    (tmp_path / f"new.{suffix}").write_text(new)
  config = experiment.RunFolder(run).config()
  config["init"]["source"] = str(run)
  config["data"]["target_tokenizer"] = "words"
  experiment.build(config)
  config["data"]["path"] = str(tmp_path / "new")
  with pytest.raises(UserError, match="target_tokenizer of the weights"):
    experiment.build(config)


def test_generate_prints_the_translation_alone(run, shell):
  answer = shell("generate", f"--workdir={run}", "--prompt=A B C")
  assert (answer.code, answer.out.strip()) == (0, "C B A"), answer.err
  answer = shell(
    "generate", f"--workdir={run}", "--prompt=A B C", "--num_beams=3"
  )
  assert (answer.code, answer.out.strip()) == (0, "C B A"), answer.err
  settings = experiment.GenerationSettings()
  with pytest.raises(UserError, match="a source to translate"):
    list(experiment.generate_text(run, " ", settings))
