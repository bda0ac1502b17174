"""Features of one's own images and texts: their files, labels and errors."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import dlcore
from dlcore import data, experiment, models
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.tables.table_schema import TableSchema
from dlcore.data.text.symbol_tokenizers import ByteTokenizer
from dlcore.data.text.text_schema import TextSchema
from dlcore.errors import UserError
from dlcore.experiment import feature_analysis, prediction
from dlcore.experiment.feature_extraction import FeatureExtractor, feature_run
from dlcore.experiment.feature_folder import NAMES
from dlcore.experiment.restoring import RestoredRun
from dlcore.task import Task

LENGTH = 16


def restored(path, schema, inputs, predict=None, model=None, params=None):
  """Returns a run without files."""
  info = data.DataInfo(
    name="own", size=1, sha256="", inputs=inputs, notes=(), schema=schema
  )
  unused = dict.fromkeys(("init", "loss", "evaluate"))
  return RestoredRun(
    folder=experiment.RunFolder(path),
    config={},
    info=info,
    model=model,
    task=Task(**unused, predict=predict),
    params=params or {},
    model_state={},
    to_json=lambda row, info: dict(row),
  )


def pixels(params, model_state, batch, key):
  """Returns the pixels of an image as its features; NaN for a white one."""
  del params, model_state, key
  values = batch["image"].astype(jnp.float32).reshape(len(batch["image"]), -1)
  return {"features": jnp.where(values == 255, jnp.nan, values)}


def letters(params, model_state, batch, key):
  """Returns how often each byte occurs in a text."""
  del params, model_state, key
  known = jax.nn.one_hot(batch["input_ids"], 300)
  return {"features": (known * batch["attention_mask"][..., None]).sum(1)}


@pytest.fixture
def of_images(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(prediction, "ROWS", 4)
  schema, shapes = ImageSchema(), {"image": ((2, 2, 1), "uint8")}
  return FeatureExtractor(restored(tmp_path, schema, shapes, pixels))


@pytest.fixture
def of_texts(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(prediction, "ROWS", 4)
  schema = TextSchema(
    tokenizer=ByteTokenizer(), max_length=LENGTH, prediction_length=64
  )
  shape = ((LENGTH,), "int32"), ((LENGTH,), "uint8")
  shapes = dict(zip(("input_ids", "attention_mask"), shape, strict=True))
  return FeatureExtractor(restored(tmp_path, schema, shapes, letters))


def picture(path, value):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full((2, 2), value, np.uint8)).save(path)


def pictures(folder, count=5):
  for label, name in enumerate(("cat", "dog")):
    for i in range(count):
      value = 20 + 100 * label + i
      shade = np.array([[value, i], [10, value]], np.uint8)
      path = folder / name / f"{i}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(shade).save(path)


def lines(path):
  return list(map(json.loads, path.read_text().splitlines()))


def test_rows_of_the_files_belong_together(of_images, tmp_path):
  pictures(tmp_path / "in")
  found = experiment.write_features(of_images, ["in"], "out")
  values = np.load("out/features.npy")
  assert values.dtype == np.float32
  assert values.shape == (10, 4)
  rows = lines(tmp_path / "out/features.jsonl")
  assert [row["label"] for row in rows] == ["cat"] * 5 + ["dog"] * 5
  for value, row in zip(values, rows, strict=True):
    image = np.asarray(Image.open(row["input"]))
    np.testing.assert_array_equal(value, image.ravel())
  assert found.probes.probes[0].accuracy == 1
  assert "linear probe: 100.0%" in found.probe_lines()[0]
  page = (tmp_path / "out/report.html").read_text()
  for title in ("Map", "Classes", "Near duplicates", "Nearest neighbors"):
    assert f"<h2>{title}</h2>" in page
  assert "Remarks" not in page  # It would name a section that failed.


def test_bad_files_are_named_and_have_no_row(of_images, tmp_path):
  pictures(tmp_path / "in")
  (tmp_path / "in/cat/bad.png").write_text("no picture")
  picture(tmp_path / "in/dog/white.png", 255)
  found = experiment.write_features(of_images, ["in", "in/cat/bad.png"], "out")
  names = [row["input"] for row in lines(tmp_path / "out/errors.jsonl")]
  assert names == ["in/cat/bad.png", "in/dog/white.png", "in/cat/bad.png"]
  assert "not finite" in found.errors[1][1]
  assert len(np.load("out/features.npy")) == 10
  assert "in/dog/white.png" in (tmp_path / "out/report.html").read_text()
  assert "not finite" in found.error_names()


def test_folders_of_splits_are_not_classes(of_images, tmp_path):
  pictures(tmp_path / "in/train", 2)
  pictures(tmp_path / "in/test", 1)
  found = experiment.write_features(of_images, ["in"], "out")
  assert found.classes == ("cat", "dog")


def test_a_table_names_images_and_labels(of_images, tmp_path):
  pictures(tmp_path / "in")
  table = "file,kind\ncat/0.png,a\ndog/1.png,b\ncat/missing.png,a\ndog/2.png,\n"
  (tmp_path / "in/labels.csv").write_text(table)
  found = experiment.write_features(
    of_images, ["in/labels.csv"], "out", column="file", label="kind"
  )
  assert [e.name for e in found.examples] == [
    f"in/labels.csv:{line}" for line in (2, 3, 5)
  ]
  assert found.labels.tolist() == [0, 1, -1]
  assert found.errors == [("in/labels.csv:4", "no such file")]


def test_texts_keep_their_order_whatever_their_length(of_texts, tmp_path):
  texts = ["a" * n for n in (30, 1, 9, 60, 3)]
  rows = [json.dumps({"text": text, "n": len(text)}) for text in texts]
  rows[2:2] = ['{"text": " "}', "no json"]
  (tmp_path / "t.jsonl").write_text("\n".join(rows))
  found = experiment.write_features(of_texts, ["t.jsonl"], "out", label="n")
  kept = lines(tmp_path / "out/features.jsonl")
  assert [row["text"] for row in kept] == texts
  assert [row["label"] for row in kept] == [str(len(t)) for t in texts]
  assert found.values.max(1).tolist() == [len(text) for text in texts]
  bad = [name for name, _ in found.errors]
  assert sorted(bad) == ["t.jsonl:3", "t.jsonl:4"]


def test_texts_in_folders_of_classes(of_texts, tmp_path):
  for name in ("good", "bad"):
    (tmp_path / "in" / name).mkdir(parents=True)
    for i in range(3):
      (tmp_path / f"in/{name}/{i}.txt").write_text(f"{name} text {i}")
  (tmp_path / "in/good/image.png").write_text("")
  found = experiment.write_features(of_texts, ["in"], "out")
  assert found.classes == ("bad", "good")
  assert found.labels.tolist() == [0] * 3 + [1] * 3
  assert [name for name, _ in found.errors] == ["in/good/image.png"]


def test_neighbors_of_queries_and_pairs(of_texts, tmp_path):
  (tmp_path / "t.csv").write_text("text\nabcab\nxyz\nabab\nabcab\n")
  found = experiment.write_features(
    of_texts, ["t.csv"], "out", queries=["abc"], neighbors=2, duplicates=0.999
  )
  near = found.neighbor_lines()
  assert [row["input"] for row in near] == ["t.csv:2", "t.csv:5"]
  assert near[0]["similarity"] == near[1]["similarity"] > 0.9
  [pair] = found.pair_lines()
  assert pair == {"similarity": 1.0, "first": "t.csv:2", "second": "t.csv:5"}
  assert lines(tmp_path / "out/duplicates.jsonl") == [pair]
  assert found.pair_count() == "1 pair of similarity 0.999 or more"
  assert "<h2>Queries</h2>" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_examples_have_a_page(of_images, tmp_path, count):
  for i in range(count):
    picture(tmp_path / f"in/{i}.png", 9 * i)
  found = experiment.write_features(of_images, ["in"], "out")
  assert found.values.shape == (count, 4)
  assert "is omitted" not in (tmp_path / "out/report.html").read_text()


def test_one_class_has_features_and_a_remark(of_images, tmp_path):
  pictures(tmp_path / "in")
  shutil.rmtree(tmp_path / "in/dog")
  found = experiment.write_features(of_images, ["in"], "out")
  assert found.probe_lines() == [
    "There are no probes: they need two classes with two different examples "
    "each."
  ]
  assert "no probes" in (tmp_path / "out/report.html").read_text()


def test_pairs_of_many_examples_are_compared_on_request(
  of_images, tmp_path, monkeypatch
):
  monkeypatch.setattr(feature_analysis, "MAX_COMPARED", 5)
  pictures(tmp_path / "in")
  assert experiment.write_features(of_images, ["in"], "out").pairs is None
  found = experiment.write_features(of_images, ["in"], "out", duplicates=0.9)
  assert found.pairs.total


def test_an_earlier_folder_is_replaced_and_others_are_kept(of_images, tmp_path):
  pictures(tmp_path / "in")
  (tmp_path / "in/bad.png").write_text("")
  experiment.write_features(of_images, ["in"], "out", duplicates=0.5)
  assert {p.name for p in (tmp_path / "out").iterdir()} == {*NAMES}
  (tmp_path / "in/bad.png").unlink()
  experiment.write_features(of_images, ["in"], "out")
  assert not (tmp_path / "out/errors.jsonl").exists()
  assert not (tmp_path / "out/duplicates.jsonl").exists()


@pytest.mark.parametrize(
  ("paths", "settings", "match"),
  [
    (["empty"], {}, "got an empty folder"),
    (["missing"], {}, "no such file"),
    (["in"], {"output": "in"}, "which holds cat, dog"),
    (["in"], {"output": "a.csv"}, "got a file"),
    (["in"], {"queries": ["none.png"]}, "'none.png': no such file"),
    (["in"], {"queries": ["a.csv"]}, "not an image"),
    (["in"], {"column": "text"}, "a table with the column column='text'"),
    (["in"], {"label": "kind"}, "a table with the column label='kind'"),
    (["a.csv"], {"column": "textt"}, "did you mean 'text'"),
    (["a.csv"], {"column": "text", "label": "y"}, "expected a column 'y'"),
    (["a.csv"], {}, "images with finite features"),
    (["white"], {}, "got 1 without: white/w.png: the output of the model"),
    (["in"], {"neighbors": 0}, "neighbors of at least 1"),
    (["in"], {"duplicates": 2.0}, "a cosine similarity"),
  ],
)
def test_mistakes_have_clear_errors(
  of_images, tmp_path, paths, settings, match
):
  pictures(tmp_path / "in")
  (tmp_path / "empty").mkdir()
  picture(tmp_path / "white/w.png", 255)
  (tmp_path / "a.csv").write_text("text\nx\n")
  output = settings.pop("output", "out")
  with pytest.raises(UserError, match=match) as error:
    experiment.write_features(of_images, paths, output, **settings)
  assert len(error.value.lines) <= 3
  assert not (tmp_path / "out").exists()


def test_models_of_other_data_are_refused(tmp_path):
  schema = TableSchema(input="features", columns=("x",))
  run = restored(
    tmp_path,
    schema,
    {"features": ((1,), "float32")},
    lambda params, state, batch, key: {"features": batch["features"]},
  )
  with pytest.raises(UserError, match="a model of images or of texts"):
    experiment.write_features(FeatureExtractor(run), ["in"], tmp_path / "out")


SMALL = {"vocab_size": 20, "width": 8, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize(
  ("name", "settings", "match"),
  [
    ("gpt2", {**SMALL, "head": "lm"}, "GPT2 without one"),
    ("bert_base", {**SMALL, "head": "mlm"}, "Bert without one"),
    ("bert_base", {**SMALL, "head": "tokens", "num_classes": 2}, "each token"),
    (None, {}, "got none from parts"),
  ],
)
def test_models_without_a_vector_of_features_are_refused(
  tmp_path, name, settings, match
):
  model = models.create(name, max_length=LENGTH, **settings) if name else None
  ids = np.zeros((1, LENGTH), np.int32)
  params = {}
  if model is not None:
    shapes = jax.eval_shape(
      lambda: model.init(jax.random.key(0), ids, train=False)
    )
    params = shapes["params"]
  schema = TextSchema(tokenizer=ByteTokenizer(), max_length=LENGTH)
  inputs = {"input_ids": ((LENGTH,), "int32")}
  run = restored(tmp_path, schema, inputs, None, model, params)
  with pytest.raises(UserError, match=match) as error:
    feature_run(run)
  assert len(error.value.lines) == 3


@pytest.mark.slow
def test_features_of_a_model_of_two_networks_are_those_of_both(tmp_path):
  sizes = {"width": 4, "features": 6, "kernel_sizes": (2,), "buckets": 32}
  model = models.create("ngram_cnn", num_classes=2, vocab_size=300, **sizes)
  ids = np.full((1, LENGTH), 7, np.int32)
  variables = model.init(jax.random.key(0), ids, train=False)
  schema = TextSchema(tokenizer=ByteTokenizer(), max_length=LENGTH)
  inputs = {"input_ids": ((LENGTH,), "int32")}
  run = restored(tmp_path, schema, inputs, None, model, variables["params"])
  key = jax.random.key(0)
  values = feature_run(run).task.predict(
    run.params, {}, {"input_ids": ids}, key
  )
  parts = [variables["params"][name]["head"] for name in ("bag", "network")]
  kernel = np.concatenate([part["kernel"] for part in parts])
  logits = values["features"] @ kernel + sum(part["bias"] for part in parts)
  expected = model.apply(variables, ids, train=False)
  np.testing.assert_allclose(logits / 2, expected, atol=1e-5)


@pytest.mark.parametrize(
  ("arguments", "match"),
  [
    ({}, "got neither"),
    ({"workdir": "a", "source": "b"}, "got both"),
    ({"source": "b", "step": 3}, "step with workdir only"),
  ],
)
def test_one_model_is_chosen(arguments, match):
  with pytest.raises(UserError, match=match):
    experiment.load_extractor(**arguments)


@pytest.mark.slow
def test_a_predictor_returns_the_features_of_its_head(digits):
  run = dlcore.load(digits[0])
  [train, *_] = data.load("digits")
  images = train.arrays["image"][:5]
  found = run.features(images)
  assert found.inputs == [*"01234"]
  assert not found.errors
  state = run._run
  head = state.task.variables(state.params, state.model_state)["params"]["head"]
  logits = found.values @ head["kernel"] + head["bias"]
  probabilities = [row["probabilities"] for row in run.predict(images)]
  expected = [list(row.values()) for row in probabilities]
  np.testing.assert_allclose(jax.nn.softmax(logits), expected, atol=1e-5)
  with pytest.raises(UserError, match="expected a model of texts"):
    run.text_features(["a text"])


@pytest.mark.slow
def test_the_script_writes_a_folder(digits, user_data, shell, tmp_path):
  folder = shutil.copytree(user_data / "pictures", tmp_path / "in")
  command = ("features", f"--workdir={digits[0]}", "in", "--output=out")
  answer = shell(*command, f"--query={folder}/cat/0.png", "--duplicates=0.99")
  assert answer.code == 0, answer.err
  first, *rest = answer.out.splitlines()
  assert first.startswith("24 rows of ")
  assert json.loads(rest[2])["similarity"] > 0.99
  assert "pairs of similarity 0.99 or more" in rest[-1]
  (folder / "cat" / "x.png").write_text("no picture")
  answer = shell(*command)
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "in/cat/x.png" in answer.err[1]
  answer = shell("features", f"--workdir={digits[0]}", "--output=out")
  assert answer.code == 2
  assert "expected images, texts" in answer.err[0]
