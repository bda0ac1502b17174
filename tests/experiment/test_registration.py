"""Own parts join the tables from the flag `--import` only."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import dlcore
from dlcore import experiment
from dlcore.experiment import registration

ROOT = Path(__file__).parents[2]

MODULE = """
from flax import linen as nn

class Wide(nn.Module):
  num_classes: int
  width: int = 4

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.relu(nn.Dense(self.width)(x.reshape(x.shape[0], -1)))
    return nn.Dense(self.num_classes)(x)

MODELS = {"NAME": Wide}
"""

FIT = """
from dlcore import data, experiment, models, tasks, training, optim

def parts(width):
  splits = data.load("digits")
  model = models.create("mlp", widths=(width,), num_classes=10)
  schema = splits.train.info.schema
  task = tasks.classification(model, normalization=schema.normalization)
  return experiment.Parts(task, splits, model)

def train(workdir):
  task, splits, _ = parts(8)
  tx = optim.create("adam", learning_rate=1e-2)
  training.fit(
    task, tx, splits.train, splits.valid, steps=3, workdir=workdir,
    settings={"width": 8}, progress=False,
  )
"""

ARGUMENTS = (
  "--config.training.steps=1",
  "--config.sharding.devices=1",
  "--workdir=run",
)


@pytest.fixture
def write(tmp_path, monkeypatch):
  """Writes a module in the current folder; tables are restored afterwards."""
  monkeypatch.setattr(sys, "path", [*sys.path])
  before = {key: dict(table) for key, table in registration.TABLES.items()}

  def make(name: str, text: str) -> str:
    (tmp_path / f"{name}.py").write_text(text)
    return name

  yield make
  for key, table in registration.TABLES.items():
    table.clear()
    table.update(before[key])
  for name in experiment.imported_modules():
    sys.modules.pop(name, None)
  registration.forget()


@pytest.mark.slow
def test_an_imported_model_is_trained_and_its_module_is_recorded(
  write, shell, tmp_path
):
  write("own_wide", MODULE.replace("NAME", "wide"))
  flags = ("--import=own_wide", "--config.model.name=wide")
  answer = shell("train", *flags, "--config.model.width=3", *ARGUMENTS)
  assert answer.code == 0, answer.err
  config = json.loads((tmp_path / "run/config.json").read_text())
  assert config["imports"] == ["own_wide"]
  assert config["model"] == {"name": "wide", "width": 3}
  answer = shell("evaluate", "--workdir=run", "--import=own_wide")
  assert answer.code == 0, answer.err


@pytest.mark.slow
def test_a_run_folder_imports_nothing_by_itself(write, shell, tmp_path):
  write("own_wide", MODULE.replace("NAME", "wide"))
  flags = ("--import=own_wide", "--config.model.name=wide")
  assert shell("train", *flags, *ARGUMENTS).code == 0
  registration.TABLES["MODELS"].pop("wide")
  registration.forget()
  sys.modules.pop("own_wide")
  answer = shell("evaluate", "--workdir=run")
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "--import=own_wide" in answer.err[2]
  assert "own_wide" not in sys.modules


@pytest.mark.slow
def test_the_module_of_the_readme_is_trained_with_every_table(
  write, shell, tmp_path
):
  readme = (ROOT / "README.md").read_text()
  (text,) = re.findall(r'```py\n("""my_parts.py.*?)```', readme, re.DOTALL)
  write("my_parts", text)
  names = ("model=wide", "data=stripes", "optim=sign_sgd", "task=smooth")
  keys = [name.replace("=", ".name=") for name in names]
  keys += ["optim.schedule.name=parabola", "data.augment.invert=0.5"]
  keys += ["task.metrics=doubtful"]
  overrides = [f"--config.{key}" for key in keys]
  answer = shell("train", "--import=my_parts", *overrides, *ARGUMENTS)
  assert answer.code == 0, answer.err
  config = json.loads((tmp_path / "run/config.json").read_text())
  assert config["task"]["label_smoothing"] == 0.2
  tables = re.findall(r"^([A-Z]+) = {", text, re.MULTILINE)
  others = {"MIXTURES", "SCHEMAS", "TOKEN_AUGMENTATIONS"}
  assert set(tables) >= set(registration.TABLES) - others


@pytest.mark.parametrize(
  ("text", "hint"),
  [
    ("MODEL = {}", "'MODELS'"),
    ("MODELS = 3", "a dict of rows"),
    ("MODELS = {'mlp': len}", "'mlp', which dlcore has already"),
    ("MODELS = {'own': 3}", "MODELS['own']"),
    ("TASKS = {'own': len}", "a tasks.TaskKind"),
    ("AUGMENTATIONS = {'own': len}", "a pair (off value, function)"),
    ("1 / 0", "ZeroDivisionError: division by zero in line 1"),
    ("import nowhere_to_find", "No module named 'nowhere_to_find'"),
    ("def f(", "SyntaxError"),
    ("raise SystemExit", "SystemExit"),
  ],
)
def test_a_wrong_module_is_three_lines(write, shell, text, hint):
  name = write("own_wrong", text)
  answer = shell("train", f"--import={name}")
  sys.modules.pop(name, None)
  assert answer.code == 2
  assert len(answer.err) <= 3
  assert hint in "\n".join(answer.err)


@pytest.mark.parametrize("name", ["nowhere.parts", "", "a b", "../x", ".x"])
def test_a_missing_module_is_three_lines(shell, name):
  answer = shell("train", f"--import={name}")
  assert answer.code == 2
  assert len(answer.err) <= 3


@pytest.mark.slow
def test_every_script_reads_a_run_of_fit_with_its_parts(
  write, shell, tmp_path, user_data
):
  name = write("own_fit", FIT)
  flag = f"--import={name}"
  sys.path.append(str(tmp_path))
  module = __import__(name)
  module.train("run")
  answer = shell("evaluate", "--workdir=run")
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "--import=MODULE" in answer.err[0]
  answer = shell("evaluate", "--workdir=run", flag)
  assert answer.code == 0, answer.err
  assert "accuracy" in json.loads(answer.out.splitlines()[-1])
  picture = str(user_data / "pictures/cat/0.png")
  answer = shell("predict", "--workdir=run", flag, picture)
  assert answer.code == 0, answer.err
  assert len(json.loads(answer.out)["probabilities"]) == 10
  for format_name, output in (("safetensors", "out"), ("stablehlo", "out.hlo")):
    formats = (f"--format={format_name}", f"--output={output}")
    answer = shell("export", "--workdir=run", flag, *formats)
    assert answer.code == 0, answer.err
  assert shell("report", "run").code == 0
  answer = shell("train", "--workdir=run")
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "training.fit" in answer.err[1]


def test_a_loaded_run_predicts_and_evaluates(copy, user_data):
  run = dlcore.load(copy)
  assert run.classes == tuple(map(str, range(10)))
  paths = sorted((user_data / "pictures/cat").iterdir())
  rows = run.predict(paths)
  assert rows == list(experiment.predict(copy, list(map(str, paths))))
  images = np.zeros((300, 8, 8, 1), np.uint8)
  labels = [row["label"] for row in run.predict(images)]
  assert len(labels) == 300
  assert len(set(labels)) == 1
  assert run.predict({"image": images[:2]})[1]["input"] == "1"
  assert run.evaluate() == experiment.evaluate(copy)
  with pytest.raises(dlcore.errors.UserError, match="image of shape"):
    run.predict(np.zeros((8, 8, 1)))
