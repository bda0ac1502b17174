"""The tables of the campaigns, of regularization and of the code's size."""

import collections
import math
import statistics

from tables.markdown import as_table, measured

from dlcore import optim
from dlcore.report import estimates


def kills(result: dict) -> str:
  """Returns the table of the killed runs."""
  phases = ", ".join(f"{n} {name}" for name, n in result["by_phase"].items())
  features = [k for k in result["by_kind"] if k not in optim.OPTIMIZERS]
  optimizers = len(result["by_kind"]) - len(features)
  kinds = "; ".join([*features, f"each of {optimizers} optimizers"])
  rows = [
    ("runs killed by SIGKILL and continued", result["runs"]),
    ("kills, by the phase of the run", f"{result['kills']}: {phases}"),
    ("kinds of runs", f"{len(result['by_kind'])}: {kinds}"),
    ("runs whose result differs in any bit", result["different"]),
  ]
  return as_table(
    "Every leaf of the last checkpoint and every line of the log, compared "
    f"with an undisturbed run, {measured(result)}:",
    "experiments/campaigns/kills.py",
    ("killed runs", ""),
    rows,
  )


def faults(result: dict) -> str:
  """Returns the table of the faults, by kind and outcome."""
  outcomes = {
    "exact": "equal to an undisturbed run",
    "older": "equal, from an older checkpoint that the log reports",
    "reported": "a lost file reported, the rest equal",
    "refused": "refused in three lines",
    "silent": "different without a message",
    "trace": "a traceback",
  }
  rows = [
    (kind, sum(counts.values()), *(counts.get(name, 0) for name in outcomes))
    for kind, counts in result["table"].items()
  ]
  _, total, *counted = zip(*rows, strict=True)
  rows.append(("all", sum(total), *map(sum, counted)))
  return as_table(
    f"{result['faults']} faults in the files of continued and finished runs, "
    f"and in running processes, {measured(result)}:",
    "experiments/campaigns/faults.py",
    ("fault", "times", *outcomes.values()),
    rows,
  )


def mutants(result: dict) -> str:
  """Returns the table of the mutants, by package and outcome."""
  packages = collections.defaultdict(collections.Counter)
  for site in result["sites"]:
    _, package, *_ = site["path"].split("/")
    for name in (package, "all"):
      packages[name][site["outcome"]] += 1
  rows = []
  for name in (*sorted(packages.keys() - {"all"}), "all"):
    counts = packages[name]
    died = counts["killed"] + counts["timeout"]
    unnoticed = counts["survived"] + counts["uncovered"]
    share = f"{died / counts.total():.0%}"
    rows.append((name, died, share, counts["equivalent"], unnoticed))
  before = ""
  if earlier := result.get("before"):
    before = (
      f" (before the tests of its survivors, a sample of {earlier['mutants']} "
      f"with seed {earlier['seed']} had a share of {earlier['score']:.0%})"
    )
  return as_table(
    f"{result['mutants']} random changes of single expressions, each with the "
    "tests that execute its line; a change is equivalent if a line of "
    "`mutation/equivalent.json` argues that no test can fail, "
    f"{measured(result)}{before}:",
    f"experiments/campaigns/mutants.py --count={result['mutants']} "
    f"--seed={result['seed']}",
    ("package", "a test fails", "share", "equivalent", "unnoticed"),
    rows,
  )


def hostile(result: dict, before: dict) -> str:
  """Returns the table of the hostile inputs, by kind and outcome.

  Args:
    result: of the campaign.
    before: of the campaign on an earlier commit, or `{}`.
  """
  outcomes = {
    "worked": "read",
    "refused": "refused in three lines",
    "traceback": "a traceback",
    "hang": "a hang",
    "memory": "too much memory",
    "abort": "an abort",
    "foreign": "a foreign program",
    "silent": "wrong without a message",
  }
  tables = [
    _with_total(one["table"], tuple(outcomes))
    for one in (result, before)
    if one
  ]
  rows = [
    (kind, *map(_cell, *(table.get(kind, ()) for table in tables)))
    for kind in tables[0]
  ]
  bounds = result["bounds"]
  earlier = ""
  if before:
    earlier = (
      f"; in parentheses {before['inputs']:,} inputs of the seeds "
      f"{', '.join(before['seeds'])} at commit {before['commit']}, before the "
      "faults were fixed"
    )
  return as_table(
    f"{result['inputs']:,} hostile inputs of the seeds "
    f"{', '.join(result['seeds'])}, half of them valid files that were "
    f"mutated at random, within {bounds['cpu_seconds']:.0f} CPU seconds and "
    f"{bounds['resident_gib']:.0f} GiB each (most used: "
    f"{result['peak_gib']:.1f} GiB), {measured(result)}{earlier}:",
    "experiments/campaigns/hostile.py",
    ("kind", "inputs", *outcomes.values()),
    rows,
  )


def _with_total(
  table: dict[str, dict[str, int]], outcomes: tuple[str, ...]
) -> dict[str, tuple[int, ...]]:
  """Returns the number of inputs and of each outcome by kind, and of all."""
  counts = {
    kind: (sum(one.values()), *(one.get(name, 0) for name in outcomes))
    for kind, one in table.items()
  }
  return {**counts, "all": tuple(map(sum, zip(*counts.values(), strict=True)))}


def _cell(count: int, *earlier: int) -> str:
  """Returns a count, with an earlier one in parentheses."""
  return " ".join([f"{count:,}", *(f"({one:,})" for one in earlier)])


def regularization(result: dict) -> str:
  """Returns the table of the effects of regularization."""
  plain = result["accuracy"]["plain"]
  rows = []
  for name, values in result["accuracy"].items():
    accuracy = estimates.interval(values)
    gains = [value - base for value, base in zip(values, plain, strict=True)]
    gain, half, _ = estimates.interval(gains)
    spread = math.nan if half is None else half  # Of a single seed.
    rows.append(
      (
        name.replace("_", " "),
        estimates.format_estimate("accuracy", accuracy),
        "" if name == "plain" else f"{100 * gain:+.2f} ± {100 * spread:.2f}",
        accuracy.count,
      )
    )
  return as_table(
    f"A CNN on {result['images']:,} images of MNIST, test accuracy after the "
    f"last step, means over seeds with 95% intervals, {measured(result)}:",
    "experiments/studies/regularization.py --manual_dir=DIR",
    ("with", "accuracy", "points above plain, same seeds", "seeds"),
    rows,
  )


def long_memory(result: dict) -> str:
  """Returns the table of the errors by the length of the series."""
  rows = [
    (
      problem,
      f"`{model}`",
      f"{result['parameters'][problem][model]:,}",
      *(
        f"{statistics.mean(row):.2g}"
        + (f" ± {statistics.stdev(row):.1g}" if len(row) > 1 else "")
        for row in errors
      ),
    )
    for problem, by_model in result["error"].items()
    for model, errors in by_model.items()
  ]
  seeds = max(len(row) for row in result["error"]["adding"]["rnn"])
  return as_table(
    f"Test errors after {result['steps']:,} steps by the length of the series: "
    "mean squared error of the adding problem (the mean as the answer has "
    f"{result['trivial']['adding']:.3f}), and share of wrong symbols in "
    f"delayed copying (a guess has {result['trivial']['copying']:.3f}); ± "
    f"deviation over {seeds} seeds, {measured(result)}:",
    "experiments/studies/long_memory.py",
    (
      *("problem", "model", "parameters"),
      *(f"{length} steps" for length in result["lengths"]),
    ),
    rows,
  )


def size(result: dict) -> str:
  """Returns the table of the size of the code."""
  before = f"{result['lines_before']:,} at {result['before']}"
  rows = [
    (
      "files that run before the first step",
      f"{len(result['files_before_first_step'])}, "
      f"{len(result['files_in_fit_before_first_step'])} of them in `fit`",
    ),
    (
      f"files that name a setting of `fit`, `{result['setting']}`",
      len(result["files_with_setting"]),
    ),
    ("lines of dlcore/", f"{result['lines']:,} ({before})"),
  ]
  return as_table(
    f"Size of the code, {measured(result)}:",
    "experiments/studies/size.py --before=REF",
    ("counted", ""),
    rows,
  )


def memory(result: dict) -> str:
  """Returns the table of the estimated and measured memory of the models."""
  rows = []
  for name, case in result["cases"].items():
    peak = case["peak"]
    row = [name, f"{peak / 2**20:,.0f} MiB"]
    for part in ("estimate", "preview"):
      row.append(f"{case[part] / 2**20:,.0f} MiB ({case[part] / peak:.2f})")
    rows.append(row)
  return as_table(
    "Peak memory of training and its estimates, from the compiled programs "
    "and by `--summary`, which compiles none (ratio to the peak in brackets), "
    f"{measured(result)}:",
    "experiments/campaigns/memory.py",
    ("model", "peak", "estimate of `fit`", "estimate of `--summary`"),
    rows,
  )
