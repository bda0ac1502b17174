"""The report of runs on texts: relevant tokens, lengths, samples."""

import numpy as np
import pytest

from dlcore import data, experiment
from dlcore.report import run as report_run

pytestmark = pytest.mark.slow

WORDS = ("great", "nice", "awful", "dull")


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("DLCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield


def train(folder, content, **sections):
  config = {
    "data": {"batch_size": 8, **content},
    "training": {"steps": 20, "eval_every": 20},
    "sharding": {"devices": 1},
    **sections,
  }
  experiment.train(experiment.complete(config), folder, progress=False)
  subject = report_run.read(folder)
  assert subject.remarks == ()
  return subject, (folder / "report.html").read_text()


def table(path):
  lines = ["text,label,number\n"]
  for i in range(120):
    words = " ".join(WORDS[(i + k * k) % 4] for k in range(1 + i % 9))
    lines.append(f"{words},{WORDS[i % 4]},{i % 4}\n")
  path.write_text("".join(lines))
  return {"name": "text_csv", "path": str(path), "text": "text"}


@pytest.mark.parametrize(
  ("model", "method"),
  [
    ({"name": "gru", "width": 8}, "gradient"),
    ({"name": "ngram_bag", "width": 8, "buckets": 64}, "leaving"),
  ],
)
@pytest.mark.parametrize("target", ["label", "number"])
def test_the_tokens_of_the_worst_texts_have_their_share(
  tmp_path, model, method, target
):
  name = "classification" if target == "label" else "regression"
  content = table(tmp_path / "own.csv") | {"target": target, "task": name}
  subject, page = train(
    tmp_path / "run", content, model=model, task={"name": name}
  )
  arrays = subject.arrays
  assert str(arrays["relevance_method"]).startswith(method)
  relevance, ends = arrays["worst_relevance"], arrays["worst_token_end"]
  assert np.abs(relevance).max() > 0
  texts = arrays["worst_input"].tolist()
  assert {word for text in texts for word in text.split()} <= {*WORDS, "\ufffd"}
  assert ends.max(1).tolist() == [len(text) for text in texts]
  assert len(subject.named("data/lengths/")["train"]) > 50
  assert "<mark" in page
  assert "length, train" in page


def test_a_language_model_has_samples_and_the_loss_by_position(tmp_path):
  (tmp_path / "own.txt").write_text("to be or not to be, that is it\n\n" * 80)
  content = {
    "name": "text_file",
    "path": str(tmp_path / "own.txt"),
    "max_length": 16,
  }
  models = (
    {"name": "gru", "width": 8, "head": "lm"},
    {"name": "gpt2", "width": 8, "depth": 1, "num_heads": 1, "max_length": 16},
  )
  for number, model in enumerate(models):
    subject, page = train(
      tmp_path / str(number),
      content,
      model=model,
      task={"name": "language_model"},
    )
    arrays = subject.arrays
    assert arrays["by_position/loss"].shape == (16,)
    assert {len(text) for text in arrays["sample_prompt"].tolist()} == {4}
    assert min(len(text) for text in arrays["sample_text"].tolist()) > 0
    assert arrays["history_step"].tolist() == [20]
    assert {len(text) for text in arrays["history_prompt"].tolist()} == {4}
    assert arrays["history_text"].shape == (1, 3)
    assert "Samples during training" in page
    assert ("attention_weight" in arrays) == (number == 1)
    assert "By position" in page
  weight = arrays["attention_weight"].astype(float)
  assert weight.shape == (3, 1, 16, 16)
  np.testing.assert_allclose(weight.sum(-1), 1, atol=5e-3)
  assert (np.triu(weight, 1) == 0).all()
  letters = {*arrays["attention_key"].flat} - {""}
  assert letters <= {*"tobernhais,", "\u2423", "\u23ce"}
  assert (arrays["attention_key"] == arrays["attention_query"]).all()


def test_hidden_tokens_are_predicted_by_a_run_of_its_folder_alone(tmp_path):
  (tmp_path / "own.txt").write_text("to be or not to be, that is it\n\n" * 80)
  content = {
    "name": "text_file",
    "path": str(tmp_path / "own.txt"),
    "max_length": 16,
  }
  model = {
    "name": "bert_base",
    "head": "mlm",
    "width": 8,
    "depth": 1,
    "num_heads": 1,
    "max_length": 16,
  }
  train(
    tmp_path / "run",
    content,
    model=model,
    task={"name": "masked_language_model"},
  )
  predictor = experiment.load(tmp_path / "run")
  size = predictor.info.schema.vocab_size
  assert predictor.info.schema.tokenizer.vocab_size == size
  rows = list(experiment.predict(tmp_path / "run", [tmp_path / "own.txt"]))
  assert all(len(row["tokens"]) == len(row["positions"]) for row in rows)
  assert sum(len(row["tokens"]) for row in rows) > 50
  first, second = (
    experiment.evaluate(tmp_path / "run", split="valid") for _ in range(2)
  )
  assert first == second
  assert 0 <= first["masked_accuracy"] <= 1


def test_a_data_set_without_a_tokenizer_shows_no_texts(tmp_path, monkeypatch):
  def numbers():
    ids = np.random.default_rng(0).integers(0, 9, (60, 5)).astype(np.int32)
    arrays = {"input_ids": ids, "label": (ids[:, 0] % 2).astype(np.int32)}
    source = data.from_arrays(arrays, classes=("even", "odd"), name="numbers")
    return data.Splits(source, source, source)

  monkeypatch.setitem(data.DATASETS, "numbers", numbers)
  model = {"name": "gru", "width": 4}
  subject, page = train(tmp_path / "run", {"name": "numbers"}, model=model)
  assert "relevance_method" not in subject.arrays
  assert "<mark" not in page
