"""The page about several runs: results over seeds or folds, differences."""

from collections.abc import Sequence

from dlcore.report import config_tree, estimates, groups, markup, plots, scores
from dlcore.report.groups import Comparison, Group, is_finished, number
from dlcore.report.json_values import as_number
from dlcore.report.markup import Markup, tag
from dlcore.report.metric_display import format_metric
from dlcore.report.run import Run, last_step

MAX_METRICS = 12
MAX_ROWS = 100
MAX_VALUES = 6


def title(subject: Comparison) -> str:
  """Returns the title of the page."""
  names = [group.name for group in subject.groups]
  if len(names) > 3:
    return f"{len(names)} groups of runs"
  return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def head(subject: Comparison) -> Markup:
  """Returns the title, the main metric of a single group, and warnings."""
  parts = [
    tag("h1", title(subject)),
    tag("p", _subject(subject.groups), class_="note"),
  ]
  key = scores.main_metric(subject.groups)
  if key and len(subject.groups) == 1:
    values = scores.values(subject.groups[0], key).values()
    estimate = estimates.interval(list(values))
    text = estimates.format_estimate(scores.metric(key), estimate)
    name = f"{scores.title(key)}, mean{_over(estimate.count, subject.unit)}"
    parts.append(tag("p", tag("span", name), text, class_="headline"))
  parts += [tag("p", text, class_="warning") for text in subject.warnings]
  return tag("header", *parts)


def results(subject: Comparison) -> Markup | None:
  """Returns the table of means and intervals by group."""
  keys, unit = scores.keys(subject.groups), subject.unit
  costs = ("parameters", "seconds")
  rows: list[list[object]] = []
  for index, group in enumerate(subject.groups):
    cells: list[object] = [color_key(index, group.name), _count(group)]
    for key in keys[:MAX_METRICS]:
      values = list(scores.values(group, key).values())
      cells.append(_mean(key, values) if values else "")
    rows.append([*cells, *(_cost(group, name) for name in costs)])
  names = [scores.title(key) for key in keys[:MAX_METRICS]]
  parts = [markup.table(["", f"{unit}s", *names, "parameters", "time"], rows)]
  if any(len(group.finished) > 1 for group in subject.groups):
    note = f"Mean over the {unit}s and its 95% interval by Student's t."
    parts.insert(0, tag("p", note, class_="note"))
  if len(keys) > MAX_METRICS:
    note = f"The first {MAX_METRICS} of {len(keys):,} metrics."
    parts.append(tag("p", note))
  return markup.section("Results", *parts)


def differences(subject: Comparison) -> Markup | None:
  """Returns the settings and versions that differ between the groups."""
  if len(subject.groups) < 2:
    return None
  finished = all(group.finished for group in subject.groups)
  trees = [_settings(group, versions=finished) for group in subject.groups]
  paths = dict.fromkeys(path for tree in trees for path in tree)
  rows: list[list[object]] = []
  for path in sorted(paths):
    cells = [tree.get(path, "\N{EN DASH}") for tree in trees]
    if len(set(cells)) > 1:
      rows.append([path, *cells])
  if not rows:
    return markup.section("Differences", tag("p", "The configs are the same."))
  names = [color_key(i, group.name) for i, group in enumerate(subject.groups)]
  parts = [markup.table(["", *names], rows[:MAX_ROWS], len(names) + 1)]
  if len(rows) > MAX_ROWS:
    note = f"The first {MAX_ROWS} of {len(rows):,} settings."
    parts.append(tag("p", note))
  return markup.section("Differences", *parts)


def runs(subject: Comparison) -> Markup | None:
  """Returns the results of every single run."""
  keys = scores.keys(subject.groups)[:MAX_METRICS]
  rows: list[list[object]] = []
  for index, group in enumerate(subject.groups):
    for run in group.runs:
      known = scores.results(run) if is_finished(run) else {}
      cells = [
        format_metric(scores.metric(key), known[key]) if key in known else ""
        for key in keys
      ]
      step, best = _last_step(run), as_number(run.summary.get("best_step"))
      time = as_number(run.summary.get("seconds"))
      rows.append(
        [
          color_key(index, run.name),
          "" if number(run) is None else number(run),
          *cells,
          "" if step is None else markup.format_number(step),
          "" if best is None else markup.format_number(best),
          "" if time is None else markup.format_duration(time),
        ]
      )
  unit = "number" if subject.unit == "run" else subject.unit
  head = ["", unit, *map(scores.title, keys), "steps", "best step", "time"]
  return markup.section("Runs", markup.table(head, rows))


def _settings(group: Group, versions: bool) -> dict[str, str]:
  """Returns the settings of the runs of a group, as text by path.

  Args:
    group: the runs.
    versions: whether to include versions and devices, which only finished runs
      have recorded.
  """
  values: dict[str, dict[str, None]] = {}
  for run in group.runs:
    trees = [run.config]
    if versions and is_finished(run):
      keys = ("versions", "devices")
      trees.append({key: run.summary.get(key) for key in keys})
    for tree in trees:
      for path, text in config_tree.leaves(tree).items():
        values.setdefault(path, {})[text] = None
  return {
    path: format_items(list(texts), as_range=path in groups.VARIED)
    for path, texts in values.items()
  }


def format_items(items: Sequence[object], as_range: bool = True) -> str:
  """Returns `0 to 4` for consecutive integers, else the first few items."""
  texts = [str(item) for item in items]
  if as_range and len(items) > 2 and all(text.isdecimal() for text in texts):
    numbers = sorted(int(text[:20]) for text in texts)
    if numbers[-1] - numbers[0] == len(numbers) - 1:
      return f"{numbers[0]} to {numbers[-1]}"
  return ", ".join(texts[:MAX_VALUES]) + ", ..." * (len(texts) > MAX_VALUES)


def _subject(of: Sequence[Group]) -> str:
  """Returns `digits, classification, 6 runs`, without unknown names."""
  runs = [run for group in of for run in group.runs]
  names = [
    ", ".join(sorted({groups.component(run, part) for run in runs} - {""})[:3])
    for part in ("data", "task")
  ]
  count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
  return ", ".join(filter(None, (*names, count)))


def _over(count: int, unit: str) -> str:
  return f" over {count} {unit}s" if count > 1 else f" of one {unit}"


def _mean(key: str, values: Sequence[float]) -> str:
  estimate = estimates.interval(values)
  return estimates.format_estimate(scores.metric(key), estimate)


def _count(group: Group) -> str:
  finished, total = len(group.finished), len(group.runs)
  return str(total) if finished == total else f"{finished} of {total}"


def _cost(group: Group, name: str) -> str:
  costs = [as_number(run.summary.get(name)) for run in group.finished]
  costs = [value for value in costs if value is not None]
  if not costs:
    return ""
  mean = estimates.interval(costs).mean
  if name == "seconds":
    return markup.format_duration(mean)
  return markup.format_number(mean)


def _last_step(run: Run) -> float | None:
  """Returns the last step of a run, of an unfinished one by its log."""
  step = as_number(run.summary.get("step"))
  return step if step is not None and is_finished(run) else last_step(run)


def color_key(index: int, name: str) -> Markup:
  """Returns a name with the color of its group."""
  line = tag("i", class_=plots.group_style(index))
  return tag("span", line, name, class_="group")
