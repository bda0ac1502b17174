"""Every data set that needs no files loads, and its description survives."""

import inspect
import json
import math

import pytest

from dlcore import data
from dlcore.errors import UserError

NEED_FILES = {
  "ag_news_subset",
  "chat",
  "cifar10",
  "cifar100",
  "fashion_mnist",
  "glue/mnli",
  "glue/sst2",
  "glue/stsb",
  "image_folder",
  "imagenet2012",
  "imdb_reviews",
  "kmnist",
  "lm1b",
  "mnist",
  "npz_file",
  "similar_texts",
  "table_csv",
  "table_file",
  "tagged_text",
  "ted_hrlr_translate/pt_to_en",
  "text_csv",
  "text_file",
  "text_folder",
  "text_pairs",
  "tfds",
  "tfds_corpus",
  "tfds_pairs",
  "tfds_text",
  "wmt14_translate/de-en",
}
"""Data sets whose own tests write their files."""

LARGE = {"cmudict", "cmudict_stress", "number_words"}
"""Data sets that load in seconds."""


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE))
    for name in sorted(data.DATASETS.keys() - NEED_FILES)
  ],
)
def test_a_data_set_loads_and_its_info_survives_json(name):
  splits = data.load(name)
  for source in splits:
    content = json.loads(json.dumps(data.info_to_json(source.info)))
    restored = data.info_from_json(content)
    assert restored.schema == source.info.schema
    assert restored.inputs == source.info.inputs
    assert source.info.size == source.size
    assert "\n" not in repr(source)
  checksums = [source.info.sha256 for source in splits]
  assert len(set(checksums)) == len(checksums)


@pytest.mark.parametrize(
  "settings",
  [
    {"image_size": 1e300},
    {"image_size": True},
    {"channels": 0.5},
    {"valid_fraction": math.nan},
    {"valid_fraction": "0.1"},
    {"value_range": 3},
    {"path": 3},
  ],
  ids=str,
)
def test_a_setting_of_another_type_than_its_default_is_refused(
  settings, tmp_path
):
  with pytest.raises(
    UserError, match=rf"expected .*\b{next(iter(settings))}\b"
  ):
    data.load("image_folder", **{"path": str(tmp_path), **settings})


@pytest.mark.parametrize(
  ("name", "settings"),
  [
    ("image_folder", {}),
    ("npz_file", {}),
    ("table_csv", {"target": "y"}),
    ("tagged_text", {}),
    ("text_csv", {"text": "x", "target": "y"}),
    ("text_file", {}),
    ("text_folder", {}),
    ("text_pairs", {}),
  ],
)
def test_the_home_folder_of_an_unknown_user_is_a_missing_path(name, settings):
  with pytest.raises(UserError, match="~nobody_here"):
    data.load(name, path="~nobody_here/own", **settings)


@pytest.mark.parametrize(
  "returned", [None, data.load("digits").train, data.Splits({"label": [0]})]
)
def test_a_row_that_returns_no_splits_is_named(monkeypatch, returned):
  monkeypatch.setitem(data.DATASETS, "own", lambda: returned)
  with pytest.raises(UserError, match="'own' of DATASETS") as caught:
    data.load("own")
  assert len(caught.value.lines) == 3


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE))
    for name in sorted(data.DATASETS.keys() - NEED_FILES)
  ],
)
def test_a_limit_selects_that_many_examples_and_a_misspelled_setting_is_refused(
  name,
):
  assert data.limit(data.load(name).train, 20).size == 20
  setting = max(inspect.signature(data.DATASETS[name]).parameters, key=len)
  with pytest.raises(UserError, match=setting):
    data.load(name, **{setting[:-1]: 0.1})
