"""The page about a search: its sections, its axes and its estimates."""

import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dlcore import report
from dlcore.report import axes, clipped_marks, parameter_axes, search_curves
from dlcore.report.parallel_coordinates import parallel_coordinates
from dlcore.report.plots import SIZE

HOSTILE = "<script>alert('1')</script>\"&"
LONG = "a_very_long_name_without_any_space_" * 3
READABILITY = Path(__file__).with_name("readability.js").read_text()
SECTIONS = (
  "Result",
  "Progress",
  "Learning curves",
  "Importance",
  "Slices",
  "Parallel coordinates",
  "Trials",
  "Failed trials",
)
SCALES = {
  "optim.rate": "log",
  "model.dropout": "linear",
  "model.widths": "choice",
  "optim.momentum": "linear",
}


def trial(number, value=0.5, state="complete", values=None, **changes):
  """Returns a trial with two evaluations."""
  curve = [] if value is None else [(10, value - 0.1), (20, value)]
  content = report.SearchTrial(
    number, state, value, values or {}, curve, "", False, True
  )
  return content._replace(**changes)


def trials(count=40, scale=1.0):
  """Returns trials, the first with the config, the last one failed."""
  random = np.random.default_rng(0)
  content = []
  for number in range(count):
    values = {
      "optim.rate": float(10 ** random.uniform(-4, -1)),
      "model.dropout": float(random.random()),
      "model.widths": [(64,), (128, 64), "wide"][random.integers(3)],
    }
    if random.random() < 0.5:
      values["optim.momentum"] = float(random.uniform(0.8, 0.99))
    state = "pruned" if number and random.random() < 0.2 else "complete"
    value = float(scale * random.random())
    content.append(trial(number, value, state, values, is_config=not number))
  failed = trial(count, None, "failed", reason="the loss is NaN")
  return [*content, failed]


def result(content, **changes):
  """Returns a search with these trials."""
  importance = dict.fromkeys(SCALES, 0.25)
  conclusion = ["The config is not beaten."]
  search = report.SearchResult(
    "valid/accuracy", True, content, SCALES, importance, conclusion, "bayes"
  )
  return search._replace(**changes)


def page(tmp_path, search):
  path = report.write_search(tmp_path / "search.html", "a search", search)
  return path.read_text(encoding="utf-8")


def titles(text):
  return re.findall("<h2>(.*?)</h2>", text)


def section(text, title):
  [part] = re.findall(rf"<h2>{title}</h2>(.*?)</section>", text, re.DOTALL)
  return part


class Elements(HTMLParser):
  """Checks that every element is closed, and collects the drawn paths."""

  def __init__(self, text):
    super().__init__()
    self.paths, self.tags, self._open = [], set(), []
    self.feed(text)
    assert self._open == []

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    if tag not in ("meta", "wbr"):
      self._open.append(tag)
    if tag == "path":
      self.paths.append(dict(attrs)["d"])

  def handle_endtag(self, tag):
    assert self._open.pop() == tag


def check(text):
  """Checks that a page is well-formed and draws inside its charts."""
  elements = Elements(text)
  assert not elements.tags & {"script", "link", "img"}
  for path in elements.paths:
    assert re.fullmatch(r"(?:[MLHVhZ ]|-?\d+)*", path), path
    numbers = np.array(re.findall(r"-?\d+", path), int)
    assert ((numbers >= 0) & (numbers <= SIZE)).all(), path
  return text


def test_a_search_has_all_sections(tmp_path):
  text = check(page(tmp_path, result(trials())))
  assert titles(text) == [*SECTIONS]
  assert "The config is not beaten." in text
  assert "arXiv:2304.10255" in section(text, "Importance")
  assert "trial 40: the loss is NaN" in section(text, "Failed trials")
  assert re.search(r"best valid accuracy, trial \d+</span>\d\d\.\d\d%", text)


CASES = {
  "no trials": ([], []),
  "failed": ([trial(0, None, "failed")], ["Failed trials"]),
  "running": ([trial(0, None, "running")], []),
  "one trial": (
    [trial(0, values={"a": 1}, is_config=True)],
    ["Progress", "Learning curves", "Trials"],
  ),
  "without a value": ([trial(0, None, "complete")], []),
  "only pruned": (
    [trial(i, state="pruned", values={"a": i}) for i in range(3)],
    ["Learning curves", "Slices", "Parallel coordinates", "Trials"],
  ),
  "equal values": (
    [trial(i, values={"a": 0.5, "b": "x", "c": 1}) for i in range(12)],
    [*SECTIONS[1:3], *SECTIONS[4:7]],
  ),
  "values of several types": (
    [trial(i, values={"a": v}) for i, v in enumerate((1, "1", True, (1,)))],
    [*SECTIONS[1:3], *SECTIONS[4:7]],
  ),
  "a logarithm of 0": (
    [trial(i, values={"optim.rate": i / 10}) for i in range(3)],
    [*SECTIONS[1:3], *SECTIONS[4:7]],
  ),
  "infinite": (
    [trial(i, v, values={"a": v}) for i, v in enumerate((1e300, -np.inf, 1))],
    ["Progress", "Learning curves", "Trials"],
  ),
  "no parameters": ([trial(0), trial(1)], [*SECTIONS[1:3], "Trials"]),
}


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_section_without_content_is_omitted(tmp_path, name, maximize):
  content, expected = CASES[name]
  search = result(content, maximize=maximize, importance={})
  assert titles(check(page(tmp_path, search))) == ["Result", *expected]


def test_names_and_values_are_escaped(tmp_path):
  content = [
    trial(i, values={HOSTILE: f"{HOSTILE}{i}", f"{HOSTILE}.2": 0.1 * i})
    for i in range(3)
  ]
  content.append(trial(3, None, "failed", reason=HOSTILE))
  search = result(
    content,
    scales={},
    importance={HOSTILE: 1.0},
    conclusion=[HOSTILE],
    algorithm=HOSTILE,
    metric=f"valid/{HOSTILE}",
  )
  text = check(page(tmp_path, search))
  assert "<script" not in text
  assert titles(text) == [*SECTIONS]


def test_the_page_of_500_trials_is_small_and_fast(tmp_path):
  content = [
    one._replace(
      curve=[(step, 0.5) for step in range(200)],
      values={f"part.name_{i}": 0.1 * one.number for i in range(12)},
    )
    for one in trials(500)
  ]
  start = time.process_time()
  text = check(page(tmp_path, result(content)))
  assert time.process_time() - start < 4  # Includes the checks.
  assert len(text) < 1e6


def test_the_page_depends_on_the_content_only(tmp_path):
  search = result(trials())
  assert page(tmp_path, search) == page(tmp_path, search)


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("count", [1, 2, 5, 30, 300])
def test_an_axis_shows_the_best_values_whatever_the_outliers(count, maximize):
  sign = 1 if maximize else -1
  values = np.random.default_rng(count).normal(size=count)
  best_first = sign * np.sort(sign * values)[::-1]
  shown = best_first[: 1 + int(0.8 * (count - 1))]
  outliers = np.full(count // 8, -sign * 1e9)
  for content in (values, np.concatenate([values, outliers])):
    axis = clipped_marks.robust_axis("score", content, maximize)
    positions = axis.position(shown)
    assert positions.min() >= -1e-9
    assert positions.max() <= 1 + 1e-9
    if count > 10:
      assert axis.high - axis.low < 20


def test_an_axis_without_outliers_shows_all_values():
  values = np.linspace(0.6, 0.9, 30)
  axis = clipped_marks.robust_axis("accuracy", values, True)
  assert np.allclose(axis.position(values[[0, -1]]), [0, 1])
  assert clipped_marks.clipped_note(axis, values, "trial") == ""


def test_diverged_trials_are_at_the_border_and_counted(tmp_path):
  content = [trial(i, 0.5 + 0.01 * i, values={"a": i}) for i in range(20)]
  content += [trial(20, 1e9, values={"a": 20}), trial(21, 1e9)]
  search = result(content, metric="valid/loss", maximize=False)
  text = check(page(tmp_path, search))
  note = "2 trials are outside the vertical axis and shown at its border."
  assert note in section(text, "Progress")
  assert note in section(text, "Slices")
  assert "4 evaluations are outside" in section(text, "Learning curves")
  assert "2 trials are outside" in section(text, "Parallel coordinates")


@pytest.mark.parametrize("maximize", [True, False])
def test_random_search_has_the_exact_expectation(maximize):
  sign = 1 if maximize else -1
  values = np.random.default_rng(0).normal(size=12)
  mean, low, high = search_curves.random_search(values, 30, maximize)
  # P(the best of k draws is at most the i-th value) = (i / n)^k.
  shares = np.arange(13) / 12
  exact = [
    sign * (np.sort(sign * values) * np.diff(shares**k)).sum()
    for k in range(1, 31)
  ]
  np.testing.assert_allclose(mean, exact, atol=0.12)
  assert (sign * np.diff(mean) >= 0).all()
  assert ((low <= mean) & (mean <= high)).all()


@pytest.mark.parametrize(("spread", "is_shown"), [(7, False), (8, True)])
def test_random_search_is_estimated_from_enough_spread_trials(
  tmp_path, spread, is_shown
):
  content = [trial(0, is_config=True)]
  content += [trial(i, 0.1 * i, is_spread=i <= spread) for i in range(1, 12)]
  text = section(page(tmp_path, result(content)), "Progress")
  name = f"random search, estimated from {spread} spread trials"
  assert (name in text) == is_shown
  assert (f"After {spread} trials the estimate is pessimistic" in text) == (
    is_shown
  )


def test_the_best_trial_is_the_first_of_equal_ones(tmp_path):
  content = [trial(0, 0.2), trial(1, 0.9), trial(2, 0.9)]
  content.append(trial(3, 0.95, "pruned"))
  assert "best valid accuracy, trial 1<" in page(tmp_path, result(content))
  search = result(content, maximize=False)
  assert "best valid accuracy, trial 0<" in page(tmp_path, search)


def test_the_best_parameters_are_beside_those_of_the_config(tmp_path):
  content = [
    trial(0, 0.2, values={"a": 1, "b": "x"}, is_config=True),
    trial(1, 0.9, values={"a": (64, 32)}),
  ]
  search = result(content, scales={})
  rows = re.findall("<tr>(.*?)</tr>", section(page(tmp_path, search), "Result"))
  cells = [re.findall("<t[hd].*?>(.*?)</t[hd]>", row) for row in rows]
  assert cells == [
    ["parameter", "best, trial 1", "config"],
    ["a", "(64, 32)", "1"],
    ["b", "\N{EN DASH}", "x"],
  ]


def test_the_tables_have_at_most_20_trials(tmp_path):
  content = [trial(i, 0.001 * i) for i in range(30)]
  content += [trial(i, None, "failed", reason="x") for i in range(30, 60)]
  text = page(tmp_path, result(content))
  numbers = re.findall(r'<tr><td class="text">(\d+)', section(text, "Trials"))
  assert numbers == [str(number) for number in range(29, 9, -1)]
  failed = section(text, "Failed trials")
  assert failed.count("<li>") == 21
  assert "and 10 more" in failed


def test_categories_are_evenly_spaced_in_the_order_of_their_values():
  values = [(256,), (64,), None, (128, 64), (64,)]
  parameter = parameter_axes.parameter_axis("a", values, "choice")
  np.testing.assert_array_equal(parameter.coordinates, [2, 0, np.nan, 1, 0])
  axis = parameter.axis
  assert [*map(axis.format, axis.ticks)] == ["(64,)", "(128, 64)", "(256,)"]
  positions = axis.position(np.array(axis.ticks))
  np.testing.assert_allclose(positions, [1 / 6, 1 / 2, 5 / 6])


def test_a_logarithmic_parameter_has_its_scale():
  values = [1e-4, 1e-3, 1e-2]
  parameter = parameter_axes.parameter_axis("a", values, "log")
  positions = parameter.axis.position(parameter.coordinates)
  np.testing.assert_allclose(np.diff(positions), np.diff(positions)[0])


@pytest.mark.parametrize("high", [1e-3, 0.3, 7.0, 2e4])
def test_labels_that_would_overlap_are_left_out(high):
  values = np.array([high / 900, high])
  for axis in (axes.log_axis(values), axes.linear_axis(values)):
    thinned = parameter_axes.thinned(axis, 214)
    centers = thinned.position(np.array(thinned.ticks)) * 214
    widths = [7 * len(thinned.format(tick)) for tick in thinned.ticks]
    assert len(centers) >= 2
    assert (np.diff(centers) > np.add(widths[1:], widths[:-1]) / 2).all()


def test_a_line_passes_at_the_gap_where_a_parameter_is_missing():
  content = [
    trial(0, 0.1, values={"a": 0.0, "b": 1.0}),
    trial(1, 0.9, values={"a": 1.0}),
  ]
  text = parallel_coordinates(result(content, scales={}))
  assert text.count(">inactive</span>") == 1
  [best] = re.findall('d="(M[^"]*)" class="line group1 bold"', text)
  [other] = re.findall('d="(M[^"]*)" class="line other faint"', text)
  tops = [
    [int(point.split()[1]) for point in path[1:].split("L")]
    for path in (best, other)
  ]
  axis_end = max(tops[1])
  assert tops[0][1] > axis_end
  assert "inactive" not in parallel_coordinates(result(content[:1] * 2))


def test_the_best_tenth_of_the_lines_is_highlighted():
  content = [trial(i, 0.01 * i, values={"a": i}) for i in range(40)]
  content.append(trial(40, 0.99, "pruned", {"a": 3}))
  text = parallel_coordinates(result(content))
  counts = {
    style: text.count(f'class="line {style}"')
    for style in ("group1 bold", "group0", "other soft", "other faint")
  }
  assert [*counts.values()] == [1, 3, 16, 21]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
  """A usual page and one with long names and many categories."""
  folder = tmp_path_factory.mktemp("search")
  usual = report.write_search(folder / "usual.html", "usual", result(trials()))
  content = [
    trial(
      i,
      np.exp(i) / 7,
      values={
        **{f"{LONG}.{LONG}": f"{LONG}{i}", HOSTILE: HOSTILE},
        **{f"part.value_{k}": 10.0 ** (k * i / 30) for k in range(15)},
      },
      reason=LONG,
    )
    for i in range(40)
  ]
  content.append(trial(40, None, "failed", reason=LONG))
  scales = {f"part.value_{k}": "log" for k in range(8)}
  search = result(content, scales=scales, metric=f"valid/{LONG}")
  extreme = report.write_search(folder / "extreme.html", LONG, search)
  return {"usual": usual, "extreme": extreme}


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["usual", "extreme"])
def test_all_text_is_readable(browser, pages, name, width, dark):
  browser.open(pages[name], width=width, dark=dark)
  assert browser.messages == []
  assert browser.evaluate("document.documentElement.scrollWidth") <= width
  measured = browser.evaluate(READABILITY)
  assert len(measured["texts"]) > 100
  # WCAG 2.1, level AA.
  assert [t for t in measured["texts"] if t["contrast"] < 4.5] == []
  assert [t for t in measured["texts"] if t["size"] < 11] == []
  assert measured["overlaps"] == []
  assert measured["cut"] == []
