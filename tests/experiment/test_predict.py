"""Predictions have the order of the inputs, and files of them are complete."""

import csv
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dlcore import data, experiment, tasks
from dlcore.data.array_schema import ArraySchema
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.tables.table_schema import TableSchema
from dlcore.errors import UserError
from dlcore.experiment import prediction, prediction_file
from dlcore.experiment.prediction_file import flatten_fields
from dlcore.experiment.restoring import RestoredRun
from dlcore.task import Task

CLASSES = ("cat", "dog")
KINDS = {
  "images": (ImageSchema, {"image": ((2, 2, 1), "uint8")}),
  "tables": (TableSchema, {"features": ((2,), "float32")}),
  "arrays": (ArraySchema, {"x": ((2,), "float32")}),
}


def probabilities(params, model_state, batch, key):
  """Returns the mean of an input as the probability of "dog"."""
  del params, model_state, key
  [name] = set(batch) - {"index"}
  values = batch[name].astype(jnp.float32)
  share = values.reshape(len(values), -1).mean(-1) / 255
  share = jnp.where(share == 1, jnp.nan, share)
  return {"probabilities": jnp.stack([1 - share, share], -1)}


@pytest.fixture
def use_run(monkeypatch, tmp_path):
  """Replaces the run of any folder: `use_run("images")`."""

  def use(kind):
    schema, inputs = KINDS[kind]
    [name] = inputs
    columns = {"columns": ("x", "y")} if kind == "tables" else {}
    info = data.DataInfo(
      name=kind,
      size=1,
      sha256="",
      inputs=inputs,
      notes=(),
      schema=schema(input=name, target="label", classes=CLASSES, **columns),
    )
    unused = dict.fromkeys(("init", "loss", "evaluate"))
    run = RestoredRun(
      folder=experiment.RunFolder(tmp_path),
      config={},
      info=info,
      model=None,
      task=Task(**unused, predict=probabilities),
      params={},
      model_state={},
      to_json=tasks.TASKS["classification"].to_json,
    )
    for module in (prediction, prediction_file):
      monkeypatch.setattr(module, "restore_run", lambda workdir, step: run)

  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(prediction, "ROWS", 3)
  return use


def picture(path, value):
  Image.fromarray(np.full((2, 2), value, np.uint8)).save(path)


def inputs(rows):
  return [row["input"] for row in rows]


def test_unreadable_files_keep_their_place(use_run, tmp_path):
  use_run("images")
  names = ["d.png", "bad.png", "a.png", "d.png", "white.png", "bad.png"]
  for name in ("a.png", "d.png"):
    picture(tmp_path / name, 51)
  picture(tmp_path / "white.png", 255)
  (tmp_path / "bad.png").write_text("no picture")
  rows = list(experiment.predict("run", names))
  assert inputs(rows) == names
  assert ["error" in row for row in rows] == [0, 1, 0, 0, 1, 1]
  assert "not finite" in rows[4]["error"]
  assert rows[0]["label"] == "cat"


def test_malformed_rows_keep_their_place(use_run, tmp_path):
  use_run("tables")
  lines = ["x,y", "1,2", "a,2", "3", "5,6", "7,8", "x,", "1,1"]
  for name in ("b.csv", "a.csv"):
    (tmp_path / name).write_text("\n".join(lines) + "\n")
  rows = list(experiment.predict("run", ["b.csv", "a.csv"]))
  expected = [f"{name}:{i}" for name in ("b.csv", "a.csv") for i in range(2, 9)]
  assert inputs(rows) == expected
  bad = [row["input"] for row in rows if "error" in row]
  assert bad[:3] == ["b.csv:3", "b.csv:4", "b.csv:7"]


def test_bad_rows_of_arrays_keep_their_place(use_run, tmp_path):
  use_run("arrays")
  values = np.arange(16, dtype=np.float32).reshape(8, 2)
  values[[1, 5]] = np.nan
  np.savez(tmp_path / "a.npz", x=values)
  (tmp_path / "bad.npz").write_text("no archive")
  rows = list(experiment.predict("run", ["bad.npz", "a.npz"]))
  assert inputs(rows) == ["bad.npz", *(f"a.npz[{i}]" for i in range(8))]
  assert [i for i, row in enumerate(rows) if "error" in row] == [0, 2, 6]


def test_a_file_whose_name_ends_like_a_row_is_a_file(use_run, tmp_path):
  use_run("images")
  for name in ("a:1", "a[0]", "a"):
    Image.new("L", (2, 2)).save(tmp_path / name, format="png")
  names = ["a[0]", "a", "a:1"]
  experiment.write_predictions("run", names, "out.csv")
  with (tmp_path / "out.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [(row["path"], row["row"]) for row in rows] == [(n, "") for n in names]


def test_a_file_holds_the_lines_of_the_terminal(use_run, tmp_path):
  use_run("tables")
  (tmp_path / "t.csv").write_text("x,y\n1,2\na,2\n200,100\n")
  lines = list(experiment.predict("run", ["t.csv"]))
  written = experiment.write_predictions("run", ["t.csv"], "out.jsonl")
  assert written == (3, 1)
  text = (tmp_path / "out.jsonl").read_text()
  assert list(map(json.loads, text.splitlines())) == lines
  experiment.write_predictions("run", ["t.csv"], "out.csv")
  with (tmp_path / "out.csv").open() as file:
    first, bad, last = csv.DictReader(file)
  assert (first["path"], first["row"], first["label"]) == ("t.csv", "2", "cat")
  assert last["label"] == "dog"
  for name in CLASSES:
    cell = float(last[f"probabilities.{name}"])
    assert cell == lines[2]["probabilities"][name]
  assert (bad["row"], bad["label"], bad["error"]) == (
    "3",
    "",
    lines[1]["error"],
  )


def test_a_csv_file_of_errors_has_all_columns(use_run, tmp_path):
  use_run("images")
  (tmp_path / "bad.png").write_text("")
  experiment.write_predictions("run", ["bad.png"], "out.csv")
  header = (tmp_path / "out.csv").read_text().splitlines()[0]
  assert header == (
    "path,row,label,probability,probabilities.cat,probabilities.dog,error"
  )


def test_labels_and_arrays_are_cells():
  fields = {
    "labels": ["a", "b"],
    "none": [],
    "logits": [1.5, 2],
    "probabilities": {"a": 0.5, "b": {"c": 1}},
  }
  assert flatten_fields(fields) == {
    "labels": "a;b",
    "none": "",
    "logits": "[1.5, 2]",
    "probabilities.a": 0.5,
    "probabilities.b.c": 1,
  }


@pytest.mark.parametrize(
  ("output", "match"),
  [
    ("folder.csv", "got a folder"),
    ("missing/out.csv", "No such file or directory"),
    ("a.png/out.csv", "Not a directory"),
    ("out.txt", "FILE.csv or FILE.jsonl"),
    ("in.csv", "which would be replaced"),
    ("./in.csv", "which would be replaced"),
  ],
)
def test_an_output_that_cannot_be_written_is_refused_first(
  tmp_path, monkeypatch, output, match
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "folder.csv").mkdir()
  (tmp_path / "in.csv").write_text("x\n")
  picture(tmp_path / "a.png", 1)
  before = sorted(tmp_path.rglob("*"))
  with pytest.raises(UserError, match=match) as error:
    experiment.write_predictions("no run", ["in.csv"], output)
  assert len(error.value.lines) <= 3
  assert sorted(tmp_path.rglob("*")) == before
  assert (tmp_path / "in.csv").read_text() == "x\n"


def test_an_interrupted_file_keeps_its_old_content(
  use_run, tmp_path, monkeypatch
):
  use_run("images")
  for i in range(7):
    picture(tmp_path / f"{i}.png", i)
  (tmp_path / "out.jsonl").write_text("old\n")
  decode = ImageSchema.decode

  def broken(schema, file, shape):
    if file.name == "5.png":
      raise UserError("expected a disk")
    return decode(schema, file, shape)

  monkeypatch.setattr(ImageSchema, "decode", broken)
  names = [f"{i}.png" for i in range(7)]
  with pytest.raises(UserError, match="a disk"):
    experiment.write_predictions("run", names, "out.jsonl")
  assert (tmp_path / "out.jsonl").read_text() == "old\n"
  assert not list(tmp_path.glob(".*"))


def test_hidden_files_and_the_output_are_no_inputs(use_run, tmp_path):
  use_run("images")
  for name in (".git/x.png", "__MACOSX/._1.png", ".y.png", "b/2.png", "1.png"):
    (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
    picture(tmp_path / "in" / name, 9)
  (tmp_path / "in" / "Thumbs.db").write_text("system")
  for _ in range(2):
    assert experiment.write_predictions("run", ["in"], "in/out.jsonl") == (2, 0)
  lines = (tmp_path / "in/out.jsonl").read_text().splitlines()
  assert inputs(map(json.loads, lines)) == ["in/1.png", "in/b/2.png"]


def test_predictions_are_made_batch_by_batch(use_run, tmp_path, monkeypatch):
  use_run("images")
  decoded = []
  monkeypatch.setattr(
    ImageSchema,
    "decode",
    lambda schema, file, shape: (
      decoded.append(file) or np.zeros((2, 2, 1), np.uint8)
    ),
  )
  for i in range(9):
    (tmp_path / f"{i}.png").touch()
  rows = experiment.predict("run", [str(tmp_path)])
  for _ in range(3):
    next(rows)
  assert len(decoded) == 3


@pytest.mark.slow
def test_the_script_writes_a_file(digits, user_data, shell, tmp_path):
  folder = shutil.copytree(user_data / "pictures", tmp_path / "in")
  command = ("predict", f"--workdir={digits[0]}", "in", "--output=out.csv")
  answer = shell(*command)
  assert answer.code == 0, answer.err
  assert answer.out == "24 predictions in out.csv\n"
  (folder / "cat" / "x.png").write_text("no picture")
  answer = shell(*command)
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "got 1 that cannot" in answer.err[1]
  with (tmp_path / "out.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [bool(row["error"]) for row in rows].index(True) == 12
  assert set(rows[0]) > {"path", "row", "label", "probabilities.0", "error"}
