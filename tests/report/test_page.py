"""The page shows the content of the folder and executes nothing in it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dlcore import report, report_arrays
from dlcore.report import page, run

HOSTILE = "<script>alert('1')</script>\"&"
TITLES = (
  "Result",
  "About the data",
  "Curves",
  "Optimization",
  "Time, 4.0 s",
  "Versions",
)


def folder(path, *, classes=4, inputs=(3, 3, 1), regression=False, name="a"):
  """Writes a small finished run of version 0.1 and returns its folder."""
  random = np.random.default_rng(0)
  (path / "assets").mkdir(parents=True)
  names = [f"{name}{label}" for label in range(classes)]
  splits = {"train": {"size": 80, "sha256": "ab" * 32}, "test": {"size": 60}}
  write_json(
    path / "assets/data.json",
    {"name": name, "shape": list(inputs), "classes": names, "splits": splits},
  )
  write_json(
    path / "config.json",
    {
      "seed": 0,
      "data": {"name": name},
      "model": {"name": "mlp", name: [1, {}]},
    },
  )
  summary = {
    "step": 40,
    "best_step": 30,
    "metrics": {"test/accuracy": 0.9889, "test/loss": 0.04},
    "seconds": 75.0,
    "phases": {"start": 1.0, "step": 3.0},
    "versions": {"jax": "0.12.0"},
    "devices": "1 x cpu",
    "finished": True,
  }
  write_json(path / "summary.json", summary)
  lines = [
    {"step": step, "split": split, "loss": 3.0 / step, "learning_rate": 0.1}
    for step in range(1, 41)
    for split in ("train", "valid")
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (path / "metrics.jsonl").write_text(text)

  def read(indices):
    return random.random((len(indices), *inputs))

  if regression:
    target = random.normal(size=60)
    arrays = report_arrays.regression(
      "test", target, target + random.normal(size=60), read
    )
  else:
    probabilities = random.dirichlet(np.ones(classes), 60)
    labels = random.integers(0, classes, 60)
    arrays = report_arrays.classification("test", labels, probabilities, read)
  np.savez(path / "assets/predictions.npz", **arrays)
  return path


def write_json(path, content):
  path.write_text(json.dumps(content))


def written(path):
  return report.write(path).read_text(encoding="utf-8")


def titles(text):
  return re.findall("<h2>(.*?)</h2>", text)


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    ({}, ("Classes, test", "Worst mistakes")),
    ({"classes": 30}, ("Classes, test", "Worst mistakes")),
    ({"inputs": (12,)}, ("Classes, test", "Worst mistakes")),
    ({"regression": True}, ("Predictions, test", "Largest errors")),
  ],
)
def test_every_section_appears_if_its_arrays_exist(tmp_path, options, expected):
  text = written(folder(tmp_path / "run", **options))
  assert sorted(titles(text)) == sorted((*TITLES, *expected, "Config"))
  assert "98.9%" in text
  assert "not finished" not in text


def test_scores_stand_beside_their_interval_and_the_trivial_answer(tmp_path):
  path = folder(tmp_path / "run")
  summary = json.loads((path / "summary.json").read_text())
  write_json(
    path / "summary.json",
    {
      **summary,
      "trivial": {"test/accuracy": 0.625, "valid/accuracy": 0.5},
      "trivial_answer": "always 'katze'",
      "intervals": {"test/accuracy": [0.9711, 1.0], "test/loss": [1, "x"]},
      "warnings": ["never predicted: 'hund'"],
    },
  )
  text = written(path)
  [row] = re.findall('<tr><td class="text">accuracy</td>(.*?)</tr>', text)
  cells = re.findall("<td>(.*?)</td>", row)
  assert cells == ["98.89%", "97.11% to 100.00%", "62.50%"]
  assert "always &#x27;katze&#x27;</th>" in text
  assert "never predicted: &#x27;hund&#x27;" in text
  assert "Remarks" not in titles(text)


def test_the_headline_is_the_metric_that_chose_the_best_step(tmp_path):
  path = folder(tmp_path / "run")
  summary = json.loads((path / "summary.json").read_text())
  summary["metrics"]["test/f1_macro"] = 0.4321
  write_json(path / "summary.json", summary)
  assert "test accuracy" in written(path)
  config = json.loads((path / "config.json").read_text())
  config["training"] = {"best_by": "f1_macro"}
  write_json(path / "config.json", config)
  assert "test macro F1</span>43.2%" in written(path)


@pytest.mark.parametrize(
  ("name", "gone"),
  [
    ("metrics.jsonl", {"Curves", "Optimization"}),
    ("config.json", {"Config"}),
    ("summary.json", {"Result", "Time, 4.0 s", "Versions"}),
    ("assets/predictions.npz", {"Classes, test", "Worst mistakes"}),
    ("assets/data.json", {"About the data"}),
  ],
)
def test_missing_and_malformed_files_are_omitted(tmp_path, name, gone):
  path = folder(tmp_path / "run")
  whole = set(titles(written(path)))
  (path / name).unlink()
  without = titles(written(path))
  assert whole - set(without) == gone
  assert "Remarks" not in without
  for content in (b"", b"[1]", b'{"step": [', b"PK\x03\x04\xff" * 9, b"1e999"):
    (path / name).write_bytes(content)
    assert "Remarks" in titles(written(path)) or not content


def test_an_empty_folder_gives_a_page(tmp_path):
  assert "This run is not finished" in written(tmp_path)


class Resources(HTMLParser):
  """Collects the resources and the elements of a page."""

  def __init__(self, text):
    super().__init__()
    self.uris, self.tags, self.open = [], set(), []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    if tag not in ("img", "meta"):
      self.open.append(tag)
    for key, value in attrs:
      assert not key.startswith("on")
      if key in ("src", "href", "srcset", "action", "data"):
        self.uris.append(value)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def test_the_page_is_self_contained_and_well_formed(tmp_path):
  text = written(folder(tmp_path / "run"))
  resources = Resources(text)
  assert resources.open == []
  assert resources.uris
  assert all(uri.startswith("data:image/png") for uri in resources.uris)
  assert not resources.tags & {"script", "link", "iframe", "object", "base"}
  assert not re.search(r"https?://|url\(|@import", text)


@pytest.mark.parametrize("options", [{}, {"inputs": (5,)}, {"classes": 25}])
def test_hostile_strings_are_escaped(tmp_path, options):
  path = folder(tmp_path / "<b>run", name=HOSTILE, **options)
  line = {"step": 41, "split": HOSTILE, "loss": 1, HOSTILE: 2}
  with (path / "metrics.jsonl").open("a") as file:
    file.write(json.dumps(line) + "\n")
  summary = json.loads((path / "summary.json").read_text())
  for key in ("metrics", "phases", "versions"):
    summary[key][HOSTILE + "\ud800"] = 1.5
  write_json(path / "summary.json", {**summary, "devices": HOSTILE})
  text = written(path)
  assert "Remarks" not in titles(text)
  assert "<script" not in text
  assert "&lt;script&gt;" in text
  assert not Resources(text).tags & {"script", "b>run"}


def test_a_truncated_line_and_values_that_are_not_finite_are_tolerated(
  tmp_path,
):
  path = folder(tmp_path / "run")
  before = run.read(path).curves
  with (path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 41, "split": "train", "loss": NaN}\n')
    file.write('{"step": 42, "split": "train", "loss": -Infinity}\n')
    file.write('{"step": 43, "split": "train", "lo')
  after = run.read(path)
  assert np.array_equal(after.curves["loss"]["train"], before["loss"]["train"])
  assert len(after.remarks) == 2
  assert "<h2>Curves</h2>" in written(path)


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("label", np.full(60, 2**31 - 1, np.int32)),
    ("label", np.full(60, -1, np.int32)),
    ("prediction", np.zeros(59, np.int32)),
    ("probability", np.full(60, np.nan, np.float32)),
  ],
)
def test_predictions_out_of_range_are_omitted(tmp_path, key, value):
  path = folder(tmp_path / "run")
  save_arrays(path, **{key: value, "histogram/x": np.arange(5.0)})
  content = run.read(path)
  assert not {"label", "prediction", "probability"} & content.arrays.keys()
  assert {"histogram/x", "worst_input"} < content.arrays.keys()
  assert len(content.remarks) == 1


def test_a_file_with_python_objects_is_not_read(tmp_path):
  path = folder(tmp_path / "run")
  file = path / "assets/predictions.npz"
  with np.load(file) as archive:
    arrays = dict(archive)
  objects = np.array([{}] * 60, object)
  np.savez(file, allow_pickle=True, **{**arrays, "label": objects})
  content = run.read(path)
  assert content.arrays == {}
  assert len(content.remarks) == 1


def test_an_archive_of_many_arrays_is_not_read(tmp_path):
  path = folder(tmp_path / "run")
  arrays = {f"a{i}": np.zeros(1) for i in range(1025)}
  np.savez(path / "assets/predictions.npz", **arrays)
  [remark] = run.read(path).remarks
  assert "1,025 members, more than 1,024" in remark


def test_links_are_not_followed(tmp_path):
  path = folder(tmp_path / "run")
  (path / "config.json").rename(tmp_path / "secret.json")
  (path / "config.json").symlink_to(tmp_path / "secret.json")
  assert run.read(path).config == {}
  (path / "report.html").symlink_to(tmp_path / "secret.json")
  written(path)
  assert "seed" in json.loads((tmp_path / "secret.json").read_text())


def test_the_page_depends_on_the_content_only(tmp_path):
  first = folder(tmp_path / "first")
  text = written(first)
  second = first.rename(tmp_path / "second")
  assert written(second) == text.replace(">first<", ">second<")
  assert sorted(p.name for p in second.iterdir() if p.name[0] == ".") == []


def test_a_bug_in_a_section_omits_only_that_section(tmp_path, monkeypatch):
  def broken(content):
    raise ZeroDivisionError

  sections = (page.Section(broken), *page.SECTIONS)
  monkeypatch.setattr(page, "SECTIONS", sections)
  text = written(folder(tmp_path / "run"))
  assert "section broken is omitted" in text
  assert "Curves" in titles(text)


def test_layer_statistics_get_their_own_charts(tmp_path):
  path = folder(tmp_path / "run")
  kinds = ("kernel", "bias")
  names = [f"gradient_norm/block_{i}/{k}" for i in range(30) for k in kinds]
  names += [f"update_ratio/{i}/bias" for i in range(3)]
  lines = [
    {"step": step, "split": "layers", **dict.fromkeys(names, 0.5 * step)}
    for step in (1, 21)
  ]
  with (path / "metrics.jsonl").open("a") as file:
    file.writelines(json.dumps(line) + "\n" for line in lines)
  text = written(path)
  [part] = re.findall("<h2>Layers</h2>(.*?)</section>", text, re.DOTALL)
  assert part.count("<figure") == 2
  # Of many layers, some kernels from the first to the last; of few, all.
  assert part.count('class="line ') == 16 + 3
  assert "block_0/kernel" in part
  assert "block_29/kernel" in part
  assert "gradient norm/block" not in text


def test_data_of_the_current_format_are_shown(tmp_path):
  path = folder(tmp_path / "run")
  schema = {"kind": "images", "classes": ["cat", "dog", "emu", "fox"]}
  inputs = {"image": {"shape": [3, 3, 1], "dtype": "uint8"}}
  content = {"name": "pets", "inputs": inputs, "schema": schema}
  write_json(path / "assets/data.json", content)
  text = written(path)
  assert "<dt>image</dt><dd>3 \N{MULTIPLICATION SIGN} 3" in text
  assert "<dt>classes</dt><dd>4</dd>" in text
  assert run.class_names(run.read(path), 5) == ["cat", "dog", "emu", "fox", "4"]


def test_columns_of_a_table_are_named_in_both_formats(tmp_path):
  path = folder(tmp_path / "run", inputs=(2,), regression=True)
  columns = ["height", "weight"]
  for content in ({"columns": columns}, {"schema": {"columns": columns}}):
    write_json(path / "assets/data.json", content)
    assert ">height</th>" in written(path)


def test_numbers_of_a_table_with_offsets_are_in_its_own_units(tmp_path):
  path = folder(tmp_path / "run", inputs=(2,), regression=True)
  # The target is from -2.6 to 2.2, and the columns are from 0 to 1.
  schema = {
    "columns": ["time", "weight"],
    "offsets": [1.7e9, 0.0],
    "target_offset": 20_250_100.5,
  }
  write_json(path / "assets/data.json", {"schema": schema})
  text = written(path)
  largest, axes = text.partition("Largest errors")[2], text.count("20,250,100")
  cells = re.findall("<td[^>]*>([^<]*)</td>", largest)[:5]
  true, predicted, error, time, weight = cells
  for cell in (true, predicted):
    assert abs(float(cell.replace(",", "")) - 20_250_100.5) < 10
    assert "." in cell
  assert abs(float(error.replace("\N{MINUS SIGN}", "-"))) < 10
  assert time.startswith(("1,700,000,000.", "1,700,000,001."))
  assert 0 <= float(weight) <= 1
  assert axes >= 2
  assert "true \N{MINUS SIGN} 20,250,100" in text
  assert "values minus 20,250,100." in text
  for damaged in ("x", [1], True, 1e300, None):
    schema |= {"offsets": [damaged, 0.0], "target_offset": damaged}
    write_json(path / "assets/data.json", {"schema": schema})
    assert "omitted" not in written(path)


def test_every_validation_set_is_a_line_of_its_own(tmp_path):
  path = folder(tmp_path / "run")
  with (path / "metrics.jsonl").open("a") as file:
    for split in ("valid/new", "valid/old"):
      for step in (10, 20, 30):
        line = {"step": step, "split": split, "loss": 1.0, "accuracy": 0.5}
        file.write(json.dumps(line) + "\n")
  summary = json.loads((path / "summary.json").read_text())
  summary["metrics"] |= {"valid/new/loss": 1.0, "valid/old/loss": 2.0}
  write_json(path / "summary.json", summary)
  text = written(path)
  [part] = re.findall("<h2>Curves</h2>(.*?)</section>", text, re.DOTALL)
  loss = part.partition("</figure>")[0]
  names = re.findall('<i class="([^"]+)"></i>([^<]+)</span>', loss)
  splits = ["train", "valid", "valid/new", "valid/old", "best at 30"]
  assert [name for _, name in names] == splits
  assert len({style for style, _ in names}) == len(names)
  [part] = re.findall("<h2>Result</h2>(.*?)</section>", text, re.DOTALL)
  assert ">valid/new</th>" in part


def test_the_first_of_only_named_validation_sets_is_marked_as_valid(tmp_path):
  path = folder(tmp_path / "run")
  lines = [
    {"step": step, "split": split, "loss": 1.0}
    for step in (1, 40)
    for split in ("train", "valid/a", "valid/b")
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (path / "metrics.jsonl").write_text(text)
  assert '<i class="valid"></i>valid/a' in written(path)
  assert "best at 30" in written(path)


def save_arrays(path, **changes):
  """Replaces arrays of the predictions; None removes one."""
  file = path / "assets/predictions.npz"
  with np.load(file) as archive:
    arrays = {**archive, **changes}
  np.savez(file, **{k: v for k, v in arrays.items() if v is not None})


def test_unknown_arrays_are_omitted_with_a_remark(tmp_path):
  path = folder(tmp_path / "run")
  save_arrays(path, attention=np.zeros(3))
  text = written(path)
  assert "predictions.npz: unknown arrays are omitted: attention" in text
  assert {"Classes, test", "Worst mistakes"} < set(titles(text))


def test_arrays_beyond_the_limits_are_mentioned(tmp_path):
  path = folder(tmp_path / "run")
  names = [f"histogram/h{i:03d}" for i in range(70)]
  save_arrays(path, **dict.fromkeys(names, np.arange(5.0)))
  text = written(path)
  assert "the arrays after the first 64 of 70 are omitted" in text
  assert "The first 24 of 64 histograms." in text


@pytest.mark.parametrize(
  ("removed", "gone"),
  [
    ("probability", {"Classes, test"}),
    ("worst_input", {"Worst mistakes"}),
    ("worst_prediction", {"Worst mistakes"}),
    ("worst_probability", set()),
    ("split", set()),
  ],
)
def test_a_section_needs_only_its_own_arrays(tmp_path, removed, gone):
  path = folder(tmp_path / "run")
  whole = set(titles(written(path)))
  save_arrays(path, **{removed: None})
  assert whole - set(titles(written(path))) == gone


def test_mistakes_show_texts(tmp_path):
  path = folder(tmp_path / "run")
  count = len(run.read(path).arrays["worst_label"])
  save_arrays(
    path, worst_input=np.array([f"{HOSTILE} {i}" for i in range(count)])
  )
  text = written(path)
  assert "Remarks" not in titles(text)
  assert "&lt;/script&gt;&quot;&amp; 1</dd>" in text


@pytest.mark.parametrize(
  ("name", "title"), [("input_ids", "token 0"), ("features", "feature 0")]
)
def test_mistakes_of_token_ids_have_columns_of_tokens(tmp_path, name, title):
  path = folder(tmp_path / "run", inputs=(3,))
  content = json.loads((path / "assets/data.json").read_text())
  content["inputs"] = {name: {"shape": [3], "dtype": "int32"}}
  write_json(path / "assets/data.json", content)
  assert f">{title}</th>" in written(path)


def test_runs_of_version_0_1_are_shown(tmp_path):
  folders = Path(__file__).parent.parent / "runs_v0_1"
  for name in ("cnn_ema", "table_adafactor"):
    text = report.write(folders / name, tmp_path / "x.html").read_text()
    assert {"Result", "Curves", "Config"} < set(titles(text))
    assert "Remarks" not in titles(text)
