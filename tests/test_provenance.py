"""The machine and commit that a figure belongs to."""

import os
import subprocess

from dlcore import provenance

CPUINFO = """processor : 0
cpu family : 6
model : 143
model name : Intel(R) Xeon(R) Platinum 8481C
flags : fpu avx2 avx512f amx_tile
"""


def test_a_machine_is_named_by_cpu_extensions_and_cores(tmp_path):
  file = tmp_path / "cpuinfo"
  file.write_text(CPUINFO)
  assert provenance.machine(file) == (
    "Intel(R) Xeon(R) Platinum 8481C (family 6 model 143, AMX, AVX-512), "
    f"{cores()}"
  )


def test_a_machine_without_cpuinfo_still_has_a_name(tmp_path):
  name = provenance.machine(tmp_path / "missing")
  assert name.endswith(f", {cores()}")
  assert not name.startswith(",")


def test_cores_that_the_process_may_not_use_do_not_count(tmp_path, monkeypatch):
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
  assert provenance.machine(tmp_path / "missing").endswith(", 1 core")


def cores() -> str:
  """Returns the cores of this process, as a machine is named by them."""
  count = (
    len(os.sched_getaffinity(0))
    if hasattr(os, "sched_getaffinity")
    else os.cpu_count()
  )
  return f"{count} core{'s' * (count > 1)}"


def test_the_commit_of_a_changed_checkout_ends_with_a_plus(tmp_path):
  def git(*arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(
      ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True
    )

  assert provenance.commit(tmp_path) == ""
  git("init")
  (tmp_path / "file").write_text("a")
  (tmp_path / "experiments" / "results").mkdir(parents=True)
  result = tmp_path / "experiments" / "results" / "tax.json"
  result.write_text("1")
  git("add", ".")
  git("commit", "-m", "Add a file")
  clean = provenance.commit(tmp_path)
  assert len(clean) >= 7
  result.write_text("2")
  assert provenance.commit(tmp_path) == clean
  assert provenance.commit(tmp_path / "experiments") == clean
  (tmp_path / "file").write_text("b")
  assert provenance.commit(tmp_path) == f"{clean}+"
