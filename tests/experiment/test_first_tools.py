"""The quick checks of `train.py`: two steps of everything, and one batch."""

import json

import pytest

from dlcore import augment, experiment, models
from dlcore.experiment import defaults, quick_checks
from dlcore.experiment.quick_checks import QUICK_CHECKS

SMALL = (
  "--config.model.name=mlp",
  "--config.model.widths=(8,)",
  "--config.sharding.devices=1",
)


def changes(config, changed):
  before, after = defaults.leaves(config), defaults.leaves(changed)
  assert before.keys() == after.keys()
  return {key: after[key] for key in after if after[key] != before[key]}


@pytest.mark.parametrize("check", QUICK_CHECKS)
def test_a_check_is_a_change_of_the_config_that_changes_nothing_twice(
  tiny, check
):
  config = tiny(data={"augment": {"shift": 1}, "eval_limit": 7})
  before = json.dumps(config)
  changed = QUICK_CHECKS[check].change(config)
  assert json.dumps(config) == before
  assert changes(config, changed)
  assert QUICK_CHECKS[check].change(changed) == changed
  assert changed["data"]["eval_limit"] == 7
  assert QUICK_CHECKS[check].change(config) != config


def test_a_fast_run_changes_only_lengths_and_intervals(tiny):
  config = tiny(training={"eval_batch_size": 5, "layer_statistics_every": 100})
  assert changes(config, quick_checks.fast_dev_run(config)) == {
    "data.eval_limit": 10,
    "training.steps": 2,
    "training.eval_every": 2,
    "training.checkpoint_every": 2,
    "training.log_every": 1,
    "training.layer_statistics_every": 1,
  }


@pytest.mark.parametrize("name", models.MODELS)
def test_one_batch_is_trained_on_without_regularization(name):
  config = defaults.select_entry(experiment.complete({}), "model", name)
  for section, key, value in (
    *(("model", key, 0.3) for key in config["model"] if "drop" in key),
    *(("model", key, 0.3) for key in config["model"] if "stoch" in key),
    ("task", "label_smoothing", 0.1),
    ("optim", "weight_decay", 0.1),
    ("optim", "l2", 0.1),
    ("training", "patience", 3),
    *(("augment", key, 1) for key in ("shift", "mixup")),
  ):
    node = config["data"]["augment"] if section == "augment" else None
    (node or config[section])[key] = value
  changed = quick_checks.overfit_one_batch(config)
  assert changed["data"]["limit"] == config["data"]["batch_size"]
  assert changed["training"]["steps"] == quick_checks.OVERFIT_STEPS
  assert augment.compose(changed["data"]["augment"]) is None
  for section in ("model", "task", "optim"):
    for key, value in changed[section].items():
      if any(part in key for part in ("drop", "stoch", "smooth", "decay")):
        assert value in (0, 1.0) or key == "no_decay", key
  assert changed["training"]["patience"] == 0


def test_the_length_of_a_check_on_one_batch_can_be_chosen(tiny):
  config = tiny(training={"steps": 1234})
  changed = quick_checks.overfit_one_batch(config)
  assert changed["training"]["steps"] == 1234


@pytest.mark.slow
def test_a_fast_run_does_everything_once_and_says_that_it_is_no_result(
  shell, tmp_path
):
  arguments = ("--fast_dev_run", *SMALL, "--config.training.eval_batch_size=8")
  answer = shell("train", *arguments)
  assert answer.code == 0, answer.err
  assert "are no result" in answer.out.splitlines()[-1]
  [folder] = (tmp_path / "runs").iterdir()
  assert folder.name.endswith("_dev")
  run = experiment.RunFolder(folder)
  config = run.config()
  assert config == quick_checks.fast_dev_run(config)
  assert run.newest_step() == 2
  assert (folder / "report.html").is_file()
  sizes = {name: split["size"] for name, split in run.splits().items()}
  assert sizes["valid"] == sizes["test"] == 16 < sizes["train"]
  text = (folder / "metrics.jsonl").read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  steps = [(line["step"], line["split"]) for line in lines]
  assert steps == [(1, "train"), (2, "train"), (2, "valid")]
  # Again after a change of the code: not "already finished".
  answer = shell("train", *arguments)
  assert answer.code == 0, answer.err
  assert "already finished" not in answer.out + "".join(answer.err)
  assert [f.name for f in (tmp_path / "runs").iterdir()] == [folder.name]


@pytest.mark.parametrize("check", QUICK_CHECKS)
def test_a_check_leaves_other_runs_alone(shell, copy, check):
  before = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
  answer = shell("train", f"--{check}", f"--workdir={copy}", *SMALL)
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "choose another --workdir" in answer.err[-1]
  for path, time in before.items():
    assert path.stat().st_mtime_ns == time, path


@pytest.mark.slow
def test_one_batch_is_learned_by_heart(shell, tmp_path):
  answer = shell("train", "--overfit_one_batch", *SMALL[2:])
  assert answer.code == 0, answer.err
  assert "about 0: data, model" in answer.out.splitlines()[-1]
  [folder] = (tmp_path / "runs").iterdir()
  assert folder.name == "digits_cnn,devices=1_overfit"
  run = experiment.RunFolder(folder)
  assert run.splits()["train"]["size"] == run.config()["data"]["batch_size"]


@pytest.mark.slow
def test_a_loss_that_does_not_fall_gets_a_list_of_causes(shell):
  answer = shell(
    "train",
    "--overfit_one_batch",
    *SMALL,
    "--config.training.steps=3",
    "--config.optim.learning_rate=1e-9",
  )
  assert answer.code == 0, answer.err
  last = answer.out.splitlines()[-1]
  assert "in 3 steps, and not to about 0" in last
  for cause in ("learning_rate", "lr_find.py", "steps", "labels"):
    assert cause in last


@pytest.mark.parametrize(
  "flags",
  [
    ("--fast_dev_run", "--seeds=2"),
    ("--fast_dev_run", "--overfit_one_batch"),
    ("--overfit_one_batch", "--folds=5"),
    ("--overfit_one_batch", "--profile=1:2"),
  ],
)
def test_a_check_is_not_combined_with_other_modes(shell, tmp_path, flags):
  answer = shell("train", *flags)
  assert (answer.code, len(answer.err)) == (2, 3)
  assert all(flag.partition("=")[0] in answer.err[1] for flag in flags)
  assert not (tmp_path / "runs").exists()
