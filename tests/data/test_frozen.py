import collections
import gzip
import re
from pathlib import Path

import pytest

from dlcore.data.text import frozen
from dlcore.errors import UserError

SCRIPTS = Path(__file__).parents[2] / "experiments" / "datasets"


@pytest.mark.parametrize("name", frozen.FROZEN)
def test_a_frozen_set_has_its_checksum_and_an_origin(name):
  entry = frozen.FROZEN[name]
  assert len(frozen.load_text(name)) > 100_000
  sentence = frozen.origin(name)
  for part in (entry.source, entry.version, entry.license):
    assert part in sentence
  assert entry.sha256.startswith(re.findall(r"\b[0-9a-f]{12}\b", sentence)[0])
  assert f"`{entry.file}`" in (frozen.FOLDER / "NOTICES.md").read_text()


@pytest.mark.parametrize("name", frozen.FROZEN)
def test_the_script_of_a_set_requires_the_versions_of_its_origin(name):
  script = (SCRIPTS / f"{name}.py").read_text()
  for version in re.findall(r"\d\.[\w.]+", frozen.FROZEN[name].version):
    assert f'"{version}"' in script


def test_the_files_are_small_and_none_is_without_an_entry():
  sizes = {
    path.name: path.stat().st_size for path in frozen.FOLDER.glob("*.gz")
  }
  assert sizes.keys() == {entry.file for entry in frozen.FROZEN.values()}
  assert max(sizes.values()) < 1_500_000
  assert sum(sizes.values()) < 4_000_000


@pytest.mark.parametrize(
  "damage",
  [
    lambda content: content[: len(content) // 2],
    lambda content: content[:5000] + b"\0\0" + content[5002:],
    lambda content: b"not gzip",
    lambda content: gzip.compress(gzip.decompress(content) + b" "),
    None,
  ],
  ids=["truncated", "changed", "not gzip", "longer", "missing"],
)
def test_a_damaged_file_is_refused_in_three_lines(
  damage, tmp_path, monkeypatch
):
  entry = frozen.FROZEN["catalog_pairs"]
  content = (frozen.FOLDER / entry.file).read_bytes()
  monkeypatch.setattr(frozen, "FOLDER", tmp_path)
  if damage is not None:
    (tmp_path / entry.file).write_bytes(damage(content))
  with pytest.raises(UserError, match=entry.sha256) as error:
    frozen.load_table("catalog_pairs")
  assert len(error.value.lines) == 3
  assert entry.file in error.value.lines[0]


def test_an_unknown_set_is_answered_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'cmudict'"):
    frozen.load_text("cmu_dict")


def test_no_name_is_in_two_languages():
  table = frozen.load_table("language_id")
  assert len(set(table["text"])) == len(table["text"]) == 19_049
  assert len(set(table["language"])) == 24
  assert collections.Counter(table["split"])["test"] == 4000
  assert min(map(len, table["text"])) == 6
  assert all(text == text.lower() for text in table["text"])


def test_all_pronunciations_of_a_word_are_in_one_split():
  table = frozen.load_table("cmudict")
  splits = collections.defaultdict(set)
  for word, split in zip(table["word"], table["split"], strict=True):
    splits[word].add(split)
  counts = collections.Counter(split for [split] in splits.values())
  assert counts["test"] / len(splits) == pytest.approx(0.10, abs=0.005)
  assert counts["valid"] / len(splits) == pytest.approx(0.05, abs=0.005)
  pairs = set(zip(table["word"], table["pronunciation"], strict=True))
  assert len(pairs) == len(table["word"])


def test_no_number_is_in_two_splits_in_any_form():
  table = frozen.load_table("number_words")
  for column in ("number", "english", "french"):
    assert len(set(table[column])) == len(table[column])
  parts = _by_split(table)
  assert len(parts["train"]) < 0.05 * 1_000_000
  for split in ("train", "valid", "test"):
    below = [int(number) < 1_000_000 for number, _, _ in parts[split]]
    assert sum(below) > 0.98 * len(below)


def test_longer_numbers_consist_of_more_words_but_of_no_others():
  parts = _by_split(frozen.load_table("number_words"))
  for column in (1, 2):
    train, longer = (
      [re.findall(r"\w+", row[column]) for row in parts[split]]
      for split in ("train", "longer")
    )
    assert min(map(len, longer)) > max(map(len, train))
    known = {word for words in train for word in words}
    assert {word for words in longer for word in words} <= known


def _by_split(table):
  parts = collections.defaultdict(list)
  *columns, splits = (
    table[name] for name in ("number", "english", "french", "split")
  )
  for *row, split in zip(*columns, splits, strict=True):
    parts[split].append(row)
  return parts


def test_no_paragraph_of_the_documentation_is_repeated():
  paragraphs = frozen.load_text("docs_text").strip().split("\n\n")
  counts = collections.Counter(" ".join(part.split()) for part in paragraphs)
  assert counts.most_common(1)[0][1] == 1
  assert len(paragraphs) > 2000


def test_the_messages_are_pairs_of_different_texts():
  table = frozen.load_table("catalog_pairs")
  english, french = table["english"], table["french"]
  assert len(english) > 3200
  assert len(set(english)) == len(english)
  assert all(
    one and other and one != other
    for one, other in zip(english, french, strict=True)
  )
  assert set(table["source"]) == {"django", "jupyterlab"}
