"""Runs scripts inside the test's process, and makes tiny configs."""

import logging
import runpy
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from absl import flags
from PIL import Image

from dlcore import command, experiment, status_line

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
  code: int
  out: str
  err: list[str]
  """The lines on standard error."""


@pytest.fixture
def shell(monkeypatch, capsys, tmp_path):
  """Runs a script: `shell("train", "--workdir=DIR") -> Answer`.

  Its flags and the loggers that it configures are reset after the test.
  """
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
  monkeypatch.setenv("DLCORE_CACHE", str(tmp_path / "cache"))
  monkeypatch.chdir(tmp_path)
  # A slow machine adds no lines to the messages.
  monkeypatch.setattr(status_line, "LONG_SECONDS", 600.0)

  def call(script: str, *arguments: str, main=None) -> Answer:
    known = set(flags.FLAGS)
    takes_config = script in ("train", "lr_find")
    config = "configs/digits_cnn.py" if takes_config else None
    path = ROOT / "experiments" / f"{script}.py"
    try:
      main = main or runpy.run_path(str(path), run_name=script)["main"]
      code = command.call(main, [str(path), *arguments], config=config)
    finally:
      for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)
      flags.FLAGS.unparse_flags()
    captured = capsys.readouterr()
    return Answer(code, captured.out, captured.err.splitlines())

  loggers = [
    logging.getLogger(n) for n in (None, "dlcore", "absl", "orbax", "jax")
  ]
  before = [(log, log.level, log.propagate, log.handlers[:]) for log in loggers]
  yield call
  for log, level, propagate, handlers in before:
    log.setLevel(level)
    log.propagate = propagate
    log.handlers[:] = handlers


@pytest.fixture(scope="session")
def tiny():
  """Returns a complete config of few steps: `tiny(data={...}, seed=3)`."""

  def make(**sections):
    small = {
      "model": {"name": "mlp", "widths": (8,)},
      "optim": {"schedule": {"name": "constant"}},
      # With an interval, every save is written, at any load of the machine.
      "training": {"steps": 3, "eval_every": 1, "checkpoint_every": 1},
      "sharding": {"devices": 1},
    }
    for section, values in sections.items():
      both = isinstance(values, dict) and section in small
      small[section] = {**small[section], **values} if both else values
    return experiment.complete(small)

  return make


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
def user_data(tmp_path_factory):
  """The folder of images and tables of a user."""
  root = tmp_path_factory.mktemp("data")
  pictures(root / "pictures")
  table(root / "classes.csv", lambda x, y: "up" if x + y > 0 else "down")
  table(root / "numbers.csv", lambda x, y: f"{x - 2 * y:.4f}")
  return root


@pytest.fixture(scope="module")
def digits(tiny, tmp_path_factory):
  """A finished run: its folder and its summary."""
  workdir = tmp_path_factory.mktemp("runs") / "digits"
  return workdir, experiment.train(tiny(), workdir, progress=False)


@pytest.fixture
def copy(digits, tmp_path):
  """A copy of the run in another folder."""
  return shutil.copytree(digits[0], tmp_path / "moved" / "run")
