import itertools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dlcore import experiment, trees
from dlcore.errors import UserError
from dlcore.training import checkpoint

CLASSES = ("cat", "dog")


def pictures(folder, count=12, size=8):
  for label, name in enumerate(CLASSES):
    (folder / name).mkdir(parents=True)
    for i in range(count):
      pixels = np.full((size, size), 40 + 150 * label + i, np.uint8)
      Image.fromarray(pixels).save(folder / name / f"{i}.png")
  return folder


def table(path, target):
  numbers = np.random.default_rng(0).normal(size=(60, 2)).round(3)
  rows = [f"{x},{y},{target(x, y)}" for x, y in numbers]
  path.write_text("\n".join(["x,y,answer", *rows]) + "\n")
  return path


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  """Data of the user's own, and a cache that is not the user's."""
  root = tmp_path_factory.mktemp("data")
  pictures(root / "pictures")
  table(root / "classes.csv", lambda x, y: "up" if x + y > 0 else "down")
  table(root / "numbers.csv", lambda x, y: f"{x - 2 * y:.4f}")
  return root


@pytest.fixture
def sections(places, tmp_path):
  """The sections of a tiny run on each kind of data."""
  own = {"batch_size": 8, "cache_dir": str(tmp_path / "cache")}
  answer = {**own, "target": "answer"}
  numbers = {**answer, "path": str(places / "numbers.csv")}
  return {
    "digits": {"data": {"name": "digits"}},
    "image_folder": {
      "data": {
        **own,
        "name": "image_folder",
        "path": str(places / "pictures"),
      },
    },
    "table_of_classes": {
      "data": {
        **answer,
        "name": "table_csv",
        "path": str(places / "classes.csv"),
      },
    },
    "table_of_numbers": {
      "data": {**numbers, "name": "table_csv"},
      "task": {"name": "regression"},
    },
  }


@pytest.fixture(scope="module")
def digits(tiny, tmp_path_factory):
  """A finished run: its folder and its summary."""
  workdir = tmp_path_factory.mktemp("runs") / "digits"
  return workdir, experiment.train(tiny(), workdir, progress=False)


@pytest.fixture
def copy(digits, tmp_path):
  """A copy of the run, elsewhere."""
  return shutil.copytree(digits[0], tmp_path / "moved" / "run")


KINDS = ("digits", "image_folder", "table_of_classes", "table_of_numbers")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_trained_evaluated_and_told_from_its_folder(
  kind, sections, tiny, tmp_path
):
  workdir = tmp_path / "run"
  result = experiment.train(tiny(**sections[kind]), workdir, progress=False)
  assert result == experiment.RunFolder(workdir).read("summary.json")
  found = experiment.evaluate(workdir)
  for name, value in result["metrics"].items():
    split, metric = name.split("/")
    if split == "test":
      assert found[metric] == pytest.approx(value, rel=1e-5)
  path = sections[kind]["data"].get("path")
  if path:
    rows = list(experiment.predict(workdir, [path]))
    assert len(rows) == (24 if kind == "image_folder" else 60)
    wanted = "prediction" if kind == "table_of_numbers" else "label"
    assert all(wanted in row for row in rows)
  assert (workdir / "report.html").is_file()
  words = experiment.table(result, workdir)
  assert f"--workdir={workdir}" in words
  assert "test" in words


def test_the_same_command_again_tells_the_result_and_changes_nothing(
  copy, tiny, digits
):
  log = (copy / "metrics.jsonl").read_bytes()
  assert experiment.train(tiny(), copy, progress=False) == digits[1]
  assert (copy / "metrics.jsonl").read_bytes() == log


def test_a_run_is_prolonged_where_the_schedule_allows_it(copy, tiny):
  longer = tiny(training={"steps": 5})
  assert experiment.train(longer, copy, progress=False)["step"] == 5
  with pytest.raises(UserError, match=r"training\.steps: 5 in the run, 3 now"):
    experiment.train(tiny(), copy, progress=False)


def test_a_run_of_a_fixed_length_is_not_prolonged(tiny, tmp_path):
  optim = {"schedule": {"name": "warmup_cosine"}}
  experiment.train(tiny(optim=optim), tmp_path / "run", progress=False)
  with pytest.raises(UserError, match=r"training\.steps: 3 in the run, 4 now"):
    experiment.train(tiny(optim=optim, training={"steps": 4}), tmp_path / "run")


def test_another_config_is_refused_with_the_names_first(copy, tiny):
  other = experiment.rename(tiny(seed=1), "model", "lenet5")
  with pytest.raises(UserError) as error:
    experiment.train(other, copy)
  told = error.value.lines[1]
  assert told.startswith("model.name: 'mlp' in the run, 'lenet5' now; ")


def test_data_may_move_but_not_change(sections, tiny, tmp_path, places):
  workdir, config = tmp_path / "run", sections["table_of_classes"]
  experiment.train(tiny(**config), workdir, progress=False)
  moved = shutil.copy(places / "classes.csv", tmp_path / "moved.csv")
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


def test_a_moved_folder_predicts_the_same(digits, copy, places):
  paths = [str(places / "pictures")]
  before = list(experiment.predict(digits[0], paths))
  assert len(before) == 24
  assert list(experiment.predict(copy, paths)) == before
  assert sum(before[0]["probabilities"].values()) == pytest.approx(1)


def test_what_cannot_be_read_has_its_line(copy, places, tmp_path, shell):
  (tmp_path / "note.txt").write_text("hello")
  picture = str(places / "pictures" / "cat" / "0.png")
  answer = shell("predict", f"--workdir={copy}", picture, "note.txt")
  rows = [json.loads(line) for line in answer.out.splitlines()]
  assert answer.code == 1
  assert sorted("error" in row for row in rows) == [False, True]
  assert "got 1 that cannot" in answer.err[1]


def test_evaluate_ends_in_a_json_object(copy, shell):
  answer = shell("evaluate", f"--workdir={copy}", "--split=train")
  assert answer.code == 0
  assert json.loads(answer.out.splitlines()[-1])["split"] == "train"


def test_a_broken_summary_is_made_again(copy, tiny, digits):
  (copy / "summary.json").write_text('{"finished": true, "step": 3')
  again = experiment.train(tiny(), copy, progress=False)
  assert again["metrics"] == pytest.approx(digits[1]["metrics"])


def test_a_damaged_checkpoint_is_passed_over(copy):
  newest = max(int(p.name) for p in (copy / "checkpoints").iterdir())
  manifest = copy / "checkpoints" / str(newest) / "sha256.json"
  manifest.write_text(manifest.read_text().replace("a", "b"))
  assert experiment.evaluate(copy)["step"] < newest
  with pytest.raises(UserError, match="undamaged"):
    experiment.evaluate(copy, step=newest)


def damage(step):
  (step / "sha256.json").write_text("{}")


def move(step):
  step.rename(step.with_name("5000"))


@pytest.mark.parametrize("harm", [damage, move])
def test_the_last_checkpoint_of_a_finished_run_is_made_again(
  copy, tiny, digits, harm
):
  folder = copy / "checkpoints"
  step = digits[1]["step"]
  before = checkpoint.read(folder, step)
  harm(folder / str(step))
  again = experiment.train(tiny(), copy, progress=False)
  assert again["metrics"] == digits[1]["metrics"]
  now = trees.flatten(checkpoint.read(folder, step))
  for path, leaf in trees.flatten(before).items():
    assert leaf.tobytes() == now[path].tobytes(), path


def test_a_finished_run_needs_no_checkpoints(copy, tiny, digits):
  shutil.rmtree(copy / "checkpoints")
  assert experiment.train(tiny(), copy, progress=False) == digits[1]


def edit(name, **changes):
  def apply(run):
    content = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps({**content, **changes}))

  return apply


def link(run):
  shutil.move(run / "config.json", run / "other.json")
  (run / "config.json").symlink_to("other.json")


def write(name, text):
  return lambda run: (run / name).write_text(text)


HARM = {
  "broken config": (write("config.json", "{"), "config.json"),
  "foreign config": (write("config.json", '{"a": 1}'), "config.a"),
  "config of another model": (
    edit("config.json", model={"name": "mlp", "widths": [9]}),
    "dense_0",
  ),
  "linked config": (link, "a link"),
  "no config": (lambda run: (run / "config.json").unlink(), "config.json"),
  "no data": (lambda run: (run / "assets/data.json").unlink(), "data.json"),
  "list": (write("assets/data.json", "[1]"), "no JSON object"),
  "nothing": (write("assets/data.json", "{}"), "name=None"),
  "shape": (edit("assets/data.json", shape=[10**6, 10**6, 1]), "shape="),
  "shape of another kind": (edit("assets/data.json", shape=7), "int"),
  "shape of another model": (
    edit("assets/data.json", shape=[4, 4, 1]),
    "dense_0",
  ),
  "input": (edit("assets/data.json", input="x"), "input='x'"),
  "dtype": (edit("assets/data.json", dtype="O"), "dtype='O'"),
  "normalization": (
    edit("assets/data.json", normalization={"mean": ["a"], "std": [1]}),
    "normalization=",
  ),
}


@pytest.mark.parametrize(("harm", "hint"), HARM.values(), ids=HARM)
def test_a_harmed_folder_is_told_and_left_alone(harm, hint, copy, places):
  (copy / "sha256.json").unlink()  # Its sums would tell before.
  harm(copy)
  files = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
  for use in (
    lambda: experiment.evaluate(copy),
    lambda: list(experiment.predict(copy, [str(places / "pictures")])),
  ):
    with pytest.raises(UserError) as error:
      use()
    assert hint in str(error.value)
    assert len(error.value.lines) == 3
  now = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
  assert now == files


@pytest.mark.parametrize("name", ["config.json", "assets/data.json"])
def test_a_changed_file_is_known_by_its_sum(name, copy, places):
  content = (copy / name).read_text()
  # Still valid: another rate in the one, another mean in the other.
  digit = next(i for i in range(len(content) - 1, 0, -1) if content[i] == "0")
  (copy / name).write_text(content[:digit] + "1" + content[digit + 1 :])
  for use in (
    lambda: experiment.evaluate(copy),
    lambda: list(experiment.predict(copy, [str(places / "pictures")])),
  ):
    with pytest.raises(UserError, match=name):
      use()
  (copy / name).write_text(content)
  experiment.evaluate(copy)


def test_names_for_other_classes_are_told(copy, places):
  (copy / "sha256.json").unlink()
  edit("assets/data.json", classes=["a", "b"])(copy)
  with pytest.raises(UserError, match="head"):
    next(experiment.predict(copy, [str(places / "pictures")]))


@pytest.mark.parametrize(
  ("arguments", "hint"),
  [
    ([], "--workdir"),
    (["--workdir=nowhere"], "finished checkpoint"),
    (["--workdir=run", "--split=tset"], "'test'"),
    (["--workdir=run", "--step=99"], "99"),
    (["--workdir=run", "--step=x"], "int"),
    (["--workdir=run", "stray"], "'stray'"),
  ],
)
def test_what_evaluate_cannot_do_is_told(
  arguments, hint, shell, copy, tmp_path
):
  (tmp_path / "run").symlink_to(copy)
  answer = shell("evaluate", *arguments)
  assert answer.code == 1
  assert len(answer.err) <= 3
  assert hint in "\n".join(answer.err)


def test_a_split_that_the_data_lacks_is_told(tiny, tmp_path):
  config = tiny(data={"name": "digits", "valid_fraction": 0})
  experiment.train(config, tmp_path / "run", progress=False)
  with pytest.raises(UserError, match="train, test"):
    experiment.evaluate(tmp_path / "run", "valid")


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_workdir_that_cannot_be_written_is_told(name, tiny, tmp_path):
  (tmp_path / "file").write_text("mine")
  with pytest.raises(UserError, match="can be written") as error:
    experiment.train(tiny(), tmp_path / name)
  assert error.value.lines[2] == "choose another --workdir"
  assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_with_a_config_of_something_else_is_left_alone(tiny, tmp_path):
  (tmp_path / "config.json").write_text('{"mine": 1}')
  with pytest.raises(UserError, match=r"config\.mine"):
    experiment.train(tiny(), tmp_path)
  assert (tmp_path / "config.json").read_text() == '{"mine": 1}'


def test_a_run_without_its_config_is_not_taken_over(copy, tiny):
  (copy / "config.json").unlink()
  with pytest.raises(UserError, match=r"config\.json"):
    experiment.train(tiny(seed=9), copy)
  assert not (copy / "config.json").exists()


def test_a_report_is_of_a_run_only(shell, tmp_path, copy):
  for folder in ("nowhere", str(tmp_path)):
    answer = shell("report", folder)
    assert answer.code == 1
    assert len(answer.err) == 3
  assert shell("report", str(copy)).code == 0


def test_a_summary_of_the_plan_makes_no_folder(shell, tmp_path):
  answer = shell("train", "--summary", "--config.scale.devices=1")
  assert answer.code == 0
  assert "steps" in answer.out
  assert not list(tmp_path.iterdir())


def test_the_plateau_of_a_config_lowers_the_rate(tmp_path):
  schedule = {"name": "plateau", "factor": 0.5, "patience": 1}
  config = experiment.complete(
    {
      "data": {"name": "digits", "batch_size": 64},
      "model": {"name": "mlp", "widths": (8,)},
      "training": {"steps": 150, "eval_every": 5, "log_every": 5},
      "optim": {"learning_rate": 0.05, "schedule": schedule},
    }
  )
  experiment.train(config, tmp_path, progress=False)
  text = (tmp_path / "metrics.jsonl").read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
  assert rates[0] == np.float32(0.05)
  assert rates[-1] < 0.04
  assert all(later <= rate for rate, later in itertools.pairwise(rates))
