"""The scripts, run inside the test's process, and tiny experiments."""

import logging
import runpy
from pathlib import Path
from typing import NamedTuple

import pytest
from absl import flags

from dlcore import command, experiment

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
  code: int
  out: str
  err: list[str]
  """The lines on standard error."""


@pytest.fixture
def shell(monkeypatch, capsys, tmp_path):
  """Runs a script: `shell("train", "--workdir=DIR") -> Answer`.

  Neither its flags nor what the shell sets up outlive the call.
  """
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
  monkeypatch.setenv("DLCORE_CACHE", str(tmp_path / "cache"))
  monkeypatch.chdir(tmp_path)

  def call(script: str, *arguments: str, main=None) -> Answer:
    known = set(flags.FLAGS)
    config = "configs/digits_cnn.py" if script == "train" else None
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
  """Makes a complete config of few steps: `tiny(data={...}, seed=3)`."""

  def make(**sections):
    small = {
      "model": {"name": "mlp", "widths": (8,)},
      "optim": {"schedule": {"name": "constant"}},
      # All of them are written, however busy the machine is.
      "training": {"steps": 3, "eval_every": 1, "checkpoint_every": 1},
      "scale": {"devices": 1},
    }
    for section, values in sections.items():
      both = isinstance(values, dict) and section in small
      small[section] = {**small[section], **values} if both else values
    return experiment.complete(small)

  return make
