"""Texts on the page: marks, excerpts, confused pairs, lengths, positions."""

import base64
import html
import json
import re
import zlib

import numpy as np
import pytest

from dlcore import report, report_arrays
from dlcore.report import run, texts

HOSTILE = "<script>alert(1)</script>"
WORDS = [f"word{i}" for i in range(400)]
LONG = " ".join(WORDS)


SAMPLES = {
  "prompts": ["one", "two", HOSTILE],
  "references": ["un", "deux", "trois"],
  "samples": [
    {"step": 10, "texts": ["deux", HOSTILE, ""]},
    {"step": 2000, "texts": ["un", "trois", "deux"]},
  ],
}


def attention(examples=2, maps=3, queries=4, keys=5):
  """Arrays of attention maps, of which the first example is shorter."""
  random = np.random.default_rng(0)
  shape = (examples, maps, queries, keys)
  labels = [np.full((examples, size), HOSTILE) for size in (queries, keys)]
  for array in labels:
    array[0, -1] = ""
  return {
    "attention_weight": random.random(shape).astype(np.float16),
    "attention_map": np.array([f"layer {i} {HOSTILE}" for i in range(maps)]),
    "attention_query": labels[0],
    "attention_key": labels[1],
  }


def tokens(text, relevance):
  """One token for each word, which ends where the word does."""
  ends = np.cumsum([len(word) + 1 for word in text.split()]) - 1
  return texts.Tokens(ends, np.asarray(relevance, np.float32))


def plain(markup):
  return re.sub("<.*?>", "", markup)


def test_the_marks_are_the_tokens_by_sign_and_share():
  shown = texts.marked_excerpt("a good film", tokens("a good film", [0, -2, 1]))
  marks = re.findall('<mark class="(.*?)" style="(.*?)">(.*?)</mark>', shown)
  assert marks == [
    ("against", "--share:1.00", "good"),
    ("toward", "--share:0.50", "film"),
  ]
  assert plain(shown) == "a good film"


def test_tokens_without_relevance_leave_the_text_as_it_is():
  shown = texts.marked_excerpt("a b", tokens("a b", [0, 0]))
  assert shown == "a b"
  none = texts.Tokens(np.zeros(0, int), np.zeros(0, np.float32))
  assert texts.marked_excerpt("a b", none) == "a b"


@pytest.mark.parametrize("peak", [0, 3, 200, 398, 399])
def test_an_excerpt_of_a_long_text_has_the_most_relevant_tokens(peak):
  relevance = np.full(len(WORDS), 1e-3)
  relevance[peak] = 1
  shown = plain(texts.marked_excerpt(LONG, tokens(LONG, relevance)))
  assert f"word{peak}" in shown.strip(texts.ELLIPSIS).split()
  assert len(shown) <= texts.MAX_LENGTH + 2
  assert shown.startswith(texts.ELLIPSIS) == (not LONG.startswith(shown[:20]))
  assert len(plain(texts.text_excerpt(LONG))) == texts.MAX_LENGTH + 1


def test_ends_out_of_range_and_hostile_texts_are_harmless():
  ends = np.array([-5, 3, 2, 10**6])
  shown = texts.marked_excerpt(HOSTILE, texts.Tokens(ends, np.ones(4)))
  assert "<script" not in shown
  assert plain(shown) == "&lt;script&gt;alert(1)&lt;/script&gt;"
  assert "<script" not in texts.text_excerpt(HOSTILE)


@pytest.mark.parametrize(
  ("reference", "output", "missing", "extra"),
  [
    ("the red cat", "the cat", ["red"], []),
    ("the cat", "the red old cat", [], ["red old"]),
    ("one two", "one three", ["two"], ["three"]),
    ("AH B", "AH B", [], []),
    ("house", "horse", ["u"], ["r"]),  # Of one word the characters.
    ("a b", "", ["a b"], []),
    ("", "", [], []),
    (HOSTILE, "", ["&lt;script&gt;alert(1)&lt;/script&gt;"], []),
  ],
)
def test_words_that_differ_are_marked(reference, output, missing, extra):
  sides = texts.compared(reference, output)
  for side, style, text, words in zip(
    sides,
    ("right", "wrong"),
    (reference, output),
    (missing, extra),
    strict=True,
  ):
    assert re.findall(f'<mark class="{style}">(.*?)</mark>', side) == words
    assert html.unescape(plain(side)) == text


def test_long_sides_of_a_comparison_are_cut():
  for side in texts.compared(LONG, LONG):
    assert len(plain(side)) == texts.MAX_LENGTH + 1


def write_run(path, *, relevance=True, **changes):
  """Writes a run of a classifier of texts, and returns its arrays."""
  (path / "assets").mkdir(parents=True)
  content = {
    "inputs": {"input_ids": {"shape": [9], "dtype": "int32"}},
    "schema": {"classes": ["bad", "good", HOSTILE]},
  }
  (path / "assets/data.json").write_text(json.dumps(content))
  label = np.arange(60) % 3
  probabilities = np.full((60, 3), 0.2)
  probabilities[np.arange(60), (label + (np.arange(60) % 4 == 0)) % 3] = 0.6
  everything = np.array([f"text {i} {HOSTILE}" for i in range(60)])
  arrays = report_arrays.classification(
    "test", label, probabilities, lambda rows: everything[rows]
  )
  if relevance:
    count = len(arrays["worst_input"])
    arrays["worst_token_end"] = np.tile(np.array([4, 6], np.int32), (count, 1))
    arrays["worst_relevance"] = np.tile(np.float32([1, -1]), (count, 1))
    arrays["relevance_method"] = np.asarray(HOSTILE)
  arrays |= {"by_position/loss": np.float32([2, 1, np.nan, 0.5])}
  arrays |= {"sample_prompt": np.array(["Once"]), "sample_text": everything[:1]}
  arrays |= attention() | changes
  np.savez(path / "assets/predictions.npz", **arrays)
  (path / "assets/samples.json").write_text(json.dumps(SAMPLES))
  examples = {
    "data/input": everything[:6],
    "data/label": label[:6],
    "data/lengths/train": np.arange(1, 90),
  }
  np.savez(path / "assets/data_examples.npz", **examples)
  return arrays


def test_the_page_has_examples_pairs_marks_lengths_and_positions(tmp_path):
  arrays = write_run(tmp_path / "run")
  text = report.write(tmp_path / "run").read_text()
  assert "omitted" not in text
  assert "<script" not in text
  titles = ("length, train", "By position, test", "most confused", "Samples")
  for expected in (*titles, "Attention, test", "Samples during training"):
    assert expected in text
  data = text.partition("About the data")[2].partition("</section>")[0]
  assert data.count('<dd dir="auto">') == 6
  pairs = text.partition("most confused")[2].partition("</figure>")[0]
  assert pairs.count("<dt>") == len(arrays["confused_label"]) == 3
  worst = text.partition("Worst mistakes")[2].partition("</section>")[0]
  assert worst.count('class="toward" style="--share:1.00">text</mark>') == 12


def test_texts_without_relevance_are_shown_too(tmp_path):
  write_run(tmp_path / "run", relevance=False)
  text = report.write(tmp_path / "run").read_text()
  assert "Worst mistakes" in text
  assert "<mark" not in text


@pytest.mark.parametrize(
  "changes",
  [
    {"worst_relevance": np.ones((2, 2), np.float32)},
    {"worst_relevance": np.full((15, 2), np.nan, np.float32)},
    {"worst_token_end": np.ones((15, 2), np.float32)},
    {"worst_token_end": np.ones(15, np.int32)},
    {"confused_label": np.array(["a", "b", "c"])},
    {"confused_label": np.arange(9)},
    {"sample_text": np.arange(1)},
    {"attention_weight": np.full((2, 3, 4, 5), 2, np.float16)},
    {"attention_weight": np.full((2, 3, 4, 5), np.nan, np.float16)},
    {"attention_weight": np.zeros((2, 3, 4, 6), np.float16)},
    {"attention_weight": np.zeros((2, 3, 4, 5), int)},
    {"attention_map": np.array("layer 1")},
    {"attention_key": np.zeros((2, 5))},
  ],
)
def test_malformed_arrays_of_texts_are_omitted_with_a_remark(tmp_path, changes):
  write_run(tmp_path / "run", **changes)
  subject = run.read(tmp_path / "run")
  assert len(subject.remarks) == 1
  assert not changes.keys() & subject.arrays.keys()
  report.write(tmp_path / "run")


def write_tagged_run(path, **changes):
  """Writes a run of a tagger, of which two sequences have wrong tags."""
  (path / "assets").mkdir(parents=True)
  schema = {"classes": ["O", HOSTILE], "target": "labels"}
  content = {"inputs": {}, "schema": schema}
  (path / "assets/data.json").write_text(json.dumps(content))
  arrays = {
    "label": np.array([0, 1, 0]),
    "prediction": np.array([1, 1, 0]),
    "probability": np.float32([0.5, 0.5, 0.5]),
    "worst_index": np.arange(2),
    "worst_input": np.array(["a b c", HOSTILE]),
    "worst_label": np.array(["O", "O"]),
    "worst_prediction": np.array(["X", "X"]),
    "worst_token_label": np.array([[0, -100, 1], [0, -100, -100]]),
    "worst_token_prediction": np.array([[1, 0, 1], [-1, -100, -100]]),
    "worst_token_end": np.array([[1, 3, 5], [30, 30, 30]]),
  }
  np.savez(path / "assets/predictions.npz", **arrays | changes)
  return report.write(path).read_text()


def test_tokens_are_above_their_true_and_predicted_tags(tmp_path):
  text = write_tagged_run(tmp_path / "run")
  assert "omitted" not in text
  assert "<script" not in text
  assert "<th>tokens</th>" in text
  worst = text.partition("Worst mistakes")[2].partition("</section>")[0]
  assert re.findall("<dt>(.*?)</dt>", worst) == [
    "<b>1 wrong</b> of 2 tags",
    "<b>1 wrong</b> of 1 tags",
  ]
  first, second = re.findall("<dd.*?>(.*?)</dd>", worst)
  escaped = plain(texts.text_excerpt(HOSTILE))
  assert re.findall(
    '<mark class="(.*?)">(.*?)</mark><rt>(.*?)</rt>', first
  ) == [
    ("wrong", "a", f"O → {escaped}"),
    ("right", "c", escaped),
  ]
  assert "</ruby> b <ruby>" in first
  assert f"{escaped}</mark><rt>O → ?</rt>" in second


@pytest.mark.parametrize(
  "changes",
  [
    {"worst_token_label": np.zeros((2, 3), np.float32)},
    {"worst_token_prediction": np.zeros((2, 2), np.int32)},
    {"worst_token_label": np.full((2, 3), 10**6)},
  ],
)
def test_malformed_tags_are_omitted_with_a_remark(tmp_path, changes):
  text = write_tagged_run(tmp_path / "run", **changes)
  assert "the tokens of the worst examples are omitted" in text
  assert "<ruby>" not in text


def write_translations(path, **changes):
  """Writes a run of a translator with two wrong outputs."""
  (path / "assets").mkdir(parents=True)
  content = {"inputs": {}, "schema": {"target": "labels"}}
  (path / "assets/data.json").write_text(json.dumps(content))
  arrays = {
    "worst_index": np.arange(2),
    "worst_input": np.array(["one thousand", HOSTILE]),
    "worst_label": np.array(["mille", "deux cent"]),
    "worst_prediction": np.array(["mille un", "deux"]),
    "worst_distance": np.array([2, 1]),
  }
  np.savez(path / "assets/predictions.npz", **arrays | changes)
  return report.write(path).read_text()


def test_outputs_are_below_their_references(tmp_path):
  text = write_translations(tmp_path / "run")
  assert "omitted" not in text
  assert "<script" not in text
  worst = text.partition("Worst outputs")[2].partition("</section>")[0]
  assert re.findall("<dt>(.*?)</dt>", worst) == [
    "2 wrong tokens",
    "1 wrong token",
  ]
  first, second = re.findall("<dd.*?>(.*?)</dd>", worst)
  assert re.findall('<div class="(.*?)">(.*?)</div>', first) == [
    ("source", "one thousand"),
    ("reference", "mille"),
    ("output", 'mille <mark class="wrong">un</mark>'),
  ]
  assert '<mark class="right">cent</mark>' in second


@pytest.mark.parametrize(
  "changes",
  [
    {"worst_distance": np.array([2.0, 1.0])},
    {"worst_distance": np.arange(3)},
    {"worst_label": np.arange(2)[:, None]},
  ],
)
def test_malformed_outputs_are_omitted_with_a_remark(tmp_path, changes):
  text = write_translations(tmp_path / "run", **changes)
  assert "the worst examples are omitted" in text
  assert "Worst outputs" not in text


def test_a_confused_pair_has_its_most_confident_error():
  label = np.array([0, 0, 0, 1, 1, 2])
  probabilities = np.zeros((6, 3))
  most = [(0, 1, 0.8), (1, 1, 0.9), (2, 0, 1), (3, 0, 0.6), (4, 1, 1)]
  most.append((5, 2, 1))
  for row, column, value in most:
    probabilities[row, column] = value
  names = np.array(list("abcdef"))
  kept = report_arrays.classification(
    "test", label, probabilities, lambda rows: names[rows]
  )
  assert kept["confused_input"].tolist() == ["b", "d"]
  assert kept["confused_label"].tolist() == [0, 1]
  assert kept["confused_prediction"].tolist() == [1, 0]
  pictures = report_arrays.classification(
    "test", label, probabilities, lambda rows: rows[:, None]
  )
  assert "confused_input" not in pictures


def test_a_map_has_a_pixel_for_each_weight_and_a_label_for_each_token(tmp_path):
  arrays = write_run(tmp_path / "run")
  text = report.write(tmp_path / "run").read_text()
  part = text.partition("Attention, test")[2].partition("</section>")[0]
  figures = re.findall("<figure.*?</figure>", part)
  assert len(figures) == 2 * 3
  for index, figure in enumerate(figures):
    rows, columns = (3, 4) if index < 3 else (4, 5)
    assert f'style="--columns:{columns};--rows:{rows}"' in figure
    assert figure.count("<span") == rows + columns
    png = base64.b64decode(figure.partition("base64,")[2].partition('"')[0])
    body = zlib.decompress(png[41:-16])  # Between the headers.
    pixels = np.frombuffer(body, np.uint8).reshape(rows, -1)[:, 1:]
    opacity = pixels.reshape(rows, columns, 4)[..., 3] / 255
    weight = arrays["attention_weight"][index // 3, index % 3, :rows, :columns]
    assert np.abs(opacity**2 - weight.astype(float)).max() < 0.01


def test_the_table_of_samples_has_a_row_for_each_step_and_the_true_texts(
  tmp_path,
):
  write_run(tmp_path / "run")
  text = report.write(tmp_path / "run").read_text()
  part = text.partition("Samples during training")[2].partition("</section>")[0]
  rows = [
    [plain(cell) for cell in re.findall("<t[dh].*?>(.*?)</t[dh]>", row)]
    for row in re.findall("<tr.*?>(.*?)</tr>", part)
  ]
  assert [row[0] for row in rows] == ["step", "10", "2,000", "true"]
  assert rows[0][1:3] == ["one", "two"]
  assert rows[2][1:] == ["un", "trois", "deux"]
  # Right are "un" of step 2000, and not "deux" and "trois" at other places.
  assert re.findall('class="hit">(.*?)<', part) == ["un"]


@pytest.mark.parametrize(
  "changes",
  [
    {"samples": None},
    {"samples": [3]},
    {"samples": [{"step": 1.5, "texts": ["a", "b", "c"]}]},
    {"samples": [{"step": -1, "texts": ["a", "b", "c"]}]},
    {"samples": [{"step": 1, "texts": ["a", "b"]}]},
    {"samples": [{"step": 1, "texts": ["a", "b", 3]}]},
    {"prompts": []},
    {"prompts": "one"},
    {"references": ["un"]},
    {"references": None},
  ],
)
def test_malformed_samples_are_omitted_with_a_remark(tmp_path, changes):
  write_run(tmp_path / "run")
  path = tmp_path / "run/assets/samples.json"
  path.write_text(json.dumps({**SAMPLES, **changes}))
  subject = run.read(tmp_path / "run")
  assert len(subject.remarks) == 1
  assert "samples.json" in subject.remarks[0]
  assert not subject.named("history_step")


def test_long_samples_of_many_steps_are_cut(tmp_path):
  write_run(tmp_path / "run")
  path = tmp_path / "run/assets/samples.json"
  many = [{"step": step, "texts": ["x" * 2500] * 18} for step in range(200)]
  content = {"prompts": ["a"] * 18, "references": [], "samples": many}
  path.write_text(json.dumps(content))
  arrays = run.read(tmp_path / "run").arrays
  assert arrays["history_step"].tolist() == [*range(136, 200)]
  assert arrays["history_text"].shape == (64, 16)
  assert arrays["history_text"].nbytes < 10e6
  assert len(report.write(tmp_path / "run").read_bytes()) < 1e6
