"""Hostile run folders: evaluated, continued, exported and reported."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_inputs.case import (
  EXTREMES,
  Case,
  Kind,
  Script,
  digits,
  nested,
  write_json,
)
from hostile_inputs.mutations import mutate as mutate_folder

from dlcore import experiment, models, transfer
from dlcore.storage import manifest

CONFIG, DATA, SUMS = "config.json", "assets/data.json", "sha256.json"
SUMMARY = "summary.json"
ADAPTED = "adapted"
"""The run of adapters of published weights."""

INITIAL = ("assets/initial_weights.json", "assets/initialized.json")
"""Files of that run alone."""

CHECKED = (CONFIG, DATA, "checkpoints")


def write(
  folder: Path, generator: random.Random, valid: Path, name: str = ""
) -> Path:
  """Copies one of the valid runs, or the one of that name."""
  name = name or generator.choice((ADAPTED, "pictures", "table"))
  run = Path(shutil.copytree(valid / "runs" / name, folder / name))
  (folder / "runs").mkdir()
  return run


def use(run: Path, generator: random.Random, valid: Path, of: str = "") -> Case:
  """Returns a case that uses a run in one of the ways of a user.

  Args:
    run: its folder, named like the run that was copied.
    generator: chooses the way.
    valid: folder of the valid inputs.
    of: the ways, by default all; "finished" runs a script that has no step
      left to make.
  """
  output = str(run.parent / "output")
  inputs = valid / ("table.csv" if run.name == "table" else "pictures")
  way = generator.choice(of.split() or WAYS)
  where = f"--workdir={run}"
  match way:
    case "evaluate":
      return Case(lambda: experiment.evaluate(run))
    case "predict":
      return Case(Script("predict", (where, str(inputs))))
    case "report":
      return Case(Script("report", (str(run),)))
    case "compare":
      other = str(valid / "runs" / run.name)
      return Case(
        Script("report", (str(run), other, f"--output={output}.html"))
      )
    case "export":
      formats = ("safetensors", *["peft"] * 2 * (run.name == ADAPTED))
      to = f"--format={generator.choice(formats)}"
      return Case(Script("export", (where, to, f"--output={output}")))
    case "load":
      return Case(lambda: _load(run))
    case "finished":
      return Case(Script("train", _continued(run, valid, 3)))
    case _:
      return Case(Script("train", _continued(run, valid, 4)))


WAYS = ("evaluate", "evaluate", "predict", "report", "compare", "export",
        "load", "finished", "train")  # fmt: skip


def _load(run: Path) -> None:
  """Loads the weights of a run into a model."""
  import jax
  import numpy as np

  model = models.create("mlp", num_classes=3, widths=(8,))
  variables = jax.eval_shape(
    lambda: model.init(
      jax.random.key(0), np.zeros((1, 2), np.float32), train=False
    )
  )
  transfer.load_pretrained(run, model, variables)


def _continued(run: Path, valid: Path, steps: int) -> tuple[str, ...]:
  config = f"--config={valid / run.name}.py"
  return config, f"--workdir={run}", f"--config.training.steps={steps}"


def foreign_entries(
  folder: Path, generator: random.Random, valid: Path
) -> Case:
  """Files, links and folders among the checkpoints that no run writes."""
  run = write(folder, generator, valid)
  checkpoints = run / "checkpoints"
  names = (
    *("999", "999", "2.replaced", "3.replaced", "60.replaced", "x.replaced"),
    *(".replaced", ".replaced", ".replaced", "..replaced", "999.tmp", "٩٩٩"),
    *("٣", "²", "1" * 200, "007", "-1", "x"),
  )
  path = checkpoints / generator.choice(names)
  step = checkpoints / "3"
  match generator.randrange(7):
    case 0:
      path.write_text(generator.choice(("", "{}")))
    case 1:
      path.symlink_to(generator.choice((step, ".", path.name, "/", "nowhere")))
    case 2:
      path.mkdir()
    case 3:
      shutil.copytree(step, path)
    case 4:
      os.mkfifo(path)
    case 5:
      path.mkdir()
      (path / SUMS).write_text(generator.choice(("{", nested(100_000), "[]")))
    case _:
      path.mkdir()
      (path / SUMS).symlink_to(SUMS)
  return use(run, generator, valid, "train train train evaluate predict")


def text(folder: Path, generator: random.Random, valid: Path) -> Case:
  """JSON of great depth, or of another type, in any file."""
  run = write(folder, generator, valid)
  names = (CONFIG, DATA, SUMS, SUMMARY, "metrics.jsonl",
           f"checkpoints/3/{SUMS}", "checkpoints/3/checkpoint/_METADATA",
           "checkpoints/3/_CHECKPOINT_METADATA")  # fmt: skip
  of_adapters = INITIAL if run.name == ADAPTED else ()
  name = generator.choice((*names, *of_adapters))
  path = run / name
  if name in (CONFIG, DATA, *INITIAL):
    (run / SUMS).unlink()
  deep = nested(generator.choice((900, 5000, 100_000)))
  number = f'{{"step": {10**4000}, "split": "train", "loss": {"9" * 400}}}'
  extreme = json.dumps(generator.choice(EXTREMES[:10]))
  wrong = generator.choice((deep, f'{{"a": {deep}}}', number, extreme, "", "{"))
  lines = path.read_text() if name == "metrics.jsonl" else ""
  path.write_text(generator.choice((lines, wrong + "\n")) + wrong + "\n")
  return use(run, generator, valid)


def field(name: str) -> Callable[[Path, random.Random, Path], Case]:
  """Returns the generator of a run with an extreme value in a JSON file."""

  def make(folder: Path, generator: random.Random, valid: Path) -> Case:
    run = write(folder, generator, valid)
    content = json.loads((run / name).read_text())
    _change(content, generator)
    (run / SUMS).unlink()
    write_json(run / name, content)
    return use(run, generator, valid)

  return make


def summary(folder: Path, generator: random.Random, valid: Path) -> Case:
  """summary.json with another value, mostly of a metric."""
  run = write(folder, generator, valid)
  content = json.loads((run / SUMMARY).read_text())
  values = content["metrics"] if generator.random() < 0.7 else content
  _change(values, generator)
  (run / SUMS).unlink()
  write_json(run / SUMMARY, content)
  ways = "finished finished finished report compare train"
  return use(run, generator, valid, ways)


def config(folder: Path, generator: random.Random, valid: Path) -> Case:
  """config.json with a deep list, too large widths or too many digits."""
  run = write(folder, generator, valid, "table")
  content = json.loads((run / CONFIG).read_text())
  rates = ("l2", "l1", "clip_layer", "clip_norm", "learning_rate")
  section, key, value = generator.choice(
    (
      ("model", "widths", generator.choice(([10**30], 10**30, [2**31]))),
      ("model", "widths", [8] * 100_000),
      ("model", generator.choice(("widths", "x")), json.loads(nested(900))),
      ("optim", generator.choice(rates), abs(digits(generator))),
    )
  )
  content[section][key] = value
  (run / SUMS).unlink()
  write_json(run / CONFIG, content)
  return use(run, generator, valid, "evaluate predict export")


def _change(content: dict[str, Any], generator: random.Random) -> None:
  """Replaces a random value by an extreme one, and often an inner one."""
  key = generator.choice(sorted(content))
  if (
    isinstance(content[key], dict) and content[key] and generator.random() < 0.8
  ):
    _change(content[key], generator)
  else:
    sizes = ([10**30], [8] * 100_000, [2**31] * 3, digits(generator))
    content[key] = generator.choice((*EXTREMES, *sizes))


def shape(folder: Path, generator: random.Random, valid: Path) -> Case:
  """data.json with images of another size, which the parameters fit."""
  run = write(folder, generator, valid, "pictures")
  (run / SUMS).unlink()
  content = json.loads((run / DATA).read_text())
  size = generator.choice((2048, 2048, 8192, 16384))
  content["inputs"]["image"]["shape"] = [size, size, 1]
  write_json(run / DATA, content)
  return use(run, generator, valid, "predict evaluate export")


def claim(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A checkpoint with fitting sums whose array claims another shape."""
  import tensorstore as ts

  run = write(folder, generator, valid)
  for step in (run / "checkpoints").iterdir():
    base = {"driver": "ocdbt", "base": f"file://{step / 'checkpoint'}"}
    store = ts.KvStore.open(base).result()
    keys = [key for key in store.list().result() if key.endswith(b"/.zarray")]
    kernels = [key for key in keys if b"kernel" in key and b"params" in key]
    key = sorted(kernels or keys)[0]
    array = json.loads(store[key])
    columns = generator.choice((10**9, 10**7, 2**40))
    array["shape"] = [64, columns]
    if generator.random() < 0.5:
      array["chunks"] = [64, columns]
    store[key] = json.dumps(array).encode()
    del store
    (step / SUMS).unlink()
    manifest.write(step)
  return use(run, generator, valid, "evaluate predict load train")


def entries(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Links, loops, pipes and folders in place of the files of a run."""
  run = write(folder, generator, valid)
  names = ("config.json", "assets", "assets/data.json", "checkpoints",
           "checkpoints/3", "metrics.jsonl", SUMMARY, "tensorboard",
           "report.html", "assets/predictions.npz", SUMS)  # fmt: skip
  path = run / generator.choice(names)
  moved = run / "moved"
  if path.exists():
    path.rename(moved)
  match generator.randrange(6):
    case 0:
      path.symlink_to(moved)
    case 1:
      path.symlink_to(path.name)
    case 2:
      path.mkdir()
    case 3:
      os.mkfifo(path)
    case 4:
      path.write_bytes(b"")
    case _:
      path.symlink_to("/dev/zero")
  return use(run, generator, valid)


def archives(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Arrays of the report of another form, or pickles."""
  import numpy as np

  class Call:
    def __reduce__(self):
      return os.system, ("gs from a pickle",)

  run = write(folder, generator, valid)
  path = run / "assets/predictions.npz"
  with np.load(path) as file:
    arrays = dict(file)
  name = generator.choice(sorted(arrays))
  arrays[name] = generator.choice(
    (np.array([Call()], object), np.zeros((0, 3)), np.full((9, 9), np.nan),
     np.array("x"), np.array(10**18), np.zeros((3, 1000, 10)),
     np.atleast_1d(arrays[name])[:1])
  )  # fmt: skip
  (run / SUMS).unlink()
  if generator.random() < 0.2:
    path.write_bytes(b"PK\5\6" + bytes(18))
  else:
    np.savez(path, **arrays)
  return use(run, generator, valid, "report compare")


def metrics(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Lines of metrics.jsonl of another form."""
  run = write(folder, generator, valid)
  values = (*EXTREMES[:10], -1, 10**30, 1e300, float("nan"), "1", 10**9)
  lines = []
  for step in range(generator.choice((3, 3, 20_000))):
    line = {"step": step, "split": "train", "loss": 0.5}
    line[generator.choice(sorted(line))] = generator.choice(values)
    line[generator.choice(("valid/x", "<b>", "", "loss"))] = generator.choice(
      values
    )
    lines.append(json.dumps(line))
  (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
  return use(run, generator, valid, "report compare train")


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A run of which a file was mutated."""
  run = write(folder, generator, valid)
  removes_sums = generator.random() < 0.5
  if removes_sums:
    (run / SUMS).unlink()
  chosen = mutate_folder(run, generator)
  case = use(run, generator, valid)
  names = {path.relative_to(run).as_posix() for path in chosen}
  covered = all(name.startswith(CHECKED) for name in names)
  if removes_sums or not covered:
    return case
  expected = json.loads((valid / "expected.json").read_text())[run.name]

  def silent(values: Any) -> str:
    """Compares the metrics, since checksums cover the mutated files."""
    if not isinstance(values, dict):
      return ""
    same = expected.get(str(values["step"])) == values
    return "" if same else f"other metrics after a change of {sorted(names)}"

  return case._replace(silent=silent)


KIND = Kind(
  {
    "entries among checkpoints": foreign_entries,
    "JSON": text,
    "config.json": config,
    "field of config.json": field(CONFIG),
    "field of data.json": field(DATA),
    "summary.json": summary,
    "shape of data.json": shape,
    "claim of a checkpoint": claim,
    "entries": entries,
    "arrays of the report": archives,
    "metrics": metrics,
  },
  mutate,
)
