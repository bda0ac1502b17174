"""Run folders whose files are damaged, edited or missing."""

import json
import shutil

import pytest

from dlcore import experiment
from dlcore.errors import UserError


def edit(name, **changes):
  def apply(run):
    content = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps({**content, **changes}))

  return apply


def edit_info(**changes):
  """Edits the description of the data: `schema` or the input `image`."""

  def apply(run):
    content = json.loads((run / "assets/data.json").read_text())
    schema = {**content["schema"], **changes.get("schema", {})}
    inputs = {**content["inputs"]["image"], **changes.get("image", {})}
    content |= {"schema": schema, "inputs": {"image": inputs}}
    (run / "assets/data.json").write_text(json.dumps(content))

  return apply


def link(run):
  shutil.move(run / "config.json", run / "other.json")
  (run / "config.json").symlink_to("other.json")


def write(name, text):
  return lambda run: (run / name).write_text(text)


DAMAGE = {
  "broken config": (write("config.json", "{"), "config.json"),
  "foreign config": (write("config.json", '{"a": 1}'), "config.a"),
  "config of another model": (
    edit("config.json", model={"name": "mlp", "widths": [9]}),
    "dense_0",
  ),
  "linked config": (link, "a link"),
  "no config": (lambda run: (run / "config.json").unlink(), "config.json"),
  "no data": (lambda run: (run / "assets/data.json").unlink(), "data.json"),
  "list": (write("assets/data.json", "[1]"), "of type list"),
  "nothing": (write("assets/data.json", "{}"), "input=None"),
  "shape": (edit_info(image={"shape": [10**6, 10**6, 1]}), "inputs="),
  "shape of another type": (edit_info(image={"shape": 7}), "inputs="),
  "shape of another model": (edit_info(image={"shape": [4, 4, 1]}), "dense_0"),
  "input": (edit_info(schema={"input": "x"}), "input='x'"),
  "dtype": (edit_info(image={"dtype": "O"}), "inputs="),
  "normalization": (
    edit_info(schema={"normalization": {"mean": ["a"], "std": [1]}}),
    "normalization=",
  ),
  "kind of data": (edit_info(schema={"kind": "audio"}), "kind="),
}


@pytest.mark.parametrize(("damage", "hint"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_folder_is_an_error_and_stays_as_it_is(
  damage, hint, copy, user_data
):
  (copy / "sha256.json").unlink()  # Otherwise the checksums differ first.
  damage(copy)
  files = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
  for use in (
    lambda: experiment.evaluate(copy),
    lambda: list(experiment.predict(copy, [str(user_data / "pictures")])),
  ):
    with pytest.raises(UserError) as error:
      use()
    assert hint in str(error.value)
    assert len(error.value.lines) == 3
  after = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
  assert after == files


@pytest.mark.parametrize(
  "widths", [[10**30], [1] * 100_000], ids=["31", "100,000"]
)
def test_a_model_that_no_machine_holds_is_refused(widths, copy):
  (copy / "sha256.json").unlink()
  edit("config.json", model={"name": "mlp", "widths": widths})(copy)
  with pytest.raises(UserError, match=r"expected model\.widths"):
    experiment.evaluate(copy)


def test_malformed_splits_are_an_error(copy):
  (copy / "sha256.json").unlink()
  edit("assets/data.json", splits={"test": 3})(copy)
  with pytest.raises(UserError, match="splits="):
    experiment.evaluate(copy)


@pytest.mark.parametrize("name", ["config.json", "assets/data.json"])
def test_a_changed_file_differs_from_its_checksum(name, copy, user_data):
  content = (copy / name).read_text()
  # Still valid: another rate in the one, another mean in the other.
  digit = next(i for i in range(len(content) - 1, 0, -1) if content[i] == "0")
  (copy / name).write_text(content[:digit] + "1" + content[digit + 1 :])
  for use in (
    lambda: experiment.evaluate(copy),
    lambda: list(experiment.predict(copy, [str(user_data / "pictures")])),
  ):
    with pytest.raises(UserError, match=name):
      use()
  (copy / name).write_text(content)
  experiment.evaluate(copy)


def test_names_of_other_classes_are_an_error(copy, user_data):
  (copy / "sha256.json").unlink()
  edit_info(schema={"classes": ["a", "b"]})(copy)
  edit("assets/data.json", class_counts=[])(copy)
  with pytest.raises(UserError, match="head"):
    next(experiment.predict(copy, [str(user_data / "pictures")]))
