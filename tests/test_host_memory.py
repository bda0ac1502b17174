"""The free memory is the least of RAM and the limits of control groups."""

import pytest

from dlcore.host_memory import binary_size, free_memory

GIB = 2**30


def files(root, content):
  for name, text in content.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  return root


RAM = {"proc/meminfo": "MemTotal: 99 kB\nMemAvailable: 8388608 kB\n"}
VERSION_2 = {
  **RAM,
  "proc/self/cgroup": "0::/job/run\n",
  "sys/fs/cgroup/job/run/memory.max": "max\n",
  "sys/fs/cgroup/job/run/memory.current": "5\n",
  "sys/fs/cgroup/job/memory.max": f"{4 * GIB}\n",
  "sys/fs/cgroup/job/memory.current": f"{3 * GIB}\n",
  "sys/fs/cgroup/job/memory.stat": f"anon 5\ninactive_file {GIB}\n",
}
VERSION_1 = {
  **RAM,
  "proc/self/cgroup": "4:memory:/box\n1:cpu:/\n",
  "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{3 * GIB}\n",
  "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
}


@pytest.mark.parametrize(
  ("content", "expected"),
  [(RAM, 8 * GIB), (VERSION_2, 2 * GIB), (VERSION_1, 2 * GIB), ({}, None)],
)
def test_the_lowest_limit_counts(tmp_path, content, expected):
  assert free_memory(files(tmp_path, content)) == expected


def test_a_used_up_group_has_no_free_memory(tmp_path):
  used = {"sys/fs/cgroup/memory/memory.usage_in_bytes": f"{9 * GIB}\n"}
  assert free_memory(files(tmp_path, {**VERSION_1, **used})) == 0


def test_this_machine_has_free_memory():
  free = free_memory()
  assert free is None or free > 0


@pytest.mark.parametrize(
  ("count", "text"),
  [
    (0, "0.0 bytes"),
    (1023, "1023.0 bytes"),
    (1536, "1.5 KiB"),
    (47.7 * GIB, "47.7 GiB"),
    (2**63, "8.0 EiB"),
    (2**90, "1073741824.0 EiB"),
  ],
)
def test_sizes_have_binary_prefixes(count, text):
  assert binary_size(count) == text
