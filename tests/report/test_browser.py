"""Pages in a real browser: no script runs, and all text is readable."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlcore import report, report_arrays

pytestmark = pytest.mark.slow

HOSTILE = (
  "<img src=x onerror=window.ran=1>",
  "<script>window.ran=1</script>",
  "\"'><svg onload=window.ran=1>",
  "</title></style><script>window.ran=1</script>",
  'x" onmouseover="window.ran=1" style="position:fixed',
  "javascript:window.ran=1",
)
LONG = "a_very_long_name_without_any_space_" * 3
WIDTHS = (360, 1280)
RANDOM = np.random.default_rng(0)

OVERFLOW = """
[document.documentElement.scrollWidth, document.body.scrollWidth]
"""
HANDLERS = """
[...document.querySelectorAll('*')].flatMap(element =>
  [...element.attributes].map(attribute => attribute.name)
).filter(name => name.startsWith('on'))
"""
ELEMENTS = """
[...new Set([...document.querySelectorAll('*')].map(e => e.localName))]
"""

READABILITY = Path(__file__).with_name("readability.js").read_text()


def write_run(path, *, classes=4, inputs=(3, 3, 1), numbers=False, names=()):
  """Writes a small finished run in which every name is one of `names`."""
  names = [*names, LONG] if names else ["a", "b"]
  (path / "assets").mkdir(parents=True)
  for file, content in descriptions(names, classes, inputs).items():
    (path / file).write_text(json.dumps(content))
  lines = (json.dumps(line) + "\n" for line in metric_lines(names))
  (path / "metrics.jsonl").write_text("".join(lines))
  arrays = kept_predictions(names[0], classes, inputs, numbers)
  np.savez(path / "assets/predictions.npz", **arrays)
  if not inputs:
    samples = json.dumps(kept_samples())
    (path / "assets/samples.json").write_text(samples)
  arrays = kept_data(names, classes, inputs, numbers)
  np.savez(path / "assets/data_examples.npz", **arrays)
  if len(inputs) == 3:
    maps = {name: RANDOM.random((5, 5, 20)) for name in names}
    kernel = RANDOM.normal(size=(3, 3, inputs[-1], 64))
    arrays = report_arrays.features(RANDOM.random(inputs), kernel, maps)
    np.savez(path / "assets/features.npz", **arrays)
  return path


def descriptions(names, classes, inputs):
  """Returns the JSON files of a run."""
  name = names[0]
  scores = {f"test/{name}": 0.5 for name in names}
  return {
    "assets/data.json": {
      "name": name,
      "inputs": {name: {"shape": list(inputs), "dtype": name}},
      "notes": names * 3,
      "splits": {name: {"size": 60, "sha256": name}},
      "schema": {
        "classes": [f"{i} {names[i % len(names)]}" for i in range(classes)],
        "columns": [names[i % len(names)] for i in range((*inputs, 0)[0])],
      },
    },
    "config.json": {
      "seed": 0,
      "model": {"name": name},
      **{name: {name: name} for name in names},
    },
    "summary.json": {
      "finished": True,
      "metrics": {"test/accuracy": 0.9889, **scores},
      "trivial": {"test/accuracy": 0.99},
      "trivial_answer": name,
      "phases": dict.fromkeys(names, 1.0),
      "versions": dict.fromkeys(names, name),
      "devices": name,
      "best_step": 30,
      "seconds": 75.0,
      "parameters": 123_456_789,
    },
  }


def metric_lines(names):
  """Yields the lines of the metric log, with several validation sets."""
  layers = {f"gradient_norm/{name}/kernel": 1.5 for name in names}
  splits = ("train", "valid", "layers", *(f"valid/{name}" for name in names))
  for step in range(10, 50, 10):
    for split in splits:
      values = layers if split == "layers" else dict.fromkeys(names, 0.2)
      yield {"step": step, "split": split, "loss": 9 / step, **values}


def kept_predictions(split, classes, inputs, numbers):
  """Returns arrays that fill the confusion matrix with every opacity."""

  def read(indices):
    if not inputs:
      return np.array(texts(len(indices)))
    return RANDOM.random((len(indices), *inputs))

  if numbers:
    target, prediction = RANDOM.normal(size=(2, 60))
    return report_arrays.regression(split, target, prediction, read)
  probabilities = RANDOM.dirichlet(np.full(classes, 0.2), 300)
  right = RANDOM.random(300) < np.linspace(0.2, 1, 300)
  label = np.where(
    right, probabilities.argmax(-1), RANDOM.integers(0, classes, 300)
  )
  arrays = report_arrays.classification(split, label, probabilities, read)
  if not inputs:  # Marks of every strength and both signs.
    shape = (len(arrays["worst_input"]), 40)
    arrays["worst_relevance"] = RANDOM.uniform(-1, 1, shape).astype(np.float32)
    arrays["worst_token_end"] = np.arange(7, 287, 7) + np.zeros(shape, int)
    arrays["relevance_method"] = np.asarray(HOSTILE[0])
    arrays["by_position/loss"] = RANDOM.random(40)
    labels = np.array([[*HOSTILE, *"abc", LONG] * 3] * 2)
    arrays["attention_weight"] = RANDOM.random((2, 4, 30, 30))
    arrays["attention_map"] = np.array([f"layer {i}" for i in range(4)])
    arrays["attention_query"] = arrays["attention_key"] = labels
  return arrays


def kept_samples():
  """Returns long hostile texts by step."""
  entries = [{"step": 10**i, "texts": texts(3)} for i in range(6)]
  return {"prompts": texts(3), "references": texts(3), "samples": entries}


def texts(count):
  """Returns long hostile texts, some without a space."""
  return [
    (HOSTILE[i % len(HOSTILE)] + " plain words ") * 12 + LONG * (i % 3)
    for i in range(count)
  ]


def kept_data(names, classes, inputs, numbers):
  """Returns class counts or targets, and examples of the data."""
  shape = (24, *inputs)
  values = {"data/input": RANDOM.integers(0, 255, shape, np.uint8)}
  if not inputs:
    values["data/input"] = np.array(texts(24))
    values["data/lengths/train"] = RANDOM.integers(1, 90, 300)
  if numbers:
    target = RANDOM.normal(size=24)
    return values | {"data/target": target, "data/targets/train": target}
  labels = np.arange(24) % classes
  counts = RANDOM.integers(0, 99_999, classes)
  splits = {f"data/counts/{name}": counts for name in ("train", *names)}
  titles = np.array([names[i % len(names)] for i in range(24)])
  return {**values, **splits, "data/label": labels, "data/name": titles}


PAGES = {
  "few classes": {},
  "hostile": {"names": HOSTILE, "classes": 12},
  "many classes": {"classes": 30, "names": [LONG]},
  "a table": {"inputs": (12,), "names": [LONG]},
  "numbers": {"inputs": (12,), "numbers": True},
  "texts": {"inputs": (), "classes": 12, "names": HOSTILE},
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
  """Pages by name: of single runs, of a group and of a comparison."""
  folder = tmp_path_factory.mktemp("pages")
  paths = {
    name: report.write(write_run(folder / name / "run", **options))
    for name, options in PAGES.items()
  }
  groups = []
  for name in ("plain", "<img src=x onerror=ran=1>", LONG):
    groups.append(folder / "groups" / name)
    for seed in range(3):
      run = write_run(groups[-1] / f"seed_{seed}", names=HOSTILE)
      for file, changes in (
        ("config.json", {"seed": seed, "model": {"name": name}}),
        ("summary.json", {"metrics": {"test/accuracy": 0.9 + 0.01 * seed}}),
      ):
        content = json.loads((run / file).read_text())
        (run / file).write_text(json.dumps({**content, **changes}))
  paths["group"] = report.compare(groups[:1], folder / "group.html")
  paths["comparison"] = report.compare(groups, folder / "comparison.html")
  return paths


EVERY_PAGE = (*PAGES, "group", "comparison")


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_no_script_runs_and_the_console_is_empty(browser, pages, name):
  browser.open(pages[name])
  assert browser.messages == []
  assert browser.evaluate("window.ran") is None
  assert browser.evaluate(HANDLERS) == []
  assert not {"script", "iframe", "link", "object"} & set(
    browser.evaluate(ELEMENTS)
  )


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_names_are_escaped_even_without_the_security_policy(
  browser, pages, tmp_path, name
):
  text = pages[name].read_text()
  assert text.count("http-equiv") == 1
  path = tmp_path / "page.html"
  path.write_text(text.replace("http-equiv", "data-removed"))
  browser.open(path)
  assert browser.messages == []
  assert browser.evaluate("window.ran") is None


def test_the_security_policy_stops_a_script(browser, pages, tmp_path):
  text = pages["few classes"].read_text()
  path = tmp_path / "page.html"
  path.write_text(text.replace("<main>", f"<main>{HOSTILE[1]}{HOSTILE[0]}"))
  browser.open(path)
  assert browser.evaluate("window.ran") is None
  assert "Content Security Policy" in str(browser.messages)
  # Without the policy the same page runs it: this test can fail.
  path.write_text(path.read_text().replace("http-equiv", "data-removed"))
  browser.open(path)
  assert browser.evaluate("window.ran") == 1


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", EVERY_PAGE)
def test_no_page_scrolls_sideways(browser, pages, name, width):
  browser.open(pages[name], width=width)
  browser.evaluate(
    "document.querySelectorAll('details').forEach(d => d.open = true)"
  )
  assert browser.evaluate("innerWidth") == width
  assert max(browser.evaluate(OVERFLOW)) <= width


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", EVERY_PAGE)
def test_all_text_is_readable(browser, pages, name, width, dark):
  browser.open(pages[name], width=width, dark=dark)
  measured = browser.evaluate(READABILITY)
  assert measured["body"] < 0.02 if dark else measured["body"] > 0.9
  assert len(measured["texts"]) > 20
  # WCAG 2.1, level AA.
  assert [t for t in measured["texts"] if t["contrast"] < 4.5] == []
  assert [t for t in measured["texts"] if t["size"] < 11] == []
  assert measured["overlaps"] == []
  assert measured["cut"] == []
