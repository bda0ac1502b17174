"""A comparison reports means, intervals and tests like the textbook."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats

from dlcore import report
from dlcore.errors import UserError
from dlcore.report import (
  axes,
  comparison_curves,
  config_tree,
  curve_reader,
  groups,
  markup,
  plots,
)

HOSTILE = "<script>alert('1')</script>\"&"
FIRST = (0.95, 0.97, 0.96)
SECOND = (0.91, 0.90, 0.92)


def make(path, seed=0, score=0.9, *, config=None, **summary):
  """Writes the folder of a small finished run and returns it."""
  (path / "assets").mkdir(parents=True)
  tree = {
    "seed": seed,
    "data": {"name": "digits"},
    "model": {"name": "mlp", "widths": [8]},
    "task": {"name": "classification"},
    **(config or {}),
  }
  whole = {
    "step": 40,
    "best_step": 30,
    "metrics": {
      "valid/accuracy": 0.5,
      "test/loss": 1 - score,
      "test/accuracy": score,
    },
    "parameters": 1234,
    "seconds": 75.0,
    "versions": {"jax": "0.12.0"},
    "finished": True,
    **summary,
  }
  lines = [
    {"step": step, "split": split, "loss": (2 - score) / step}
    for step in range(10, 50, 10)
    for split in ("train", "valid")
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (path / "metrics.jsonl").write_text(text)
  (path / "config.json").write_text(json.dumps(tree))
  (path / "summary.json").write_text(json.dumps(whole))
  data = {"splits": {"test": {"size": 60, "sha256": "ab" * 32}}}
  (path / "assets/data.json").write_text(json.dumps(data))
  return path


def over_seeds(path, scores, **options):
  for seed, score in enumerate(scores):
    make(path / f"seed_{seed}", seed, score, **options)
  return path


@pytest.fixture
def two(tmp_path):
  """The folders of two groups of three runs."""
  other = {"model": {"name": "cnn", "widths": [8]}}
  return [
    over_seeds(tmp_path / "first", FIRST),
    over_seeds(tmp_path / "second", SECOND, config=other),
  ]


def written(folders, tmp_path):
  path = report.compare(folders, tmp_path / "comparison.html")
  return path.read_text(encoding="utf-8")


def rows(text, section):
  """Returns the texts of the cells of the table in a section."""
  [part] = re.findall(f"<h2>{section}</h2>(.*?)</section>", text, re.DOTALL)
  found = re.findall("<tr>(.*?)</tr>", part, re.DOTALL)
  cells = [re.findall("<t[hd].*?>(.*?)</t[hd]>", row) for row in found]
  return [[re.sub("<.*?>", "", cell) for cell in row] for row in cells]


def edit(path, **changes):
  content = json.loads(path.read_text())
  path.write_text(json.dumps({**content, **changes}))


def test_the_table_has_mean_and_interval_of_every_group(two, tmp_path):
  head, first, second = rows(written(two, tmp_path), "Results")
  assert head[1:4] == ["seeds", "test loss", "test accuracy"]
  for cells, scores in ((first, FIRST), (second, SECOND)):
    half = stats.t.ppf(0.975, 2) * np.std(scores, ddof=1) / 3**0.5
    assert cells[1] == "3"
    assert cells[3] == f"{100 * np.mean(scores):.2f}% ± {100 * half:.2f}"
    assert cells[-2:] == ["1,234", "1 min 15 s"]


def test_groups_are_tested_in_pairs_of_seeds(two, tmp_path):
  (two[1] / "seed_1").rename(
    two[1] / "seed_7"
  )  # The seed is that of the config.
  text = written(two, tmp_path)
  known = stats.ttest_rel(SECOND, FIRST)
  low, high = (100 * value for value in known.confidence_interval())
  expected = (
    f"-5.00 ± {(high - low) / 2:.2f} points, p = {known.pvalue:.2g}",
    "5.00 points lower, over the 3 shared seeds (0 to 2)",
    f"difference is {low:.2f} points to {high:+.2f} points",
  )
  assert all(markup.with_minus(part) in text for part in expected)
  assert "do not show a difference" not in text


def test_the_page_says_why_groups_cannot_be_tested(two, tmp_path):
  edit(two[1] / "seed_1/summary.json", finished=False)
  edit(two[1] / "seed_2/config.json", seed=9)
  text = written(two, tmp_path)
  assert "No test of second: a test needs at least two seeds" in text
  assert "Not finished and therefore not in the figures: second/seed_1." in text
  assert rows(text, "Results")[2][1] == "2 of 3"


def test_single_runs_are_compared_without_intervals(tmp_path):
  folders = [make(tmp_path / "a", score=0.9), make(tmp_path / "b", score=0.8)]
  text = written(folders, tmp_path)
  assert [row[:2] for row in rows(text, "Results")[1:]] == [
    ["a", "1"],
    ["b", "1"],
  ]
  assert "±" not in text
  assert 'class="band' not in text


def test_only_differences_are_listed(two, tmp_path):
  assert rows(written(two, tmp_path), "Differences") == [
    ["", "first", "second"],
    ["model.name", "mlp", "cnn"],
  ]


def test_a_folder_of_seeds_alone_is_a_page_of_its_own(two, tmp_path):
  text = written(two[:1], tmp_path)
  assert "96.00% ± 2.48</p>" in text
  assert re.findall("<h2>(.*?)</h2>", text) == ["Results", "Curves", "Runs"]
  assert len(rows(text, "Runs")) == 4


def test_the_mean_of_curves_ignores_those_that_end_earlier():
  steps = np.array([1.0, 2.0, 3.0])
  found = [
    curve_reader.Curve(steps, np.array([1.0, 2.0, 3.0])),
    curve_reader.Curve(steps[:2], np.array([3.0, 6.0])),
  ]
  x, mean, low, high = comparison_curves.over_seeds(found)
  assert x.tolist() == [1, 2, 3]
  assert mean.tolist() == [2, 4, 3]
  assert (low.tolist(), high.tolist()) == ([1, 2, 3], [3, 6, 3])


def test_a_band_is_drawn_from_its_lower_to_its_upper_edge():
  x = np.array([0.0, 1.0])
  band = plots.Band(x, x, x + 1, "group0")
  line = plots.Line("mean", x, x + 0.5, "group0")
  axis = axes.linear_axis(np.array([0.0, 2.0]))
  chart = plots.line_chart("loss", [line], axis, bands=[band])
  assert '"M0 2000L2000 1000L2000 0L0 1000Z" class="band group0"' in chart


class Resources(HTMLParser):
  """Collects every element of a page."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.open = set(), []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    assert not any(key.startswith("on") or key == "href" for key, _ in attrs)
    if tag not in ("img", "meta"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def test_hostile_strings_are_escaped(tmp_path):
  for seed in range(2):
    for name in ("a", "<b>b"):
      path = make(
        tmp_path / name / f"seed_{seed}",
        seed,
        config={HOSTILE: {HOSTILE + name: HOSTILE + name, "x": [seed]}},
        versions={HOSTILE + "\ud800": HOSTILE + name},
        metrics={f"test/{HOSTILE}": 1.0 + seed, HOSTILE: 2, "loss": 1e999},
        devices=HOSTILE + name,
      )
      line = {"step": 41, "split": "valid", "loss": 1, HOSTILE: 2}
      with (path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
  text = written([tmp_path / "a", tmp_path / "<b>b"], tmp_path)
  assert "Remarks" not in text
  assert "&lt;script&gt;" in text
  resources = Resources(text)
  assert resources.open == []
  assert not resources.tags & {"script", "link", "iframe", "object", "base"}
  assert not re.search(r"https?://|url\(|@import", text)


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("seed", True),
    ("seed", "0"),
    ("seed", 10**400),
    ("seed", [{}]),
    ("seed", None),
    ("task", 3),
    ("model", {"name": ["x"], "": {}}),
    ("model", json.loads('{"a":' * 60 + "1" + "}" * 60)),
  ],
)
def test_a_malformed_config_does_not_break_the_page(two, tmp_path, key, value):
  edit(two[1] / "seed_0/config.json", **{key: value})
  text = written(two, tmp_path)
  assert "Remarks" not in text
  assert "second" in text


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("metrics", [1]),
    ("metrics", {"test/accuracy": "high"}),
    ("metrics", {"test/accuracy": float("nan")}),
    ("metrics", {"test/accuracy": 10**400}),
    ("seconds", -1),
    ("parameters", {}),
    ("step", "x"),
    ("versions", 1),
  ],
)
def test_a_malformed_summary_does_not_break_the_page(two, tmp_path, key, value):
  edit(two[1] / "seed_0/summary.json", **{key: value})
  text = written(two, tmp_path)
  assert "Remarks" not in text
  assert len(rows(text, "Results")) == 3


def test_a_config_that_is_nested_too_deeply_is_omitted(two, tmp_path):
  deep = json.loads('{"a":' * 400 + "1" + "}" * 400)
  edit(two[1] / "seed_0/config.json", model=deep)
  text = written(two, tmp_path)
  assert "config.json is omitted: the JSON is nested more than 64" in text
  assert len(rows(text, "Results")) == 3


def test_leaves_of_a_huge_tree_are_bounded():
  tree = {"k" * 1000: {str(i): i for i in range(5000)}}
  found = config_tree.leaves({"deep": tree, "list": [0] * 5000})
  assert len(found) <= config_tree.MAX_LEAVES
  assert max(map(len, (*found, *found.values()))) <= config_tree.MAX_LENGTH


def test_damaged_and_foreign_runs_of_a_group_are_omitted_by_name(two, tmp_path):
  first = two[0]
  (first / "seed_0/summary.json").write_text("{")
  make(first / "seed_5", 1)
  make(first / "seed_6", 6, config={"task": {"name": "regression"}})
  (first / "seed_7").mkdir()
  (first / "seed_8").symlink_to(two[1] / "seed_0")
  text = written(two, tmp_path)
  for remark in (
    "first/seed_0: summary.json is omitted",
    "not in the figures: first/seed_0.",
    "first/seed_5 is omitted: it has seed 1, like first/seed_1",
    "first/seed_6 is omitted: its task is regression",
    "first/seed_7 is omitted: its files are not readable",
    "first/seed_8 is omitted: it is a link",
  ):
    assert remark in text
  assert rows(text, "Results")[1][1] == "2 of 3"


def test_incomparable_runs_get_a_warning(two, tmp_path):
  edit(two[0] / "seed_2/config.json", batch=8, model={"name": "mlp"})
  data = {"splits": {"test": {"sha256": "cd" * 32}}}
  edit(two[1] / "seed_2/assets/data.json", **data)
  text = written(two, tmp_path)
  assert "first differ in more than the seed: model.widths, batch." in text
  assert "were tested on different examples" in text
  assert "No test of second: their test examples differ." in text


def twice(root):
  return [root / "first", root / "second", root / "first/../first"]


def within(root):
  return [root / "first", root / "first" / "seed_1"]


def other_task(root):
  task = {"task": {"name": "regression"}}
  return [root / "first", make(root / "third", config=task)]


def empty(root):
  (root / "empty").mkdir()
  return [root / "first", root / "empty"]


def broken(root):
  path = root / "broken"
  path.mkdir()
  (path / "config.json").write_text("[1]")
  return [root / "first", path]


def linked(root):
  path = root / "linked"
  path.mkdir()
  (path / "config.json").symlink_to(root / "first/seed_0/config.json")
  return [path, root / "first"]


@pytest.mark.parametrize(
  ("folders", "hint"),
  [
    (twice, "got twice"),
    (within, "got twice"),
    (other_task, "got third, which is regression"),
    (empty, "got neither"),
    (lambda root: [root / "first", root / "nowhere"], "no such folder"),
    (broken, "config.json is omitted: expected a JSON object"),
    (linked, "is a link"),
    (lambda root: [root / str(i) for i in range(17)], "got 17"),
  ],
)
def test_folders_that_cannot_be_compared_are_rejected(
  two, tmp_path, folders, hint
):
  with pytest.raises(UserError) as error:
    report.compare(folders(tmp_path), tmp_path / "x.html")
  assert hint in str(error.value)
  assert 2 <= len(error.value.lines) <= 3
  assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("output", ["nowhere/x.html", "first"])
def test_a_page_that_cannot_be_written_is_an_error(two, tmp_path, output):
  with pytest.raises(UserError, match="expected to write the page"):
    report.compare(two, tmp_path / output)
  assert [p.name for p in tmp_path.iterdir() if p.name[0] == "."] == []


def test_names_are_the_shortest_distinct_ends_of_paths(tmp_path):
  folders = [make(tmp_path / name / "run") for name in ("a", "b")]
  found = groups.read(folders)
  assert [group.name for group in found.groups] == ["a/run", "b/run"]


def test_the_figure_shows_means_intervals_and_seeds(two, tmp_path):
  text = written(two, tmp_path)
  [part] = re.findall("<h2>At a glance</h2>(.*?)</section>", text, re.DOTALL)
  assert "dashed line is the mean of first" in part
  assert '<span class="y" style="top:25.00%">first</span>' in part
  for scores, style in ((FIRST, "group0"), (SECOND, "group1")):
    [whisker] = re.findall(f'd="M([^"]*)" class="line {style}"', part)
    (low, _), (high, _) = (map(int, end.split()) for end in whisker.split("L"))
    [places] = re.findall(f'd="([^"]*)" class="dots {style}"', part)
    seeds = sorted(int(x) for x in re.findall(r"M(\d+) ", places))
    [mean] = re.findall(rf'd="M(\d+) \d+h0" class="dot mean {style}"', part)
    assert len(seeds) == len(scores)
    assert int(mean) == pytest.approx((low + high) / 2, abs=1)
    assert int(mean) == pytest.approx(np.mean(seeds), abs=1)
    half = stats.t.ppf(0.975, 2) * stats.sem(seeds)
    assert (high - low) / 2 == pytest.approx(half, rel=0.01)


def test_single_runs_have_no_figure_of_intervals(tmp_path):
  folders = [make(tmp_path / name, 0, 0.5) for name in ("a", "b")]
  assert "At a glance" not in written(folders, tmp_path)


def test_curves_of_every_validation_set_are_compared(two, tmp_path):
  for folder in two:
    for seed in range(3):
      with (folder / f"seed_{seed}/metrics.jsonl").open("a") as file:
        for split in ("valid/b", "valid/a", "layers"):
          line = {"step": 10, "split": split, "loss": 1.0}
          file.write(json.dumps(line) + "\n")
  text = written(two, tmp_path)
  [part] = re.findall("<h2>Curves</h2>(.*?)</section>", text, re.DOTALL)
  names = re.findall("<figcaption><b>(.*?)</b>", part)
  splits = ("valid", "valid/a", "valid/b", "train")
  assert names == [f"{split} loss" for split in splits]
