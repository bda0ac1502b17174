"""Summary of a run: title, results, time, versions and config."""

import json
from collections.abc import Mapping
from typing import Any

from dlcore.report import markup
from dlcore.report.curves import OPTIMIZATION, is_split, split_order
from dlcore.report.json_values import as_mapping, as_number, as_numbers
from dlcore.report.markup import Markup, tag
from dlcore.report.metric_display import display, format_metric, rank
from dlcore.report.run import Run, last_step
from dlcore.report.trivial_remark import trivial_remark

MAX_DEPTH = 8
REMEDY = "try another learning rate, more steps, or check the labels."
MAX_SPLITS = 6


def head(run: Run) -> Markup:
  """Returns the title and the main metric."""
  parts = [tag("h1", run.name), tag("p", _subject(run), class_="note")]
  if main := headline(run):
    split, metric, value = main
    name = tag("span", f"{split} {display(metric).title}")
    text = format_metric(metric, value, digits=1)
    parts.append(tag("p", name, text, class_="headline"))
  warnings = run.summary.get("warnings")
  for warning in warnings if isinstance(warnings, list) else ():
    parts.append(tag("p", str(warning), class_="warning"))
  if remark := _trivial_remark(run):
    parts.append(tag("p", remark, class_="warning"))
  if run.summary.get("finished") is not True:
    parts.append(tag("p", _unfinished(run), class_="warning"))
  return tag("header", *parts)


def headline(run: Run) -> tuple[str, str, float] | None:
  """Returns split, name and value of the main metric, or None."""
  results = _results(run)
  best_by = as_mapping(run.config.get("training")).get("best_by")
  chosen = str(best_by).removeprefix("-")
  for split in ("test", "valid", "train", *results):
    if scores := results.get(split):
      metric = min(scores, key=rank)
      if chosen in scores and chosen != "loss":  # Loss is the default.
        metric = chosen
      return split, metric, scores[metric]
  return None


def results(run: Run) -> Markup | None:
  """Returns the metrics of every split, and steps, time and parameters.

  The last split has its intervals and the scores of the trivial answer, if the
  run has them.
  """
  scores = _results(run)
  splits = sorted(scores, key=split_order)[:MAX_SPLITS]
  metrics = dict.fromkeys(metric for s in splits for metric in scores[s])
  context = _context(run, splits[-1]) if splits else {}
  rows: list[list[object]] = []
  for metric in metrics:
    values = [scores[split].get(metric) for split in splits]
    cells = [
      "" if value is None else format_metric(metric, value) for value in values
    ]
    cells += [column.get(metric, "") for column in context.values()]
    rows.append([display(metric).title, *cells])
  parts = [_costs(run)]
  if rows:
    parts.append(markup.table(["", *splits, *context], rows))
  title = "Result" if run.summary.get("metrics") else "So far"
  return markup.section(title, *filter(None, parts)) if any(parts) else None


def _context(run: Run, split: str) -> dict[str, dict[str, str]]:
  """Returns further columns: the 95% intervals and the trivial answer."""
  prefix = f"{split}/"
  bounds = {
    key.removeprefix(prefix): list(map(as_number, pair))
    for key, pair in as_mapping(run.summary.get("intervals")).items()
    if key.startswith(prefix) and isinstance(pair, list) and len(pair) == 2
  }
  intervals = {
    metric: f"{format_metric(metric, low)} to {format_metric(metric, high)}"
    for metric, (low, high) in bounds.items()
    if low is not None and high is not None
  }
  trivial = {
    key.removeprefix(prefix): format_metric(key.removeprefix(prefix), value)
    for key, value in as_numbers(run.summary.get("trivial")).items()
    if key.startswith(prefix)
  }
  answer = str(run.summary.get("trivial_answer") or "trivial answer")
  columns = {f"95% interval, {split}": intervals, answer[:80]: trivial}
  return {title: column for title, column in columns.items() if column}


def phases(run: Run) -> Markup | None:
  """Returns the wall time by phase, as a bar and as numbers."""
  times = as_numbers(run.summary.get("phases"))
  times = {k: v for k, v in times.items() if 0 < v < 1e12}
  total = sum(times.values())
  if not times:
    return None
  parts, keys = [], []
  for index, (name, time) in enumerate(list(times.items())[:16]):
    style, share = f"phase{index % 8}", time / total
    tip = f"{name}: {markup.format_duration(time)}, {share:.1%}"
    width = f"flex-grow:{100 * share:.2f}"
    parts.append(tag("i", class_=style, style=width, title=tip))
    value = [markup.format_duration(time), tag("small", f"{share:.0%}")]
    keys.append(
      tag("div", tag("dt", tag("i", class_=style), name), tag("dd", *value))
    )
  return markup.section(
    f"Time, {markup.format_duration(total)}",
    tag("div", *parts, class_="bar"),
    tag("dl", *keys, class_="phases"),
  )


def origin(run: Run) -> Markup | None:
  """Returns versions and devices."""
  versions = as_mapping(run.summary.get("versions"))
  pairs: list[tuple[str, object]] = [
    (name, str(version)) for name, version in versions.items()
  ]
  for name in ("devices", "allocator"):
    if run.summary.get(name):
      pairs.append((name, str(run.summary[name])))
  if not pairs:
    return None
  return markup.section("Versions", markup.facts(pairs))


def config(run: Run) -> Markup | None:
  """Returns the config by section, folded."""
  if not run.config:
    return None
  parts = as_mapping(run.config)
  top = {k: v for k, v in parts.items() if not isinstance(v, Mapping)}
  groups = [("run", top)] if top else []
  groups += [(k, v) for k, v in parts.items() if isinstance(v, Mapping) and v]
  cards = [
    tag("div", tag("h3", name), markup.facts(_leaves(group), "settings"))
    for name, group in groups
  ]
  return tag(
    "section",
    tag(
      "details",
      tag("summary", tag("h2", "Config")),
      tag("div", *cards, class_="config"),
    ),
  )


def _subject(run: Run) -> str:
  """Returns `cnn on digits, classification`, without unknown names."""
  names = {
    part: str(as_mapping(run.config.get(part)).get("name") or "")
    for part in ("model", "data", "task")
  }
  data = names["data"] or str(run.data.get("name") or "")
  subject = " on ".join(filter(None, (names["model"], data)))
  return ", ".join(filter(None, (subject, names["task"])))


def _trivial_remark(run: Run) -> str:
  """Returns a sentence if the run is no better than the trivial answer."""
  summary = {
    "metrics": as_numbers(run.summary.get("metrics")),
    "trivial": as_numbers(run.summary.get("trivial")),
    "trivial_answer": str(run.summary.get("trivial_answer") or "")[:80],
    "best_by": as_mapping(run.config.get("training")).get("best_by", ""),
  }
  remark = trivial_remark(summary, REMEDY)
  return remark[:1].upper() + remark[1:]


def _unfinished(run: Run) -> str:
  step = last_step(run)
  logged = f" The log ends at step {step:,.0f}." if step is not None else ""
  return f"This run is not finished.{logged} The same command continues it."


def _results(run: Run) -> dict[str, dict[str, float]]:
  """Returns the final metrics by split, or the latest of an unfinished run."""
  results: dict[str, dict[str, float]] = {}
  for key, value in as_numbers(run.summary.get("metrics")).items():
    split, _, metric = key.rpartition("/")
    results.setdefault(split or "all", {})[metric] = value
  if results:
    return results
  for metric, by_split in run.curves.items():
    for split, curve in by_split.items():
      if metric not in OPTIMIZATION and is_split(split):
        results.setdefault(split, {})[metric] = float(curve.values[-1])
  return results


def _costs(run: Run) -> Markup | None:
  known = as_numbers(run.summary)
  entries = {
    "step": ("steps", markup.format_number),
    "best_step": ("best step", markup.format_number),
    "seconds": ("time", markup.format_duration),
    "examples_per_second": ("examples/s", markup.format_number),
    "parameters": ("parameters", markup.format_number),
  }
  pairs: list[tuple[str, object]] = [
    (name, format_value(known[key]))
    for key, (name, format_value) in entries.items()
    if key in known
  ]
  return markup.facts(pairs, "tiles") if pairs else None


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list:
  """Returns the settings by dotted path; values other than strings as JSON."""
  leaves: list[tuple[str, object]] = []
  for key, value in tree.items():
    path = f"{prefix}{key}"
    if isinstance(value, Mapping) and value and path.count(".") < MAX_DEPTH:
      leaves += _leaves(value, f"{path}.")
    else:
      text = value if isinstance(value, str) else json.dumps(value)
      leaves.append((path, text))
  return leaves
