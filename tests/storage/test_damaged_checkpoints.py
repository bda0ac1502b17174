"""A damaged checkpoint is never read; the newest good one is."""

import os
import shutil

import numpy as np
import pytest
import small_run as run

from dlcore import storage
from dlcore.errors import UserError
from dlcore.storage import cleanup, manifest


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("finished")
  return workdir, run.train(workdir)


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
  shutil.rmtree(step / "checkpoint")
  shutil.copytree(step.parent / "30" / "checkpoint", step / "checkpoint")


def add(step):
  (step / "checkpoint" / "more").write_text("x")


def renumber(step):
  shutil.rmtree(step)
  shutil.copytree(step.parent / "30", step)


def break_manifest(step):
  (step / manifest.NAME).write_text("{")


def link_manifest(step):
  (step / manifest.NAME).rename(step.parent.parent / "elsewhere")
  (step / manifest.NAME).symlink_to(step.parent.parent / "elsewhere")


def enlarge(step):
  file = next(p for p in step.rglob("*") if p.is_file())
  with file.open("r+b") as stream:
    stream.truncate(1 << 40)  # A sparse file, whose checksum takes hours.


FAULTS = (
  flip,
  enlarge,
  truncate,
  remove,
  link,
  link_whole,
  swap,
  add,
  renumber,
  break_manifest,
  link_manifest,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_run_continues_from_the_checkpoint_before_a_damaged_one(
  finished, copied, fault, caplog
):
  folder = copied / "checkpoints"
  fault(folder / "40")
  with pytest.raises(UserError) as error:
    storage.read_checkpoint(folder, 40)
  assert len(error.value.lines) == 3
  assert storage.newest_step(folder) == 30
  assert not storage.is_good(folder, 40)
  assert "skipping checkpoint 40" in caplog.text
  run.assert_equal(run.train(copied), finished[1])
  assert storage.newest_step(folder) == 40
  assert (copied / "damaged" / "40").exists()


def test_a_second_damaged_copy_replaces_the_first(copied):
  for _ in range(2):
    flip(copied / "checkpoints" / "40")
    run.train(copied)
  assert run.steps(copied / "damaged") == ["40"]


def test_a_damaged_copy_is_not_moved_below_a_file(copied):
  flip(copied / "checkpoints" / "40")
  (copied / "damaged").write_text("")
  with pytest.raises(UserError, match="expected a folder at"):
    run.train(copied)


@pytest.mark.parametrize("name", ["999", "60.replaced", "40.replaced"])
@pytest.mark.parametrize("kind", ["file", "link", "loop", "folder"])
def test_an_entry_that_no_run_writes_does_not_stop_it(
  finished, copied, name, kind
):
  entry = copied / "checkpoints" / name
  elsewhere = copied / "elsewhere"
  elsewhere.mkdir()
  if kind == "file":
    entry.write_text("x")
  elif kind == "folder":
    entry.mkdir()
  else:
    entry.symlink_to(entry if kind == "loop" else elsewhere)
  run.assert_equal(run.train(copied), finished[1])
  assert storage.newest_step(copied / "checkpoints") == 40
  assert elsewhere.is_dir()


def test_a_step_without_manifest_is_unfinished_and_needs_no_warning(
  finished, copied, caplog
):
  (copied / "checkpoints" / "40" / manifest.NAME).unlink()
  assert storage.newest_step(copied / "checkpoints") == 30
  run.assert_equal(run.train(copied), finished[1])
  assert not [r for r in caplog.records if r.name == "dlcore"]


def test_temporary_files_of_killed_writes_are_ignored(copied):
  folder = copied / "checkpoints"
  (folder / "40" / f"{manifest.NAME}.tmp").write_text("{")
  (folder / "40" / f".{manifest.NAME}.7.tmp").write_text("{")
  shutil.copytree(folder / "40", folder / "50.orbax-checkpoint-tmp-7")
  run.train(copied, steps=50)
  assert storage.newest_step(folder) == 50
  assert run.steps(folder) == ["40", "50"]


def test_the_first_step_may_be_zero(tmp_path):
  with storage.Checkpoints(tmp_path / "checkpoints") as checkpoints:
    checkpoints.save(0, run.first())
  with storage.Checkpoints(tmp_path / "checkpoints") as checkpoints:
    assert checkpoints.latest == 0
    run.assert_equal(checkpoints.restore(run.first()), run.first())
  assert storage.best_step(tmp_path / "checkpoints") == 0


def test_a_run_whose_checkpoints_are_all_damaged_is_refused(copied):
  for step in (copied / "checkpoints").iterdir():
    flip(step)
  with pytest.raises(UserError, match="all of its steps are damaged"):
    run.train(copied)
  assert run.steps(copied / "checkpoints") == ["30", "40"]


def test_checkpoints_that_are_a_link_are_refused(copied):
  (copied / "checkpoints").rename(copied / "elsewhere")
  (copied / "checkpoints").symlink_to(copied / "elsewhere")
  with pytest.raises(UserError, match="it is a link"):
    run.train(copied)


@pytest.mark.parametrize("half", [True, False])
def test_a_kill_while_a_step_is_replaced_loses_nothing(finished, copied, half):
  folder = copied / "checkpoints"
  if half:
    (folder / "40").rename(folder / f"40{cleanup.REPLACED}")
    (folder / "40").mkdir()  # The new one has no manifest yet.
  else:
    shutil.copytree(folder / "40", folder / f"40{cleanup.REPLACED}")
  run.assert_equal(run.train(copied), finished[1])
  assert run.steps(folder) == ["30", "40"]
  manifest.verify(folder / "40")


@pytest.mark.parametrize("name", [".replaced", "x.replaced", "٩٩٩", "099"])
def test_an_entry_of_another_name_than_a_step_is_left_alone(copied, name):
  folder = copied / "checkpoints"
  (folder / name).mkdir()
  (folder / "x").mkdir()
  with storage.Checkpoints(folder) as checkpoints:
    assert checkpoints.latest == 40
  assert run.steps(folder) == sorted(["30", "40", name, "x"])


def test_the_best_step_is_the_newest_where_it_is_damaged(tmp_path, caplog):
  folder = tmp_path / "checkpoints"
  with storage.Checkpoints(folder) as checkpoints:
    for step in (10, 20, 30):
      tree = run.after(step)
      tree["decisions"]["best_step"] = np.int32(20)
      checkpoints.save(step, tree)
  assert storage.best_step(folder) == 20
  flip(folder / "20")
  assert storage.best_step(folder) == 30
  assert "step 20, the best, is missing or damaged" in caplog.text


def test_without_checkpoints_there_is_no_step(tmp_path):
  folder = tmp_path / "checkpoints"
  assert storage.newest_step(folder) is None
  assert storage.best_step(folder) is None
  assert storage.restore(folder, run.first()) is None
  with pytest.raises(UserError, match="finished checkpoint of step 10"):
    storage.read_checkpoint(folder, 10)
  assert not folder.exists()


def test_a_manifest_larger_than_any_that_is_written_is_refused(tmp_path):
  step = tmp_path / "5"
  step.mkdir()
  manifest.write(step)
  manifest.verify(step)
  os.truncate(step / manifest.NAME, 1 << 40)
  with pytest.raises(manifest.DamagedCheckpoint, match="than 67,108,864 bytes"):
    manifest.verify(step)
