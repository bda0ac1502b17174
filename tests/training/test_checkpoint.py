"""A damaged checkpoint is never read; the newest good one is."""

import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore import trees
from dlcore.errors import UserError
from dlcore.training import checkpoint, manifest


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("finished")
  return workdir, problem.leaves(problem.fit(workdir))


@pytest.fixture
def copied(finished, tmp_path):
  shutil.copytree(finished[0], tmp_path / "run")
  return tmp_path / "run"


def largest(step):
  files = [path for path in step.rglob("*") if path.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


def flip(step):
  path = largest(step)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def truncate(step):
  path = largest(step)
  path.write_bytes(path.read_bytes()[:-1])


def remove(step):
  largest(step).unlink()


def link(step):
  path = largest(step)
  shutil.copy(path, step.parent.parent / "elsewhere")
  path.unlink()
  path.symlink_to(step.parent.parent / "elsewhere")


def link_whole(step):
  step.rename(step.parent.parent / "moved")
  step.symlink_to(step.parent.parent / "moved")


def swap(step):
  shutil.rmtree(step / "state")
  shutil.copytree(step.parent / "30" / "state", step / "state")


def add(step):
  (step / "state" / "more").write_text("x")


def renumber(step):
  shutil.rmtree(step)
  shutil.copytree(step.parent / "30", step)


def break_manifest(step):
  (step / manifest.NAME).write_text("{")


FAULTS = (
  flip,
  truncate,
  remove,
  link,
  link_whole,
  swap,
  add,
  renumber,
  break_manifest,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_run_steps_back_over_a_damaged_checkpoint(
  finished, copied, fault, caplog
):
  fault(copied / "checkpoints" / "40")
  with pytest.raises(UserError):
    checkpoint.read(copied / "checkpoints", 40)
  assert checkpoint.newest(copied / "checkpoints") == 30
  assert "checkpoint 40 is passed over" in caplog.text
  state = problem.fit(copied)
  for path, leaf in problem.leaves(state).items():
    assert leaf.tobytes() == finished[1][path].tobytes(), path
  assert checkpoint.newest(copied / "checkpoints") == 40
  assert (copied / "damaged" / "40").exists()


def test_a_step_without_manifest_was_never_finished(copied, caplog):
  (copied / "checkpoints" / "40" / manifest.NAME).unlink()
  assert checkpoint.newest(copied / "checkpoints") == 30
  assert not caplog.text


def test_a_run_whose_checkpoints_are_all_damaged_stops(copied):
  for step in (copied / "checkpoints").iterdir():
    flip(step)
  with pytest.raises(UserError, match="all of its steps are damaged"):
    problem.fit(copied)


def test_checkpoints_that_are_a_link_are_refused(copied):
  (copied / "checkpoints").rename(copied / "elsewhere")
  (copied / "checkpoints").symlink_to(copied / "elsewhere")
  with pytest.raises(UserError, match="it is a link"):
    problem.fit(copied)


def test_a_checkpoint_of_another_model_is_refused(copied):
  with pytest.raises(UserError, match="very experiment"):
    problem.fit(copied, ema=0.0)


def test_a_full_disk_is_named_and_loses_nothing(copied, monkeypatch):
  def full(step):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(manifest, "write", full)
  with pytest.raises(UserError, match="the disk is full: step 50"):
    problem.fit(copied, steps=60)
  assert checkpoint.newest(copied / "checkpoints") == 40


def test_reading_gives_plain_numpy(copied):
  tree = checkpoint.read(copied / "checkpoints", 40)
  assert type(tree["params"]["head"]["kernel"]) is np.ndarray
  assert tree["step"] == 40


def test_a_step_that_is_written_once_more_is_not_lost_by_a_kill(
  finished, copied
):
  folder = copied / "checkpoints"
  (folder / "40").rename(folder / f"40{checkpoint.REPLACED}")
  (folder / "40").mkdir()  # The new one had only begun.
  state = problem.fit(copied)
  assert int(state.step) == 40
  assert sorted(path.name for path in folder.iterdir()) == ["30", "40"]
  manifest.verify(folder / "40")


def test_saves_in_close_succession_write_the_newest_and_the_best(tmp_path):
  state = problem.fit(steps=1)
  synced = []
  saves = checkpoint.Checkpoints(tmp_path, interval=1000.0)
  for step, best in ((10, 10), (20, 20), (30, 30), (40, 30), (50, 30)):
    at = state.replace(step=np.int32(step))
    saves.save(at, {best}, lambda step=step: synced.append(step))
    if step == 10:  # The first one does not wait.
      while saves.latest is None:
        time.sleep(0.01)
  assert saves.latest == 10
  saves.close()
  assert synced == [10, 30, 50]
  assert sorted(path.name for path in tmp_path.iterdir()) == ["30", "50"]
  for step in (30, 50):
    assert checkpoint.read(tmp_path, step)["step"] == step


def test_a_state_that_waits_is_a_copy(tmp_path):
  saves = checkpoint.Checkpoints(tmp_path, interval=1000.0)
  state = problem.fit(steps=1)
  wanted = {path: leaf.copy() for path, leaf in problem.leaves(state).items()}
  saves.save(state)
  step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  step(state.replace(halted=jnp.int32(0)))
  saves.close()
  for path, leaf in trees.flatten(checkpoint.read(tmp_path, 1)).items():
    assert leaf.tobytes() == wanted[path].tobytes(), path


def save_and_wait(saves, state):
  saves.save(state)
  saves.wait()


def test_a_failed_write_is_told_at_the_next_save(tmp_path, monkeypatch):
  def full(step):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(manifest, "write", full)
  saves = checkpoint.Checkpoints(tmp_path, interval=1000.0)
  state = problem.fit(steps=1)
  saves.save(state)
  time.sleep(0.5)  # By then the first write is over, or waited for below.
  with pytest.raises(UserError, match="the disk is full: step 1"):
    save_and_wait(saves, state)
  saves.abandon()


def test_two_runs_cannot_write_one_folder(copied):
  held = checkpoint.Checkpoints(copied / "checkpoints")
  with pytest.raises(UserError, match="another run"):
    problem.fit(copied)
  held.close()
  problem.fit(copied)
