"""Searches as a user starts them: trials, results, mistakes."""

import csv
import json
import math
import signal
import subprocess
import sys
import time

import pytest

from dlcore import command, experiment, search
from dlcore.errors import UserError
from dlcore.search import conclusion, search_results
from dlcore.search.search_run import full_metric
from dlcore.search.shared_study import OWN

SMALL = {
  "model": {"name": "mlp", "widths": (8,)},
  "data": {"batch_size": 64},
  "training": {"steps": 40, "eval_every": 10},
}
SPACE = search.parse(
  "optim.learning_rate=log(1e-4,1e-1) model.widths=(8,)|(4,)"
)
METRICS = {"metric": "valid/accuracy", "algorithm": "random"}


def run(tmp_path, space=SPACE, config=SMALL, **settings):
  settings = search.Settings(**{"algorithm": "random", "trials": 4, **settings})
  tree = experiment.complete(config)
  return search.search(tree, space, tmp_path / "search", settings), tree


@pytest.mark.slow
def test_a_search_has_a_result_for_every_trial(tmp_path):
  study, tree = run(tmp_path, metric="valid/accuracy")
  counted = study.counted()
  assert [t.state.name for t in counted] == ["COMPLETE"] * 4
  assert counted[0].user_attrs[OWN] == "inside"
  assert counted[0].params["model.widths"] == "(8,)"
  assert all(set(t.intermediate_values) == {10, 20, 30, 40} for t in counted)
  for one in counted:
    assert one.value == max(one.intermediate_values.values())
  folder = tmp_path / "search"
  search_results.write_results(study, tree, SPACE, folder, **METRICS)
  lines = (folder / "trials.csv").read_text().splitlines()
  rows = list(csv.DictReader(lines))
  assert [float(row["value"]) for row in rows] == [t.value for t in counted]
  best = search_results.ranked(study)[0]
  config, _ = experiment.read_config(
    str(folder / "best.json"), {}, near=command.ROOT / "configs"
  )
  assert config["optim"]["learning_rate"] == best.params["optim.learning_rate"]
  assert (folder / "search.html").stat().st_size > 1000


@pytest.mark.slow
def test_the_winner_has_the_same_score_when_it_is_trained_alone(tmp_path):
  study, tree = run(tmp_path, metric="-valid/loss")
  best = search_results.ranked(study)[0]
  values = search_results.values_of(best, SPACE, experiment.leaves(tree))
  alone = experiment.with_leaves(tree, values)
  experiment.train(alone, tmp_path / "alone", progress=False)
  lines = (tmp_path / "alone" / "metrics.jsonl").read_text().splitlines()
  losses = [
    line["loss"] for line in map(json.loads, lines) if line["split"] == "valid"
  ]
  assert min(losses) == pytest.approx(best.value, rel=1e-5)


@pytest.mark.slow
def test_several_seeds_give_their_mean(tmp_path):
  study, _ = run(tmp_path, seeds=2, trials=2)
  for one in study.counted():
    seeds = one.user_attrs["seeds"]
    assert len(set(seeds)) == 2
    assert one.value == pytest.approx(sum(seeds) / 2)


@pytest.mark.slow
def test_the_same_search_goes_on_and_repeats_nothing(tmp_path):
  first, _ = run(tmp_path, trials=2)
  before = [(t.number, t.value) for t in first.counted()]
  second, _ = run(tmp_path, trials=4)
  after = [(t.number, t.value) for t in second.counted()]
  assert after[:2] == before
  assert len(after) == 4
  with pytest.raises(UserError, match="space"):
    run(tmp_path, space=search.parse("optim.learning_rate=log(1e-4,1)"))


@pytest.mark.slow
def test_a_search_that_is_stopped_by_a_signal_goes_on(tmp_path):
  arguments = [
    *("--trials=6", "--algorithm=random", "--confirm_seeds=0"),
    "--config.training.steps=1500",
    "--space=optim.learning_rate=log(1e-4,1e-1) model.widths=(8,)|(4,)|(2,)",
    f"--workdir={tmp_path}",
  ]
  command_line = [
    *(sys.executable, command.ROOT / "experiments" / "search.py"),
    *arguments,
  ]
  process = subprocess.Popen(command_line, stderr=subprocess.PIPE, text=True)
  journal = tmp_path / "journal.log"
  while process.poll() is None and not _has_results(journal):
    time.sleep(0.1)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=60)
  assert process.returncode == 143, errors
  assert "Traceback" not in errors
  finished = subprocess.run(command_line, capture_output=True, text=True)
  assert finished.returncode == 0, finished.stderr
  rows = (tmp_path / "trials.csv").read_text().splitlines()[1:]
  assert [row.split(",")[1] for row in rows] == ["complete"] * 6
  assert len({row.split(",")[0] for row in rows}) == 6


def _has_results(journal):
  """Returns whether a trial has reported a value."""
  return journal.exists() and b'"intermediate_value"' in journal.read_bytes()


@pytest.mark.slow
def test_a_pruner_ends_trials_early(tmp_path):
  space = search.parse("optim.learning_rate=log(1e-6,1e-1)")
  study, _ = run(
    tmp_path, space=space, trials=9, pruner="asha", metric="valid/accuracy"
  )
  states = [t.state.name for t in study.counted()]
  assert "PRUNED" in states
  assert "COMPLETE" in states
  for one in study.counted():
    if one.state.name == "PRUNED":
      assert max(one.intermediate_values) < 40
      assert math.isfinite(one.user_attrs["value"])


@pytest.mark.slow
def test_a_trial_that_diverges_or_fails_is_recorded_with_its_reason(tmp_path):
  space = search.parse("optim.learning_rate=3e-3|1e38 data.batch_size=64|5000")
  study, tree = run(tmp_path, space=space, algorithm="grid", trials=0)
  reasons = {
    (t.params["optim.learning_rate"], t.params["data.batch_size"]):
    t.user_attrs.get("reason", "")
    for t in study.counted()
    if t.params
  }  # fmt: skip
  assert reasons[0.003, 64] == ""
  assert "not finite" in reasons[1e38, 64]
  assert "batch_size" in reasons[0.003, 5000]
  folder = tmp_path / "search"
  search_results.write_results(study, tree, space, folder, **METRICS)
  assert "not finite" in (folder / "trials.csv").read_text()


@pytest.mark.slow
def test_runs_that_cannot_be_in_one_program_are_trained_alone(tmp_path):
  config = {**SMALL, "init": {"strategy": {"name": "gradual", "number": 1}}}
  study, _ = run(tmp_path, config=config, trials=2)
  assert [t.state.name for t in study.counted()] == ["COMPLETE"] * 2


def test_metrics_of_other_splits_are_refused():
  config = experiment.complete({})
  assert full_metric(config, "") == "-valid/loss"
  assert full_metric(config, "accuracy") == "valid/accuracy"
  assert full_metric(config, "-valid/loss") == "-valid/loss"
  with pytest.raises(UserError, match="valid/accuracy"):
    full_metric(config, "test/accuracy")


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"algorithm": "baies"}, "bayes"),
    ({"pruner": "ahsa"}, "asha"),
    ({"trials": -1}, "at least 0"),
    ({"trials": 0}, "trials or --budget"),
    ({"seeds": 0}, "at least 1"),
    ({"budget_minutes": float("nan")}, "budget_minutes"),
    ({"metric": "valid/acuracy"}, "accuracy"),
    ({"algorithm": "grid", "trials": 500}, "points of the grid"),
  ],
)
def test_wrong_settings_are_refused(tmp_path, settings, message):
  space = search.parse("model.widths=(8,)|(4,)")
  with pytest.raises(UserError, match=message) as caught:
    run(tmp_path, space=space, **settings)
  assert len(caught.value.lines) <= 3


def test_a_config_that_cannot_be_trained_ends_the_search(tmp_path):
  config = {**SMALL, "data": {"batch_size": 5000}}
  with pytest.raises(UserError, match="batch_size"):
    run(tmp_path, config=config)


def test_a_space_is_suggested_for_any_config():
  for name in ("digits_cnn", "mnist_fast", "language_id", "docs_lm"):
    path = f"{command.ROOT}/configs/{name}.py"
    config, _ = experiment.read_config(path, {}, near=command.ROOT)
    space, source = search.choose_space(config, "", path, near=command.ROOT)
    assert "optim.learning_rate" in space
    assert "--space" in source


def test_the_space_of_the_file_prevails(tmp_path):
  file = tmp_path / "own.py"
  file.write_text(
    "from dlcore import experiment\n"
    "def get_config(): return experiment.config()\n"
    "def space():\n"
    "  from dlcore import search\n"
    "  return {'optim.learning_rate': search.log(1e-4, 1e-2)}\n"
  )
  config = experiment.complete({})
  space, _ = search.choose_space(config, "", str(file), near=tmp_path)
  assert space == {"optim.learning_rate": search.log(1e-4, 1e-2)}


@pytest.mark.parametrize(
  ("name", "alone"), [("mlp", False), ("cnn", True), ("lenet5", True)]
)
def test_models_with_convolutions_are_trained_one_by_one(name, alone):
  built = experiment.build(experiment.complete({"model": {"name": name}}))
  assert experiment.runs_alone(built) == alone


def results(*scores):
  return {i: {"metrics": {"test/accuracy": s}} for i, s in enumerate(scores)}


def test_the_comparison_says_when_the_search_has_not_won():
  own = results(0.90, 0.91, 0.92)
  better = results(0.95, 0.96, 0.97)
  same = results(0.91, 0.90, 0.92)
  metric = {"metric": "valid/accuracy"}
  assert search_results.confirm(better, own, **metric).is_better
  verdict = search_results.confirm(same, own, **metric)
  assert not verdict.is_better
  assert "has not beaten" in verdict.sentence


def test_the_text_of_a_search_names_its_files(tmp_path):
  text = conclusion.search_and_confirm(
    experiment.complete(SMALL),
    SPACE,
    tmp_path / "search",
    search.Settings(algorithm="random", trials=3),
    confirm_seeds=0,
  )
  assert "best.json" in text
  assert "0 (config)" in text
