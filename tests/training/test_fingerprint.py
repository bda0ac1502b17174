"""A run that continues with another training step is reported, once."""

import json
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore import optim, tasks, training
from dlcore.training import step_history
from dlcore.training.fingerprint import fingerprint
from dlcore.training.step import make_step

WARNING = "the training step differs"

PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
import test_fingerprint
print(test_fingerprint.step_fingerprint())
"""


class Linear(nn.Module):
  """A linear model with dropout of its input."""

  dropout: float

  @nn.compact
  def __call__(self, x, *, train):
    x = x.reshape(x.shape[0], -1)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(3, name="head")(x)


def parts(*, dropout=0.2, label_smoothing=0.1, weight_decay=1e-4, steps=None):
  """Returns a task and an optimizer, whose rate is constant without `steps`."""
  name = "cosine" if steps else "constant"
  rate = optim.schedule(name, learning_rate=0.02, steps=steps)
  return (
    tasks.classification(Linear(dropout), label_smoothing=label_smoothing),
    optim.create("adamw", learning_rate=rate, weight_decay=weight_decay),
  )


def step_fingerprint(**settings):
  """Returns the fingerprint of the step alone."""
  task, tx = parts(**settings)
  source = problem.source(8)
  batch = source.read(np.arange(4))
  state = jax.eval_shape(lambda: training.init_state(task, tx, batch))
  return fingerprint(jax.make_jaxpr(make_step(task, tx))(state, batch))


def fit(workdir, steps, *, model=None, **settings):
  """Continues a run up to `steps`."""
  return training.fit(
    *parts(**(model or {})),
    problem.source(20),
    steps=steps,
    workdir=workdir,
    progress=False,
    **{
      "batch_size": 4,
      "checkpoint_every": 1,
      "devices": jax.local_devices()[:1],
      "on_change": "warn",
      **settings,
    },
  )


def warnings(caplog):
  """Returns how often a change was reported, and forgets it."""
  count = sum(WARNING in record.getMessage() for record in caplog.records)
  caplog.clear()
  return count


def history(workdir):
  """Returns the entries of the record."""
  return json.loads((workdir / step_history.NAME).read_text())["steps"]


@pytest.mark.parametrize(
  "changed",
  [
    {"label_smoothing": 0.0},
    {"label_smoothing": 0.2},
    {"dropout": 0.3},
    {"weight_decay": 1e-3},
    {"steps": 40},
  ],
)
def test_every_setting_changes_the_fingerprint(changed):
  assert step_fingerprint(**changed) != step_fingerprint()


def test_equal_settings_have_equal_fingerprints():
  assert step_fingerprint() == step_fingerprint()


@pytest.mark.slow
def test_fingerprints_are_equal_in_all_processes():
  paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
  printed = [
    subprocess.run(
      [sys.executable, "-c", PROGRAM, *paths],
      capture_output=True,
      text=True,
      check=True,
      timeout=300,
      env={"PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"},
    ).stdout.strip()
    for seed in ("1", "2")
  ]
  assert printed == [step_fingerprint()] * 2


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32, jnp.bfloat16])
def test_numbers_count(dtype):
  def program(number):
    argument = jnp.ones(3, dtype)
    return fingerprint(jax.make_jaxpr(lambda x: x + number)(argument))

  numbers = [False, True] if dtype is bool else [1, 2, dtype(3), dtype(4)]
  assert len(set(map(program, numbers))) == len(numbers)


def test_the_length_of_a_schedule_counts():
  assert step_fingerprint(steps=20) == step_fingerprint(steps=20)
  assert step_fingerprint(steps=20) != step_fingerprint(steps=40)


def test_constants_count():
  def program(values):
    array = jnp.asarray(values)
    return fingerprint(jax.make_jaxpr(lambda x: x * array)(jnp.ones(3)))

  assert program([1.0, 2.0, 3.0]) == program([1.0, 2.0, 3.0])
  assert program([1.0, 2.0, 3.0]) != program([1.0, 2.0, 4.0])


def test_names_of_functions_and_weak_types_do_not_count():
  def first(x):
    return x + jax.jit(jnp.sin)(x)

  def second(y):
    return y + jax.jit(lambda y: jnp.sin(y))(y)

  for one in (1.0, np.float32(1)):
    assert fingerprint(jax.make_jaxpr(second)(one)) == fingerprint(
      jax.make_jaxpr(first)(np.float32(1))
    )


@pytest.mark.slow
@pytest.mark.parametrize(
  "changed",
  [{"label_smoothing": 0.0}, {"dropout": 0.3}, {"weight_decay": 1e-3}],
)
def test_a_changed_setting_warns_once(tmp_path, caplog, changed):
  fit(tmp_path, 1)
  assert warnings(caplog) == 0
  fit(tmp_path, 2, model=changed)
  assert warnings(caplog) == 1
  fit(tmp_path, 3, model=changed)
  assert warnings(caplog) == 0
  first, second = history(tmp_path)
  assert (first["step"], second["step"]) == (0, 1)


@pytest.mark.slow
def test_a_longer_run_does_not_warn(tmp_path, caplog):
  for steps in (1, 2, 2):  # The last one makes no step.
    fit(tmp_path, steps)
  assert warnings(caplog) == 0
  assert [entry["step"] for entry in history(tmp_path)] == [0]


@pytest.mark.slow
def test_a_longer_run_warns_if_the_schedule_has_changed(tmp_path, caplog):
  fit(tmp_path, 2, model={"steps": 2})
  fit(tmp_path, 4, model={"steps": 4})
  assert warnings(caplog) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
  "settings",
  [
    {"steps_per_call": 4},
    {"placement": "stream"},
    {"log_every": 3},
    {"eval_every": 2, "layer_statistics_every": 2},
  ],
)
def test_settings_of_the_loop_do_not_warn(tmp_path, caplog, settings):
  fit(tmp_path, 1, steps_per_call=1)
  fit(tmp_path, 9, **settings)
  assert warnings(caplog) == 0
  assert len(history(tmp_path)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
  "settings",
  [{"ema": 0.5}, {"accumulate": 2}, {"batch_size": 8}, {"spike_factor": 2.0}],
)
def test_settings_of_the_step_warn(tmp_path, caplog, settings):
  base = {"ema": 0.9, "spike_factor": 5.0}
  fit(tmp_path, 1, **base)
  fit(tmp_path, 2, **base | settings)
  assert warnings(caplog) == 1


@pytest.mark.slow
def test_other_devices_do_not_warn(tmp_path, caplog):
  fit(tmp_path, 1)
  fit(tmp_path, 2, devices=jax.local_devices()[:2])
  fit(tmp_path, 3, devices=jax.local_devices()[:1], compiler="pmap")
  assert warnings(caplog) == 0
  assert [entry["step"] for entry in history(tmp_path)] == [0, 1, 2]


ENTRY = {"sha256": "0", "versions": {"jax": "1"}, "devices": {"count": 1}}


def entries(workdir, *steps):
  """Records attempts, each `(step, sha256)`."""
  for step, sha256 in steps:
    step_history.record(workdir, step, ENTRY | {"sha256": sha256})
  return [(entry["step"], entry["sha256"]) for entry in history(workdir)]


def test_a_repeated_attempt_does_not_warn_again(tmp_path, caplog):
  assert entries(tmp_path, (0, "a"), (5, "b")) == [(0, "a"), (5, "b")]
  assert warnings(caplog) == 1
  assert entries(tmp_path, (5, "b")) == [(0, "a"), (5, "b")]
  assert warnings(caplog) == 0


def test_a_change_that_is_taken_back_leaves_no_entry(tmp_path, caplog):
  entries(tmp_path, (0, "a"), (5, "b"))
  caplog.clear()
  assert entries(tmp_path, (5, "a")) == [(0, "a")]
  assert warnings(caplog) == 0


def test_entries_after_the_checkpoint_are_dropped(tmp_path, caplog):
  assert entries(tmp_path, (0, "a"), (5, "b"), (3, "a")) == [(0, "a")]
  assert warnings(caplog) == 1
  assert entries(tmp_path, (0, "c")) == [(0, "c")]
  assert warnings(caplog) == 0


def test_other_versions_do_not_warn(tmp_path, caplog):
  entries(tmp_path, (0, "a"))
  other = ENTRY | {"sha256": "b", "versions": {"jax": "2"}}
  step_history.record(tmp_path, 5, other)
  assert warnings(caplog) == 0
  assert len(history(tmp_path)) == 2


DAMAGES = {
  "missing": None,
  "empty": b"",
  "flipped": b'{"steps": [{"step": 0, "sha256": "b"}]}',
  "list": b"[1]",
  "no list": b'{"steps": 3}',
  "no entries": b'{"steps": [1, null]}',
  "no step": b'{"steps": [{"sha256": "a"}]}',
  "text": b'{"steps": [{"step": "x"}]}',
  "number as text": b'{"steps": [{"step": "3", "sha256": "b"}]}',
  "huge": b'{"steps": [{"step": 1e999}]}',
  "not UTF-8": b"\xff\xfe",
}


@pytest.mark.parametrize("checksum", ["kept", "removed"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_begins_again(tmp_path, caplog, damage, checksum):
  entries(tmp_path, (0, "a"))
  content = DAMAGES[damage]
  (tmp_path / step_history.NAME).unlink()
  if content is not None:
    (tmp_path / step_history.NAME).write_bytes(content)
  if checksum == "removed":
    (tmp_path / "sha256.json").unlink()
  assert entries(tmp_path, (5, "a"))[-1] == (5, "a")
  assert warnings(caplog) == 0


@pytest.mark.slow
def test_a_run_with_a_damaged_record_goes_on(tmp_path, caplog):
  fit(tmp_path, 1)
  (tmp_path / step_history.NAME).write_bytes(b"{")
  assert int(fit(tmp_path, 2).last.step) == 2
  assert warnings(caplog) == 0
  assert [entry["step"] for entry in history(tmp_path)] == [1]
