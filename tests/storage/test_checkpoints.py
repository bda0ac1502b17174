"""A checkpoint that was saved is restored bit for bit, or refused."""

import json
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run as run

from dlcore import storage, trees
from dlcore.errors import UserError
from dlcore.storage import manifest


def full(step):
  raise OSError(28, "No space left on device")


def test_restoring_fills_the_template_bit_for_bit(tmp_path):
  tree = run.train(tmp_path)
  run.assert_equal(tree, run.after(40))
  for template in (run.first(), run.shapes(run.first())):
    restored = storage.restore(tmp_path / "checkpoints", template)
    run.assert_equal(restored, tree)
    assert restored["state"]["model_state"] == {}  # Orbax loses empty dicts.
    assert jax.tree.structure(restored) == jax.tree.structure(tree)


def test_a_stopped_run_continues_bit_for_bit(tmp_path):
  run.train(tmp_path, steps=20)
  run.assert_equal(run.train(tmp_path), run.after(40))


def test_an_older_step_is_restored_where_it_is_named(tmp_path):
  run.train(tmp_path)
  restored = storage.restore(tmp_path / "checkpoints", run.first(), 30)
  run.assert_equal(restored, run.after(30))


def test_reading_returns_dicts_of_plain_numpy(tmp_path):
  run.train(tmp_path)
  tree = storage.read_checkpoint(tmp_path / "checkpoints", 40)
  assert tree.keys() == {"state", "decisions"}
  assert type(tree["state"]["params"]["kernel"]) is np.ndarray
  assert tree["state"]["step"] == 40
  assert tree["state"]["opt_state"]["0"]["count"] == 40
  assert tree["decisions"]["best_step"] == 40


def test_empty_parts_are_read_as_empty_dicts(tmp_path):
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, {"state": {"step": np.int32(1)}, "decisions": {}})
  tree = storage.read_checkpoint(tmp_path, 1)
  assert tree == {"state": {"step": 1}, "decisions": {}}
  assert storage.best_step(tmp_path) == 1


@pytest.mark.slow
def test_averaged_and_frozen_weights_are_those_of_the_evaluation(tmp_path):
  zero, one, two = (np.full(2, i, np.float32) for i in range(3))
  state = {
    "step": np.int32(1),
    "params": {"body": {"kernel": zero}, "head": {"kernel": zero}},
    "average": {"params": {"head": {"kernel": one}}, "batch_stats": {"a": one}},
    "model_state": {
      "frozen": {"body": {"bias": two}},
      "batch_stats": {"a": zero},
      "carry": {"h": zero},
    },
  }
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, {"state": state, "decisions": {}})
  run.assert_equal(
    storage.read_variables(tmp_path, 1),
    {
      "params": {
        "body": {"kernel": zero, "bias": two},
        "head": {"kernel": one},
      },
      "batch_stats": {"a": one},
    },
  )


def change(**state):
  first = run.first()
  return {**first, "state": {**first["state"], **state}}


OTHERS = {
  "average/kernel is missing": change(
    average={"kernel": np.zeros((3, 4), np.float32)}
  ),
  "halted is unexpected": {
    "state": {k: v for k, v in run.first()["state"].items() if k != "halted"},
    "decisions": run.first()["decisions"],
  },
  r"\(3, 4\)": change(params={"kernel": np.zeros((4, 3), np.float32)}),
  "float32": change(params={"kernel": np.zeros((3, 4), np.float16)}),
  "another seed": run.first(seed=1),
}


@pytest.mark.parametrize("reason", OTHERS)
def test_a_checkpoint_of_another_experiment_is_refused(reason, tmp_path):
  run.train(tmp_path)
  with pytest.raises(UserError, match=reason) as error:
    run.train(tmp_path, template=OTHERS[reason])
  assert error.value.lines[0].startswith("expected a checkpoint of this exp")
  assert len(error.value.lines) == 3
  run.train(tmp_path)  # The folder was released.


def test_other_hyperparameters_are_refused(tmp_path):
  def tree(rate):
    return change(hparams={"optim.learning_rate": np.float32(rate)})

  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, tree(0.5))
  assert storage.restore(tmp_path, tree(0.5)) is not None
  with pytest.raises(UserError, match=r"learning_rate is 0\.5, expected 0\.25"):
    storage.restore(tmp_path, tree(0.25))


def test_only_the_latest_the_named_and_the_regular_steps_are_kept(tmp_path):
  with storage.Checkpoints(tmp_path, keep_every=30) as checkpoints:
    for step in range(10, 61, 10):
      checkpoints.save(step, run.after(step), keep={20})
  assert run.steps(tmp_path) == ["20", "30", "50", "60"]
  with storage.Checkpoints(tmp_path, keep_every=30) as checkpoints:
    checkpoints.save(70, run.after(70))
  assert run.steps(tmp_path) == ["30", "60", "70"]


def test_the_latest_step_can_be_saved_again(tmp_path):
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(10, run.after(10))
    again = run.after(10)
    again["decisions"]["best_step"] = np.int32(7)
    checkpoints.save(10, again)
  assert run.steps(tmp_path) == ["10"]
  assert storage.read_checkpoint(tmp_path, 10)["decisions"]["best_step"] == 7


def test_a_step_before_the_latest_is_refused(tmp_path):
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(60, run.after(60))
  with (
    storage.Checkpoints(tmp_path) as checkpoints,
    pytest.raises(UserError, match="at least 60, the latest in"),
  ):
    checkpoints.save(20, run.after(20))
  assert run.steps(tmp_path) == ["60"]


def test_rolling_back_removes_later_steps_and_continues_there(tmp_path):
  with storage.Checkpoints(tmp_path, keep_every=10) as checkpoints:
    for step in (10, 20, 30):
      checkpoints.save(step, run.after(step))
    restored = checkpoints.roll_back(20, run.first())
    run.assert_equal(restored, run.after(20))
    assert checkpoints.latest == 20
    assert run.steps(tmp_path) == ["10", "20"]
    checkpoints.save(30, run.after(25))
  assert storage.read_checkpoint(tmp_path, 30)["state"]["step"] == 25


def test_rolling_back_to_a_missing_or_damaged_step_returns_none(tmp_path):
  with storage.Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.roll_back(-1, run.first()) is None
    for step in (10, 20):
      checkpoints.save(step, run.after(step))
    checkpoints.wait()
    (tmp_path / "20" / "checkpoint" / "more").write_text("x")
    assert checkpoints.roll_back(20, run.first()) is None
    assert checkpoints.latest == 10


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path, monkeypatch):
  run.train(tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(manifest, "write", full)
    with pytest.raises(UserError, match="the disk is full: step 50") as error:
      run.train(tmp_path, steps=60)
  assert "step 40" in error.value.lines[1]
  assert storage.newest_step(tmp_path / "checkpoints") == 40
  run.assert_equal(run.train(tmp_path, steps=60), run.after(60))


def test_saves_in_quick_succession_write_the_newest_and_the_kept(tmp_path):
  synced = []
  checkpoints = storage.Checkpoints(tmp_path, interval=1000.0)
  for step, best in ((10, 10), (20, 20), (30, 30), (40, 30), (50, 30)):
    checkpoints.save(
      step, run.after(step), {best}, lambda step=step: synced.append(step)
    )
    if step == 10:  # The first one does not wait.
      while checkpoints.latest is None:
        time.sleep(0.01)
  time.sleep(0.05)  # Enough to begin a write that is not delayed.
  assert synced == [10]
  checkpoints.close()
  assert synced == [10, 30, 50]
  assert run.steps(tmp_path) == ["30", "50"]
  for step in (30, 50):
    tree = storage.read_checkpoint(tmp_path, step)
    assert tree["state"]["step"] == step


def test_regular_steps_are_written_even_in_quick_succession(tmp_path):
  with storage.Checkpoints(tmp_path, 1000.0, keep_every=20) as checkpoints:
    for step in range(10, 71, 10):
      checkpoints.save(step, run.after(step))
  assert {"20", "40", "60", "70"} <= {*run.steps(tmp_path)}


def test_waiting_writes_at_once_whatever_the_interval(tmp_path):
  with storage.Checkpoints(tmp_path, interval=1000.0) as checkpoints:
    for step in (10, 20):
      checkpoints.save(step, run.after(step))
      checkpoints.wait()
      assert checkpoints.latest == step


def test_after_waiting_later_saves_keep_the_interval(tmp_path):
  written = []
  with storage.Checkpoints(tmp_path, interval=1000.0) as checkpoints:
    for step in (10, 20, 30, 40):
      checkpoints.save(
        step, run.after(step), before=lambda step=step: written.append(step)
      )
      if step <= 20:
        checkpoints.wait()
      else:
        time.sleep(0.05)  # Enough to begin a write that is not delayed.
    assert written == [10, 20]
  assert written == [10, 20, 40]


def test_saving_does_not_wait_for_the_disk(tmp_path):
  done = []
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(
      10, run.after(10), before=lambda: (time.sleep(0.3), done.append(1))
    )
    assert not done
  assert done


def test_a_waiting_checkpoint_is_a_copy(tmp_path):
  tree = jax.tree.map(jnp.asarray, run.after(10))
  expected = jax.tree.map(np.array, tree)
  with storage.Checkpoints(tmp_path, interval=1000.0) as checkpoints:
    checkpoints.save(5, run.after(5))
    checkpoints.save(10, tree)
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    tree["state"]["params"] = jax.tree.map(step, tree["state"]["params"])
  run.assert_equal(storage.restore(tmp_path, run.first()), expected)


@pytest.mark.parametrize("interval", [0.0, 1000.0])
def test_a_failed_write_is_raised_at_the_next_call(
  interval, tmp_path, monkeypatch
):
  monkeypatch.setattr(manifest, "write", full)
  checkpoints = storage.Checkpoints(tmp_path, interval)
  checkpoints.save(1, run.after(1))
  for _ in range(2):  # It stays closed: no later save is lost silently.
    with pytest.raises(UserError, match="the disk is full: step 1"):
      checkpoints.wait()
  with pytest.raises(UserError, match="the disk is full: step 1"):
    checkpoints.save(2, run.after(2))
  checkpoints.abandon()
  storage.Checkpoints(tmp_path).close()


def test_other_errors_of_a_write_keep_their_type(tmp_path):
  def fail():
    raise PermissionError(13, "Permission denied")

  with (
    pytest.raises(PermissionError),
    storage.Checkpoints(tmp_path) as checkpoints,
  ):
    checkpoints.save(1, run.after(1), before=fail)


def test_an_error_in_the_body_is_raised_after_the_last_save(tmp_path):
  def fail():
    with storage.Checkpoints(tmp_path, interval=1000.0) as checkpoints:
      for step in (10, 20):
        checkpoints.save(step, run.after(step))
      raise RuntimeError("of the body")

  with pytest.raises(RuntimeError, match="of the body"):
    fail()
  assert storage.newest_step(tmp_path) == 20
  storage.Checkpoints(tmp_path).close()


def test_two_runs_cannot_write_one_folder(tmp_path):
  with (
    storage.Checkpoints(tmp_path / "checkpoints"),
    pytest.raises(UserError, match="another run"),
  ):
    run.train(tmp_path)
  run.train(tmp_path)


def test_half_precision_and_scalars_keep_their_bits(tmp_path):
  tree = {
    "state": {
      "half": jnp.arange(5, dtype=jnp.bfloat16) / 3,
      "flag": np.bool_(True),
      "value": np.float32(-np.inf),
    },
    "decisions": {"nan": np.float32(np.nan)},
  }
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, tree)
  restored = storage.restore(tmp_path, jax.tree.map(np.array, tree))
  run.assert_equal(restored, jax.tree.map(np.array, tree))


def test_callbacks_after_a_failed_read_print_no_traceback(tmp_path):
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(0, run.first())
  storage.read_checkpoint(tmp_path, 0)
  error = RuntimeError("Event loop is closed")
  # As in threads of TensorStore. Pytest raises an error that is reported.
  sys.unraisablehook(
    types.SimpleNamespace(
      exc_type=type(error),
      exc_value=error,
      exc_traceback=None,
      err_msg=None,
      object=None,
    )
  )


def test_the_manifest_lists_every_file_of_a_step(tmp_path):
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, run.after(1))
  listed = json.loads((tmp_path / "1" / manifest.NAME).read_text())
  paths = (p for p in (tmp_path / "1").rglob("*") if p.is_file())
  names = {path.relative_to(tmp_path / "1").as_posix() for path in paths}
  assert listed["step"] == 1
  assert listed["files"].keys() == names - {manifest.NAME}
  assert trees.flatten(storage.read_checkpoint(tmp_path, 1))


@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ([64, 10**9], "fits into memory"),
    ([64, 10**7], "readable arrays"),
    ([-1, 5], "a checkpoint of Orbax"),
    ("x", "a checkpoint of Orbax"),
  ],
)
def test_an_array_that_claims_another_shape_is_refused(
  tmp_path, shape, message
):
  """The checksums fit: a claim is checked before it is allocated."""
  import tensorstore

  item = tmp_path / "5" / "checkpoint"
  with storage.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, {"state": {"w": np.ones((4, 5), np.float32)}})
  store = tensorstore.KvStore.open(
    {"driver": "ocdbt", "base": f"file://{item}/"}
  ).result()
  array = json.loads(store["state.w/.zarray"])
  store["state.w/.zarray"] = json.dumps({**array, "shape": shape}).encode()
  manifest.write(tmp_path / "5")
  with pytest.raises(UserError, match=message) as error:
    storage.read_checkpoint(tmp_path, 5)
  assert len(error.value.lines[1].split()) > 2  # Not an exception's name.
