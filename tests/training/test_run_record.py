"""A run of `fit` continues with its own arguments, or says what differs."""

import json

import numpy as np
import problem
import pytest

from dlcore import data, optim, training
from dlcore.errors import UserError
from dlcore.training import run_record

STEPS = 4


def fit(workdir, **settings):
  """Trains for a few steps with a rate that does not depend on them."""
  settings = {
    "steps": STEPS,
    "rate": optim.schedule("constant", learning_rate=0.02),
    "augment": None,
    "eval_every": 2,
    "checkpoint_every": 2,
    **settings,
  }
  return problem.fit(workdir, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  return workdir, fit(workdir)


def relabeled(size, seed=0):
  source = problem.source(size, seed)
  arrays = {**source.arrays, "label": (source.arrays["label"] + 1) % 3}
  return data.from_arrays(arrays, name="lights")


CHANGES = {
  "learning rate": (
    {"rate": optim.schedule("constant", learning_rate=0.01)},
    "another learning rate: 0.02 at step 0 in the run, 0.01 now",
  ),
  "schedule": (
    {"rate": optim.schedule("cosine", learning_rate=0.02, steps=STEPS)},
    "another learning rate: 0.02 at step",
  ),
  "labels": ({"train": relabeled(50)}, "other train data: 50 examples"),
  "validation": ({"valid": relabeled(30, 1)}, "other valid data: 30 examples"),
  "no validation": ({"valid": {}}, "other valid data: 30 examples"),
  "seed": ({"seed": 3}, "another seed: 0 in the run, 3 now"),
  "batch size": ({"batch_size": 8}, "another batch_size: 16 in the run, 8 now"),
  "fewer steps": ({"steps": 3}, "fewer steps: 4 in the run, 3 now"),
  "ema": ({"ema": 0.5}, "another ema: 0.9 in the run, 0.5 now"),
  "best_by": ({"best_by": "accuracy"}, "another best_by: '-loss' in the run"),
  "patience": ({"patience": 9}, "another patience: 0 in the run, 9 now"),
  "penalty": ({"penalty": optim.penalty(l1=0.1)}, "training step"),
  "dropout": ({"net": problem.Net(dropout=0.5)}, "training step"),
  "augmentation": ({"augment": problem.AUGMENT}, "training step"),
  "order": ({"order": data.in_order(50, 16)}, "another order"),
}


@pytest.mark.fast_cases("learning rate", "labels", "fewer steps", "dropout")
@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_is_refused_by_name_in_three_lines(run, change):
  workdir, _ = run
  settings, message = CHANGES[change]
  with pytest.raises(UserError) as error:
    fit(workdir, **settings)
  expected, got, remedy = error.value.lines
  assert str(workdir) in expected
  assert message in got
  assert "on_change" in remedy


def test_a_finished_run_says_so_and_returns_its_states(run, caplog):
  workdir, result = run
  before = (workdir / "summary.json").read_bytes()
  again = fit(workdir)
  assert "already finished" in caplog.text
  problem.assert_equal(again, result)
  assert (workdir / "summary.json").read_bytes() == before


@pytest.mark.slow
def test_more_steps_of_the_same_schedule_go_on(tmp_path, caplog):
  fit(tmp_path)
  longer = fit(tmp_path, steps=STEPS + 2)
  assert int(longer.last.step) == STEPS + 2
  assert caplog.text == ""


@pytest.mark.slow
def test_other_initial_weights_are_refused(tmp_path):
  def initial(scale):
    noise = np.full(3, scale, np.float32)
    return lambda params, state: (
      {**params, "head": {**params["head"], "bias": noise}},
      state,
    )

  fit(tmp_path, initial=initial(1))
  fit(tmp_path, initial=initial(1))
  with pytest.raises(UserError, match="other initial weights"):
    fit(tmp_path, initial=initial(2))


@pytest.mark.slow
def test_settings_of_own_parts_are_compared(tmp_path):
  fit(tmp_path, settings={"width": 16, "stages": (1, 2)})
  fit(tmp_path, settings={"width": 16, "stages": (1, 2)})
  with pytest.raises(UserError, match=r"'width'\]: 16 in the run, 32 now"):
    fit(tmp_path, settings={"width": 32, "stages": (1, 2)})


@pytest.mark.slow
def test_a_change_can_be_allowed(tmp_path, caplog):
  fit(tmp_path)
  result = fit(tmp_path, steps=STEPS + 1, ema=0.5, on_change="warn")
  assert int(result.last.step) == STEPS + 1
  assert "continues with another ema" in caplog.text


@pytest.mark.parametrize("damage", [None, b"", b"{}", b'{"steps": "x"}'])
def test_a_record_that_cannot_be_read_is_empty(tmp_path, damage):
  path = tmp_path / run_record.NAME
  path.parent.mkdir()
  if damage is not None:
    path.write_bytes(damage)
  assert run_record.read(tmp_path) == {}


def test_a_wrong_on_change_is_an_error():
  with pytest.raises(UserError, match="'error' or 'warn'"):
    fit(None, on_change="ignore")


def test_a_run_has_a_config_a_summary_and_a_page(run):
  workdir, result = run
  config = json.loads((workdir / "config.json").read_text())
  assert config["kind"] == "fit"
  assert config["data"]["name"] == "lights"
  assert config["training"]["ema"] == 0.9
  summary = json.loads((workdir / "summary.json").read_text())
  assert summary["finished"] is True
  assert summary["step"] == STEPS
  assert summary["best_step"] == int(result.best.step)
  assert summary["metrics"].keys() == {"valid/accuracy", "valid/loss"}
  page = (workdir / "report.html").read_text()
  assert "lights" in page
  assert "omitted" not in page


def test_evaluator_metrics_equal_those_of_the_summary(run):
  workdir, result = run
  valid = problem.source(30, seed=1)
  task = problem.tasks.classification(problem.Net(), label_smoothing=0.1)
  values = training.Evaluator(task, valid)(result.best)
  summary = json.loads((workdir / "summary.json").read_text())["metrics"]
  assert summary["valid/accuracy"] == pytest.approx(values["accuracy"])
