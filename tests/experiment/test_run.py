import itertools
import json
import shutil

import numpy as np
import pytest

from dlcore import experiment, storage, trees
from dlcore.errors import UserError
from dlcore.experiment import defaults, prediction


@pytest.fixture
def sections(user_data, tmp_path):
  """The sections of a tiny config for each kind of data."""
  folder = {"batch_size": 8, "cache_dir": str(tmp_path / "cache")}
  answer = {**folder, "target": "answer"}
  numbers = {**answer, "path": str(user_data / "numbers.csv")}
  return {
    "digits": {"data": {"name": "digits"}},
    "image_folder": {
      "data": {
        **folder,
        "name": "image_folder",
        "path": str(user_data / "pictures"),
      },
    },
    "table_of_classes": {
      "data": {
        **answer,
        "name": "table_csv",
        "path": str(user_data / "classes.csv"),
      },
    },
    "table_of_numbers": {
      "data": {**numbers, "name": "table_csv"},
      "task": {"name": "regression"},
    },
  }


KINDS = ("digits", "image_folder", "table_of_classes", "table_of_numbers")


@pytest.mark.fast_cases("digits")
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_trained_evaluated_and_reported_from_its_folder(
  kind, sections, tiny, tmp_path
):
  workdir = tmp_path / "run"
  result = experiment.train(tiny(**sections[kind]), workdir, progress=False)
  assert result == experiment.RunFolder(workdir).read_json("summary.json")
  evaluated = experiment.evaluate(workdir)
  for name, value in result["metrics"].items():
    split, metric = name.split("/")
    if split == "test":
      assert evaluated[metric] == pytest.approx(value, rel=1e-5)
  path = sections[kind]["data"].get("path")
  if path:
    rows = list(experiment.predict(workdir, [path]))
    assert len(rows) == (24 if kind == "image_folder" else 60)
    field = "prediction" if kind == "table_of_numbers" else "label"
    assert all(field in row for row in rows)
  assert (workdir / "report.html").is_file()
  text = experiment.results_table(result, workdir)
  assert f"--workdir={workdir}" in text
  assert "test" in text


def test_the_same_command_again_returns_the_result_and_changes_nothing(
  copy, tiny, digits
):
  log = (copy / "metrics.jsonl").read_bytes()
  assert experiment.train(tiny(), copy, progress=False) == digits[1]
  assert (copy / "metrics.jsonl").read_bytes() == log


def test_a_run_is_extended_if_the_schedule_does_not_depend_on_steps(
  copy, tiny, caplog
):
  longer = tiny(training={"steps": 5, "log_every": 2})
  assert experiment.train(longer, copy, progress=False)["step"] == 5
  assert "the training step differs" not in caplog.text
  with pytest.raises(UserError, match=r"training\.steps: 5 in the run, 3 now"):
    experiment.train(tiny(), copy, progress=False)


def test_a_run_of_a_fixed_length_is_not_extended(tiny, tmp_path):
  optim = {"schedule": {"name": "warmup_cosine"}}
  experiment.train(tiny(optim=optim), tmp_path / "run", progress=False)
  with pytest.raises(UserError, match=r"training\.steps: 3 in the run, 4 now"):
    experiment.train(tiny(optim=optim, training={"steps": 4}), tmp_path / "run")


def test_another_config_is_refused_and_a_changed_name_comes_first(copy, tiny):
  other = defaults.select_entry(tiny(seed=1), "model", "lenet5")
  with pytest.raises(UserError) as error:
    experiment.train(other, copy)
  changes = error.value.lines[1]
  assert changes.startswith("model.name: 'mlp' in the run, 'lenet5' now; ")


@pytest.mark.slow
def test_data_may_move_but_not_change(sections, tiny, tmp_path, user_data):
  workdir, config = tmp_path / "run", sections["table_of_classes"]
  experiment.train(tiny(**config), workdir, progress=False)
  moved = shutil.copy(user_data / "classes.csv", tmp_path / "moved.csv")
  config["data"]["path"] = str(moved)
  longer = {"training": {"steps": 4}, **config}
  assert experiment.train(tiny(**longer), workdir, progress=False)["step"] == 4
  with open(moved, "a") as file:
    file.write("1,1,up\n")
  for again in (
    lambda: experiment.train(tiny(**longer), workdir, progress=False),
    lambda: experiment.evaluate(workdir, "train"),
  ):
    with pytest.raises(UserError, match="sha256") as error:
      again()
    assert "data" in error.value.lines[0]


def test_a_moved_folder_predicts_the_same(digits, copy, user_data):
  paths = [str(user_data / "pictures")]
  before = list(experiment.predict(digits[0], paths))
  assert len(before) == 24
  assert list(experiment.predict(copy, paths)) == before
  assert sum(before[0]["probabilities"].values()) == pytest.approx(1)


def test_a_batch_of_predictions_fits_in_memory(copy, user_data, monkeypatch):
  paths = [str(user_data / "pictures")]
  before = list(experiment.predict(copy, paths))
  monkeypatch.setattr(prediction, "MAX_BYTES", 1 << 10)
  after = list(experiment.predict(copy, paths))
  assert [row["label"] for row in after] == [row["label"] for row in before]
  monkeypatch.setattr(prediction, "MAX_BYTES", 1)
  monkeypatch.setattr(storage, "physical_memory", lambda: 8)
  with pytest.raises(UserError, match="one input to take at most 1 bytes"):
    list(experiment.predict(copy, paths))


def test_an_input_that_cannot_be_read_has_a_line(
  copy, user_data, tmp_path, shell
):
  (tmp_path / "note.txt").write_text("hello")
  picture = str(user_data / "pictures" / "cat" / "0.png")
  answer = shell("predict", f"--workdir={copy}", picture, "note.txt")
  rows = [json.loads(line) for line in answer.out.splitlines()]
  assert answer.code == 2
  assert sorted("error" in row for row in rows) == [False, True]
  assert "got 1 that cannot" in answer.err[1]


def test_evaluate_ends_in_a_json_object(copy, shell):
  answer = shell("evaluate", f"--workdir={copy}", "--split=train")
  assert answer.code == 0
  assert json.loads(answer.out.splitlines()[-1])["split"] == "train"


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("{", '{"a": '),
    ('"test/loss": ', '"test/loss": {}, "a": '),
    ('"seconds": ', f'"seconds": 1{"0" * 400}, "a": '),
  ],
)
def test_a_broken_summary_is_written_again(copy, tiny, digits, old, new):
  path = copy / "summary.json"
  path.write_text(path.read_text().replace(old, new, 1))
  again = experiment.train(tiny(), copy, progress=False)
  assert again["metrics"] == pytest.approx(digits[1]["metrics"])


def test_a_damaged_checkpoint_is_skipped(copy):
  newest = max(int(p.name) for p in (copy / "checkpoints").iterdir())
  manifest = copy / "checkpoints" / str(newest) / "sha256.json"
  manifest.write_text(manifest.read_text().replace("a", "b"))
  assert experiment.evaluate(copy)["step"] < newest
  with pytest.raises(UserError, match="undamaged"):
    experiment.evaluate(copy, step=newest)


def break_manifest(step):
  (step / "sha256.json").write_text("{}")


def move(step):
  step.rename(step.with_name("5000"))


@pytest.mark.parametrize("damage", [break_manifest, move])
def test_the_last_checkpoint_of_a_finished_run_is_written_again(
  copy, tiny, digits, damage
):
  folder = copy / "checkpoints"
  step = digits[1]["step"]
  before = storage.read_checkpoint(folder, step)
  damage(folder / str(step))
  again = experiment.train(tiny(), copy, progress=False)
  assert again["metrics"] == digits[1]["metrics"]
  actual = trees.flatten(storage.read_checkpoint(folder, step))
  for path, leaf in trees.flatten(before).items():
    assert leaf.tobytes() == actual[path].tobytes(), path


def test_a_finished_run_needs_no_checkpoints(copy, tiny, digits):
  shutil.rmtree(copy / "checkpoints")
  assert experiment.train(tiny(), copy, progress=False) == digits[1]


def test_a_missing_split_is_an_error(tiny, tmp_path):
  config = tiny(data={"name": "digits", "valid_fraction": 0})
  experiment.train(config, tmp_path / "run", progress=False)
  with pytest.raises(UserError, match="train, test"):
    experiment.evaluate(tmp_path / "run", "valid")


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_workdir_that_cannot_be_written_is_an_error(name, tiny, tmp_path):
  (tmp_path / "file").write_text("mine")
  with pytest.raises(UserError, match="writable folder") as error:
    experiment.train(tiny(), tmp_path / name)
  assert error.value.lines[2] == "choose another folder"
  assert (tmp_path / "file").read_text() == "mine"


def test_a_foreign_config_is_not_overwritten(tiny, tmp_path):
  (tmp_path / "config.json").write_text('{"mine": 1}')
  with pytest.raises(UserError, match=r"config\.mine"):
    experiment.train(tiny(), tmp_path)
  assert (tmp_path / "config.json").read_text() == '{"mine": 1}'


def test_a_run_without_its_config_is_not_continued(copy, tiny):
  (copy / "config.json").unlink()
  with pytest.raises(UserError, match=r"config\.json"):
    experiment.train(tiny(seed=9), copy)
  assert not (copy / "config.json").exists()


def test_a_report_needs_the_folder_of_a_run(shell, tmp_path, copy):
  for folder in ("nowhere", str(tmp_path)):
    answer = shell("report", folder)
    assert answer.code == 2
    assert len(answer.err) == 3
  assert shell("report", str(copy)).code == 0


def test_a_summary_creates_no_folder(shell, tmp_path):
  answer = shell("train", "--summary", "--config.sharding.devices=1")
  assert answer.code == 0
  assert "steps" in answer.out
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_plateau_of_a_config_lowers_the_rate(tmp_path):
  schedule = {"name": "plateau", "factor": 0.5, "patience": 1}
  config = experiment.complete(
    {
      "data": {"name": "digits", "batch_size": 64},
      "model": {"name": "mlp", "widths": (8,)},
      "training": {"steps": 150, "eval_every": 5, "log_every": 5},
      "optim": {"learning_rate": 0.05, "schedule": schedule},
      "sharding": {"devices": 1},
    }
  )
  experiment.train(config, tmp_path, progress=False)
  text = (tmp_path / "metrics.jsonl").read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
  assert rates[0] == np.float32(0.05)
  assert rates[-1] < 0.04
  assert all(later <= rate for rate, later in itertools.pairwise(rates))


@pytest.mark.parametrize(
  "value", ["3", "5:3", "3:3", "a:b", ":5", "-1:2", "1:2:3", "٣:٤"]
)
def test_a_wrong_profile_is_three_lines(value, shell):
  answer = shell("train", f"--profile={value}")
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "FIRST:LAST" in answer.err[0]
  assert value in answer.err[1]


def test_a_profile_of_several_seeds_is_three_lines(shell):
  answer = shell("train", "--profile=1:2", "--seeds=2")
  assert (answer.code, len(answer.err)) == (2, 3)


def test_a_profile_traces_steps_of_the_run(tiny, tmp_path):
  experiment.train(tiny(), tmp_path, profile=(1, 2), progress=False)
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))
