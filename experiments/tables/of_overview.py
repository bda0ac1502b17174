"""The first table of the results: one line for each claim of the README."""

import statistics
from collections.abc import Callable

from tables.markdown import is_ratio


def overview(read: Callable[[str], dict]) -> str:
  """Returns the table.

  Args:
    read: a file of experiments/results/ by name, `{}` if it does not exist.
  """
  kills, faults, hostile = map(read, ("kills", "faults", "hostile"))
  defects = sum(
    counts.get(outcome, 0)
    for counts in faults["table"].values()
    for outcome in ("silent", "trace")
  )
  families = read("parity")["families"].values()
  forward, gradient = (
    max(family[key] for family in families) for key in ("forward", "gradient")
  )
  peers = read("peers")
  ratios = {
    name: row["ratio"] for name, row in peers.items() if is_ratio(peers, name)
  }
  slowest, fastest = (f(ratios, key=ratios.__getitem__) for f in (min, max))
  scores = read("scores")
  rows = (
    ("digits, the first command", _accuracy(scores["digits_cnn"])),
    ("MNIST, the largest of its configs", _accuracy(scores["mnist_deep"])),
    (
      "runs killed and continued that differ in any bit",
      f"{kills['different']} of {kills['runs']:,}",
    ),
    (
      "damaged files and disturbed processes with a wrong result or traceback",
      f"{defects} of {faults['faults']:,}",
    ),
    (
      "hostile inputs with a traceback, hang or wrong result",
      f"{len(hostile['bad'])} of {hostile['inputs']:,}",
    ),
    (
      f"largest difference from PyTorch over {len(families)} families",
      f"{forward:.0e} forward, {gradient:.0e} of gradients",
    ),
    (
      f"training steps of {len(ratios)} models on 2 cores, times as fast as "
      "PyTorch",
      f"{ratios[slowest]:.2f} ({slowest}) to {ratios[fastest]:.2f} ({fastest})",
    ),
  )
  lines = [f"| {name} | {value} |" for name, value in rows]
  return "\n".join(["| | |", "| --- | --- |", *lines])


def _accuracy(result: dict) -> str:
  values = [100 * value for value in result["metrics"]["test/accuracy"]]
  mean, deviation = statistics.mean(values), statistics.stdev(values)
  seconds = f"{statistics.median(result['seconds']):.0f} s"
  return f"{mean:.2f}% ± {deviation:.2f} test accuracy, {seconds}"
