"""Pairs of texts that are encoded apart, and their scores."""

import numpy as np
import pytest

from dlcore import data
from dlcore.errors import UserError

WORDS = ["red", "green", "blue", "small", "large", "warm", "cold"]


def write(path, rows, header="first,second,score"):
  path.write_text("\n".join([header, *rows]) + "\n")
  return str(path)


@pytest.fixture
def table(tmp_path):
  random = np.random.default_rng(0)
  rows = []
  for i in range(40):
    first, second = (" ".join(random.choice(WORDS, 3)) for _ in range(2))
    rows.append(f"{first},  {second} ,{i % 6}")
  return write(tmp_path / "pairs.csv", rows)


def load(path, **settings):
  return data.load("similar_texts", path=path, min_count=1, **settings)


def test_each_text_has_tokens_of_its_own(table):
  train = load(table).train
  schema, arrays = train.info.schema, train.arrays
  assert train.info.inputs.keys() == {"input_ids", "attention_mask"}
  assert schema.target == "second_input_ids"
  assert "score" not in arrays
  shown = schema.display({k: array[:1] for k, array in arrays.items()})
  first, second = shown[0].split(" \N{BOX DRAWINGS LIGHT VERTICAL} ")
  assert len(first.split()) == len(second.split()) == 3
  [batch] = schema.read_texts([second], 1)
  length = batch.arrays["input_ids"].shape[1]
  np.testing.assert_array_equal(
    batch.arrays["input_ids"][0], arrays["second_input_ids"][0, :length]
  )


def test_equal_texts_have_equal_ids_in_both_columns(tmp_path):
  rows = ["a b,c d,1", "c d,e f,1", "a b,g h,0", *["x y,z w,1"] * 10]
  path = write(tmp_path / "pairs.csv", rows)
  settings = {"valid_fraction": 0.0, "test_fraction": 0.0}
  ids = load(path, **settings).train.arrays["text_ids"]
  assert ids[0, 0] == ids[2, 0]
  assert ids[0, 1] == ids[1, 0]
  assert len(set(ids[:3].ravel())) == 4


def test_pairs_of_one_first_text_are_in_one_split(tmp_path):
  rows = [f"text {i % 12},other {i},1" for i in range(60)]
  splits = load(write(tmp_path / "pairs.csv", rows))
  firsts = [set(part.arrays["text_ids"][:, 0].tolist()) for part in splits]
  assert not firsts[0] & firsts[1]
  assert not firsts[0] & firsts[2]
  assert not firsts[1] & firsts[2]


def test_scores_are_divided_by_the_largest(table):
  train = load(table, score="score", largest_score=5.0).train
  assert train.info.schema.target == "score"
  values = np.unique(train.arrays["score"])
  np.testing.assert_allclose(values, np.arange(6) / 5, rtol=1e-6)


def test_parallel_files_are_pairs(tmp_path):
  lines = [f"{WORDS[i % 7]} {i}" for i in range(40)]
  (tmp_path / "corpus.en").write_text("\n".join(lines) + "\n")
  (tmp_path / "corpus.fr").write_text("\n".join(reversed(lines)) + "\n")
  path = str(tmp_path / "corpus")
  splits = load(path, first="en", second="fr")
  assert sum(part.size for part in splits) == 40
  with pytest.raises(UserError, match="leave score empty for parallel"):
    load(path, first="en", second="fr", score="score")


def test_pairs_without_a_text_or_a_score_are_left_out(tmp_path):
  rows = [f"text {i},other {i},1" for i in range(30)]
  rows += ["  ,other,1", "text,other,"]
  path = write(tmp_path / "pairs.csv", rows)
  splits = load(path, score="score")
  assert sum(part.size for part in splits) == 30
  notes = " ".join(splits.train.info.notes)
  assert "1 examples with an empty text" in notes
  assert "1 of 32" in notes or "without a score" in notes


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    ({"first": "frst"}, "did you mean 'first'"),
    ({"score": "skore"}, "did you mean 'score'"),
    ({"score": "score"}, "set largest_score=5"),
    ({"score": "second"}, "different columns"),
    ({"second": ""}, "different columns"),
    ({"largest_score": 0.0}, "largest_score above 0"),
    ({"max_length": 1}, "max_length from"),
  ],
)
def test_mistakes_have_clear_errors(table, settings, match):
  with pytest.raises(UserError, match=match) as error:
    load(table, **settings)
  assert len(error.value.lines) <= 3


def test_scores_that_are_no_numbers_are_refused(tmp_path):
  rows = [f"text {i},other {i},yes" for i in range(20)]
  with pytest.raises(UserError, match="numbers"):
    load(write(tmp_path / "pairs.csv", rows), score="score")


def test_empty_texts_alone_are_refused(tmp_path):
  rows = ["  ,b,1"] * 20
  with pytest.raises(UserError, match="all of them empty"):
    load(write(tmp_path / "pairs.csv", rows))
