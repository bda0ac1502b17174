"""Pages in a real browser: no script runs, and all text is readable."""

import json

import numpy as np
import pytest

from dlcore import predictions, report

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

# Contrast of WCAG 2.1 between each text and the colors behind it, font size,
# texts beyond the edges, and labels of an axis that overlap each other.
READABILITY = r"""
(() => {
  const parse = color => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], back) =>
    [r, g, b].map((value, i) => a * value + (1 - a) * back[i]);
  const luminance = color => {
    const [r, g, b] = color.map(value => {
      const share = value / 255;
      return share <= 0.04045
        ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = element => {
    const own = parse(getComputedStyle(element).backgroundColor);
    const parent = element.parentElement;
    return own[3] === 1 || !parent
      ? own.slice(0, 3) : over(own, background(parent));
  };
  const texts = [], cut = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const visible = element.checkVisibility() && !element.closest('svg');
    if (!walker.currentNode.data.trim() || !visible) continue;
    const style = getComputedStyle(element);
    const back = background(element);
    const [a, b] = [over(parse(style.color), back), back].map(luminance);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    texts.push({
      text: walker.currentNode.data.slice(0, 40),
      contrast,
      size: parseFloat(style.fontSize),
    });
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const {left, right} = range.getBoundingClientRect();
    if ((left < -1 || right > innerWidth + 1) && !element.closest('.scroll')) {
      cut.push(walker.currentNode.data);
    }
  }
  const overlaps = [];
  for (const plot of document.querySelectorAll('.plot')) {
    for (const axis of ['x', 'y']) {
      const boxes = [...plot.querySelectorAll('span.' + axis)].map(span =>
        [span.textContent, span.getBoundingClientRect()]);
      const pairs = boxes.flatMap((one, i) =>
        boxes.slice(i + 1).map(two => [one, two]));
      for (const [[text, one], [other, two]] of pairs) {
        const apart = axis === 'x'
          ? one.right <= two.left || two.right <= one.left
          : one.bottom <= two.top + 1 || two.bottom <= one.top + 1;
        if (!apart) overlaps.push([text, other]);
      }
    }
  }
  const body = getComputedStyle(document.body).backgroundColor;
  return {texts, cut, overlaps, body: luminance(parse(body).slice(0, 3))};
})()
"""


def write_run(path, *, classes=4, inputs=(3, 3, 1), numbers=False, names=()):
  """Writes a small finished run whose names are hostile and long."""
  names = [*names, LONG] if names else ["a", "b"]
  name = names[0]
  generator = np.random.default_rng(0)
  (path / "assets").mkdir(parents=True)
  labels = [f"{i} {names[i % len(names)]}" for i in range(classes)]
  schema = {
    "classes": labels,
    "columns": [names[i % len(names)] for i in range(inputs[0])],
  }
  data = {
    "name": name,
    "inputs": {name: {"shape": list(inputs), "dtype": name}},
    "splits": {name: {"size": 60, "sha256": name}},
    "schema": schema,
  }
  config = {"seed": 0, "model": {"name": name}, **{n: {n: n} for n in names}}
  summary = {
    "finished": True,
    "metrics": {"test/accuracy": 0.9889, **{f"test/{n}": 0.5 for n in names}},
    "phases": dict.fromkeys(names, 1.0),
    "versions": dict.fromkeys(names, name),
    "devices": name,
    "best_step": 30,
    "seconds": 75.0,
    "parameters": 123_456_789,
  }
  contents = {
    "assets/data.json": data,
    "config.json": config,
    "summary.json": summary,
  }
  for file, content in contents.items():
    (path / file).write_text(json.dumps(content))
  splits = ("train", "valid", "layers", *(f"valid/{n}" for n in names))
  layers = {f"gradient_norm/{n}/kernel": 1.5 for n in names}
  with (path / "metrics.jsonl").open("w") as file:
    for step in range(10, 50, 10):
      for split in splits:
        values = layers if split == "layers" else dict.fromkeys(names, 0.2)
        line = {"step": step, "split": split, "loss": 9 / step, **values}
        file.write(json.dumps(line) + "\n")
  images = generator.random((9, *inputs))
  if numbers:
    target, prediction = generator.normal(size=(2, 60))
    arrays = predictions.regression(
      "test", target, prediction, lambda i: images[i % 9]
    )
  else:
    probabilities = generator.dirichlet(np.full(classes, 0.2), 300)
    # Mostly right, so that the confusion matrix has every strength of color.
    right = generator.random(300) < np.linspace(0.2, 1, 300)
    label = np.where(
      right, probabilities.argmax(-1), generator.integers(0, classes, 300)
    )
    arrays = predictions.classification(
      name, label, probabilities, lambda i: images[i % 9]
    )
  np.savez(path / "assets/predictions.npz", **arrays)
  if len(inputs) == 3:
    maps = {n: generator.random((5, 5, 20)) for n in names}
    kernel = generator.normal(size=(3, 3, inputs[-1], 64))
    arrays = predictions.features(images[0], kernel, maps)
    arrays = {k.replace("/", "//", 1): v for k, v in arrays.items()}
    np.savez(
      path / "assets/features.npz",
      **{k.replace("//", "/", 1): v for k, v in arrays.items()},
    )
  return path


PAGES = {
  "few classes": {},
  "hostile": {"names": HOSTILE, "classes": 12},
  "many classes": {"classes": 30, "names": [LONG]},
  "a table": {"inputs": (12,), "names": [LONG]},
  "numbers": {"inputs": (12,), "numbers": True},
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
