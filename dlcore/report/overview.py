"""What a run is and how it ended: head, results, time, settings, origin."""

import json
from collections.abc import Mapping
from typing import Any

from dlcore.report import markup
from dlcore.report.curves import OPTIMIZATION, SPLITS
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run, mapping, number, numbers

HEADLINE = ("accuracy", "f1", "r2", "rmse", "mae", "perplexity", "loss")
"""The metric to be read first is the first of these."""

DEEPEST = 8


def head(run: Run) -> Markup:
  """Returns the title and the one number that matters."""
  parts = [tag("h1", run.name), tag("p", _subject(run), class_="note")]
  found = headline(run)
  if found:
    split, metric, value = found
    name = f"{split} {markup.words(metric)}"
    shown = markup.measure(metric, value, digits=1)
    parts.append(tag("p", tag("span", name), shown, class_="headline"))
  if run.summary.get("finished") is not True:
    parts.append(tag("p", _unfinished(run), class_="warning"))
  return tag("header", *parts)


def headline(run: Run) -> tuple[str, str, float] | None:
  """Returns split, metric and value of the number to be read first."""
  results = _results(run)
  for split in ("test", "valid", "train", *results):
    scores = results.get(split, {})
    for metric in (*HEADLINE, *scores):
      if metric in scores:
        return split, metric, scores[metric]
  return None


def results(run: Run) -> Markup | None:
  """Returns the metrics of every split, and what they cost."""
  found = _results(run)
  splits = sorted(found, key=lambda s: (*SPLITS, s).index(s))[:6]
  metrics = list(dict.fromkeys(m for s in splits for m in found[s]))
  rows: list[list[object]] = []
  for metric in metrics:
    values = [found[split].get(metric) for split in splits]
    shown = ["" if v is None else markup.measure(metric, v) for v in values]
    rows.append([markup.words(metric), *shown])
  parts = [_costs(run)]
  if rows:
    parts.append(markup.table(["", *splits], rows))
  title = "Result" if run.summary.get("metrics") else "So far"
  return markup.section(title, *filter(None, parts)) if any(parts) else None


def phases(run: Run) -> Markup | None:
  """Returns the wall time by phase, as one bar and as numbers."""
  times = numbers(run.summary.get("phases"))
  times = {k: v for k, v in times.items() if 0 < v < 1e12}
  total = sum(times.values())
  if not times:
    return None
  parts, keys = [], []
  for index, (name, time) in enumerate(list(times.items())[:16]):
    style, share = f"phase{index % 8}", time / total
    tip = f"{name}: {markup.duration(time)}, {share:.1%}"
    width = f"flex-grow:{100 * share:.2f}"
    parts.append(tag("i", class_=style, style=width, title=tip))
    value = [markup.duration(time), tag("small", f"{share:.0%}")]
    keys.append(
      tag("div", tag("dt", tag("i", class_=style), name), tag("dd", *value))
    )
  return markup.section(
    f"Time, {markup.duration(total)}",
    tag("div", *parts, class_="bar"),
    tag("dl", *keys, class_="phases"),
  )


def origin(run: Run) -> Markup | None:
  """Returns data, versions and devices."""
  pairs: list[tuple[str, object]] = []
  shape = run.data.get("shape")
  if isinstance(shape, list):
    kind = run.data.get("dtype", "")
    size = " \N{MULTIPLICATION SIGN} ".join(str(axis) for axis in shape[:8])
    pairs.append((str(run.data.get("input", "input")), f"{size} {kind}"))
  classes = run.data.get("classes")
  if isinstance(classes, list):
    pairs.append(("classes", f"{len(classes):,}"))
  for name, split in list(mapping(run.data.get("splits")).items())[:6]:
    size = number(mapping(split).get("size"))
    if size is not None:
      digest = tag("small", str(mapping(split).get("sha256") or "")[:8])
      pairs.append((name, markup.join(f"{markup.number(size)} ", digest)))
  versions = mapping(run.summary.get("versions"))
  pairs += [(name, str(version)) for name, version in versions.items()]
  if run.summary.get("devices"):
    pairs.append(("devices", str(run.summary["devices"])))
  if not pairs:
    return None
  return markup.section("Data and versions", markup.facts(pairs))


def config(run: Run) -> Markup | None:
  """Returns the settings, folded."""
  if not run.config:
    return None
  parts = mapping(run.config)
  loose = {k: v for k, v in parts.items() if not isinstance(v, Mapping)}
  groups = [("run", loose)] if loose else []
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
  """Returns `cnn on digits, classification`, as far as it is known."""
  names = {
    part: str(mapping(run.config.get(part)).get("name") or "")
    for part in ("model", "data", "task")
  }
  data = names["data"] or str(run.data.get("name") or "")
  subject = " on ".join(filter(None, (names["model"], data)))
  return ", ".join(filter(None, (subject, names["task"])))


def _unfinished(run: Run) -> str:
  steps = [
    curve.steps[-1] for by in run.curves.values() for curve in by.values()
  ]
  where = (
    f" It was last seen at step {markup.number(max(steps))}." if steps else ""
  )
  return f"This run is not finished.{where} The same command continues it."


def _results(run: Run) -> dict[str, dict[str, float]]:
  """Returns the final metrics by split; the latest where there are none."""
  found: dict[str, dict[str, float]] = {}
  for key, value in numbers(run.summary.get("metrics")).items():
    split, _, metric = key.rpartition("/")
    found.setdefault(split or "all", {})[metric] = value
  if not found:
    for metric, by_split in run.curves.items():
      if metric in OPTIMIZATION:
        continue
      for split, curve in by_split.items():
        found.setdefault(split, {})[metric] = float(curve.values[-1])
  return found


def _costs(run: Run) -> Markup | None:
  known = numbers(run.summary)
  shown = {
    "step": ("steps", markup.number),
    "best_step": ("best step", markup.number),
    "seconds": ("time", markup.duration),
    "examples_per_second": ("examples/s", markup.number),
    "parameters": ("parameters", markup.number),
  }
  pairs: list[tuple[str, object]] = [
    (name, show(known[key]))
    for key, (name, show) in shown.items()
    if key in known
  ]
  return markup.facts(pairs, "tiles") if pairs else None


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list:
  """Returns the settings by dotted path, as JSON."""
  found: list[tuple[str, object]] = []
  for key, value in tree.items():
    path = f"{prefix}{key}"
    if isinstance(value, Mapping) and value and path.count(".") < DEEPEST:
      found += _leaves(value, f"{path}.")
    else:
      text = value if isinstance(value, str) else json.dumps(value)
      found.append((path, text))
  return found
