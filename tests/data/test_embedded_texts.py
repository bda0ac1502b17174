import json

import numpy as np
import pytest

from dlcore import data
from dlcore.data.text import frozen
from dlcore.errors import UserError

SETS = ("language_id", "reviews")


@pytest.fixture(scope="module", params=SETS)
def splits(request):
  return data.load(request.param)


def texts(source):
  table = frozen.load_table(source.info.name)
  return [table["text"][int(name.split(":")[1])] for name in source.names]


def test_the_test_split_is_that_of_the_file_and_decides_no_vocabulary(splits):
  name = splits.train.info.name
  table = frozen.load_table(name)
  expected = [
    text
    for text, split in zip(table["text"], table["split"], strict=True)
    if split == "test"
  ]
  assert texts(splits.test) == expected
  assert len(expected) == {"language_id": 4000, "reviews": 1000}[name]
  unknown = splits.train.info.schema.tokenizer.unknown_id
  shares = []
  for part in splits:
    ids, mask = part.arrays["input_ids"], part.arrays["attention_mask"]
    shares.append(np.mean(ids[mask > 0] == unknown))
  assert 0 < shares[0] < shares[2]


def test_no_text_is_in_two_splits(splits):
  parts = [[" ".join(text.split()) for text in texts(part)] for part in splits]
  together = sum(map(len, parts))
  assert len({text for part in parts for text in part}) == together


def test_the_labels_are_those_of_the_file(splits):
  info = splits.train.info
  column = {"language_id": "language", "reviews": "label"}[info.name]
  names = frozen.load_table(info.name)[column]
  for part in splits:
    rows = [int(name.split(":")[1]) for name in part.names]
    expected = [info.schema.classes.index(names[i]) for i in rows]
    np.testing.assert_array_equal(part.arrays["label"], expected)


def test_the_valid_split_has_a_tenth_of_each_class(splits):
  counts = [np.bincount(part.arrays["label"]) for part in splits[:2]]
  shares = counts[1] / sum(counts)
  np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_a_note_names_the_origin_and_the_info_is_json(splits):
  info = splits.train.info
  assert info.notes[0] == frozen.origin(info.name)
  content = json.loads(json.dumps(data.info_to_json(info)))
  assert data.info_from_json(content) == info


def test_texts_left_out_of_train_are_counted(splits):
  train, valid, _ = splits
  table = frozen.load_table(train.info.name)
  left_out = table["split"].count("train") - train.size - valid.size
  notes = [note for note in train.info.notes if "left out" in note]
  assert [int(note.split()[0]) for note in notes] == [left_out] * bool(left_out)
  assert left_out == {"language_id": 0, "reviews": 28}[train.info.name]


def test_the_settings_of_tokens_are_checked():
  with pytest.raises(UserError, match="tokenizer"):
    data.load("reviews", tokenizer="syllables")
