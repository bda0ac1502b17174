"""The page about several runs: results over seeds, curves, what differs."""

from collections.abc import Sequence

import numpy as np

from dlcore.report import estimates, groups, markup, plots, scores
from dlcore.report.curves import MOST as MOST_CHARTS
from dlcore.report.curves import OPTIMIZATION, SPLITS, axis
from dlcore.report.groups import Comparison, Group, is_finished, seed
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Curve, Run, number

COLOURS = 8
MOST_METRICS = 12
MOST_ROWS = 100
MOST_VALUES = 6


def title(found: Comparison) -> str:
  """Returns what the page is called."""
  names = [group.name for group in found.groups]
  if len(names) > 3:
    return f"{len(names)} groups of runs"
  return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def head(found: Comparison) -> Markup:
  """Returns the title, the one number of a single group, and warnings."""
  parts = [
    tag("h1", title(found)),
    tag("p", _subject(found.groups), class_="note"),
  ]
  key = scores.main_metric(found.groups)
  if key and len(found.groups) == 1:
    single = scores.values(found.groups[0], key).values()
    estimate = estimates.interval(list(single))
    shown = estimates.text(scores.metric(key), estimate)
    name = f"{scores.words(key)}, mean{_over(estimate.count)}"
    parts.append(tag("p", tag("span", name), shown, class_="headline"))
  parts += [tag("p", text, class_="warning") for text in found.warnings]
  return tag("header", *parts)


def results(found: Comparison) -> Markup | None:
  """Returns the table of the groups: means and intervals over seeds."""
  keys = scores.keys(found.groups)
  costs = ("parameters", "seconds")
  rows: list[list[object]] = []
  for index, group in enumerate(found.groups):
    cells: list[object] = [colour_key(index, group.name), _count(group)]
    for key in keys[:MOST_METRICS]:
      values = list(scores.values(group, key).values())
      cells.append(_mean(key, values) if values else "")
    rows.append([*cells, *(_cost(group, name) for name in costs)])
  names = [scores.words(key) for key in keys[:MOST_METRICS]]
  parts = [markup.table(["", "seeds", *names, "parameters", "time"], rows)]
  if any(len(group.finished) > 1 for group in found.groups):
    note = "Mean over the seeds and its 95% interval, by Student's t."
    parts.insert(0, tag("p", note, class_="note"))
  if len(keys) > MOST_METRICS:
    note = f"The first {MOST_METRICS} of {len(keys):,} metrics."
    parts.append(tag("p", note))
  return markup.section("Results", *parts)


def curves(found: Comparison) -> Markup | None:
  """Returns the charts of loss and metrics, the groups together."""
  metrics = dict.fromkeys(
    metric
    for group in found.groups
    for run in group.runs
    for metric in run.curves
    if metric not in OPTIMIZATION
  )
  names = sorted(metrics, key=lambda name: name != "loss")[:MOST_CHARTS]
  charts = [
    _chart(found.groups, metric, split)
    for metric in names
    for split in reversed(SPLITS)
  ]
  charts = list(filter(None, charts))[:MOST_CHARTS]
  if not charts:
    return None
  keys = [colour_key(i, group.name) for i, group in enumerate(found.groups)]
  parts = [tag("p", *keys, class_="legend")] if len(keys) > 1 else []
  if any(len(_drawn(group)) > 1 for group in found.groups):
    note = "Mean over the seeds; the band goes from the lowest to the highest."
    parts.insert(0, tag("p", note, class_="note"))
  parts.append(tag("div", *charts, class_="charts"))
  return markup.section("Curves", *parts)


def differences(found: Comparison) -> Markup | None:
  """Returns the settings and versions that are not the same in all groups."""
  if len(found.groups) < 2:
    return None
  told = all(group.finished for group in found.groups)
  trees = [_settings(group, origin=told) for group in found.groups]
  paths = dict.fromkeys(path for tree in trees for path in tree)
  rows: list[list[object]] = []
  for path in sorted(paths):
    cells = [tree.get(path, "\N{EN DASH}") for tree in trees]
    if len(set(cells)) > 1:
      rows.append([path, *cells])
  if not rows:
    nothing = tag("p", "Nothing: the configs are the same.")
    return markup.section("What differs", nothing)
  names = [colour_key(i, group.name) for i, group in enumerate(found.groups)]
  parts = [markup.table(["", *names], rows[:MOST_ROWS], len(names) + 1)]
  if len(rows) > MOST_ROWS:
    note = f"The first {MOST_ROWS} of {len(rows):,} settings."
    parts.append(tag("p", note))
  return markup.section("What differs", *parts)


def runs(found: Comparison) -> Markup | None:
  """Returns the results of every run by itself."""
  keys = scores.keys(found.groups)[:MOST_METRICS]
  rows: list[list[object]] = []
  for index, group in enumerate(found.groups):
    for run in group.runs:
      known = scores.results(run) if is_finished(run) else {}
      shown = [
        markup.measure(scores.metric(key), known[key]) if key in known else ""
        for key in keys
      ]
      step, best = number(_last(run)), number(run.summary.get("best_step"))
      time = number(run.summary.get("seconds"))
      rows.append(
        [
          colour_key(index, run.name),
          "" if seed(run) is None else seed(run),
          *shown,
          "" if step is None else markup.number(step),
          "" if best is None else markup.number(best),
          "" if time is None else markup.duration(time),
        ]
      )
  head = ["", "seed", *map(scores.words, keys), "steps", "best step", "time"]
  return markup.section("Runs", markup.table(head, rows))


def over_seeds(
  found: Sequence[Curve],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Returns steps, mean, lowest and highest of curves, each `[T]`.

  The steps are those of the longest curve; at each, the curves that reach it
  count.
  """
  steps = max(found, key=lambda curve: (curve.steps[-1], len(curve.steps)))[0]
  rows = np.stack(
    [
      np.interp(steps, *curve, left=np.nan, right=np.nan)  # pyright: ignore
      for curve in found
    ]
  )
  return (
    steps,
    np.nanmean(rows, 0),
    np.nanmin(rows, 0),
    np.nanmax(rows, 0),
  )


def _chart(of: Sequence[Group], metric: str, split: str) -> Markup | None:
  lines, bands = [], []
  for index, group in enumerate(of):
    found = [run.curves.get(metric, {}).get(split) for run in _drawn(group)]
    found = [curve for curve in found if curve is not None]
    if not found:
      continue
    steps, mean, low, high = over_seeds(found)
    lines.append(plots.Line(group.name, steps, mean, group_style(index)))
    if len(found) > 1:
      bands.append(plots.Band(steps, low, high, group_style(index)))
  if not lines:
    return None
  drawn = [line.y for line in lines]
  drawn += [edge for band in bands for edge in (band.low, band.high)]
  y = axis(metric, np.concatenate(drawn))
  name = f"{split} {markup.words(metric)}"
  return plots.line_chart(name, lines, y, bands=bands, legend=False)


def _drawn(group: Group) -> tuple[Run, ...]:
  """Returns the runs whose curves count: all where none is finished."""
  return group.finished or group.runs


def _settings(group: Group, origin: bool) -> dict[str, str]:
  """Returns what the runs of a group were made with, as text by path.

  Args:
    group: the runs.
    origin: whether to tell versions and devices too, which only finished runs
      know.
  """
  found: dict[str, dict[str, None]] = {}
  for run in group.runs:
    trees = [run.config]
    if origin and is_finished(run):
      keys = ("versions", "devices")
      trees.append({key: run.summary.get(key) for key in keys})
    for tree in trees:
      for path, text in groups.leaves(tree).items():
        found.setdefault(path, {})[text] = None
  return {
    path: listed(list(texts), ordered=path == "seed")
    for path, texts in found.items()
  }


def listed(items: Sequence[object], ordered: bool = True) -> str:
  """Returns `0 to 4` for numbers in a row, else the first few items."""
  texts = [str(item) for item in items]
  if ordered and len(items) > 2 and all(text.isdecimal() for text in texts):
    in_row = sorted(int(text[:20]) for text in texts)
    if in_row[-1] - in_row[0] == len(in_row) - 1:
      return f"{in_row[0]} to {in_row[-1]}"
  return ", ".join(texts[:MOST_VALUES]) + ", ..." * (len(texts) > MOST_VALUES)


def _subject(of: Sequence[Group]) -> str:
  """Returns `digits, classification, 6 runs`, as far as it is known."""
  found = [run for group in of for run in group.runs]
  names = [
    ", ".join(sorted({groups.part_name(run, part) for run in found} - {""})[:3])
    for part in ("data", "task")
  ]
  count = f"{len(found)} run{'s' * (len(found) > 1)}"
  return ", ".join(filter(None, (*names, count)))


def _over(count: int) -> str:
  return f" over {count} seeds" if count > 1 else " of one seed"


def _mean(key: str, values: Sequence[float]) -> str:
  return estimates.text(scores.metric(key), estimates.interval(values))


def _count(group: Group) -> str:
  done, begun = len(group.finished), len(group.runs)
  return str(done) if done == begun else f"{done} of {begun}"


def _cost(group: Group, name: str) -> str:
  found = [number(run.summary.get(name)) for run in group.finished]
  known = [value for value in found if value is not None]
  if not known:
    return ""
  mean = estimates.interval(known).mean
  return markup.duration(mean) if name == "seconds" else markup.number(mean)


def _last(run: Run) -> float | None:
  """Returns the last step of a run, as far as it is known."""
  step = number(run.summary.get("step"))
  if step is not None and is_finished(run):
    return step
  ends = [
    curve.steps[-1] for by in run.curves.values() for curve in by.values()
  ]
  return float(max(ends)) if ends else None


def colour_key(index: int, name: str) -> Markup:
  """Returns a name with the colour of its group."""
  return tag("span", tag("i", class_=group_style(index)), name, class_="group")


def group_style(index: int) -> str:
  """Returns the CSS classes of a group's colour and line."""
  dashed = " dashed" if index >= COLOURS else ""
  return f"group{index % COLOURS}{dashed}"
