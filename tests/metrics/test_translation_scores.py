"""Scores of translations are those of sacrebleu, or name its extra."""

import sys

import pytest

from dlcore.errors import UserError
from dlcore.metrics import TRANSLATION, check_translation, translation_scores

PREDICTED = ["the cat sat on the mat", "a dog barks at night", "no"]
REFERENCES = [
  ["the cat is on the mat", "a cat sits on a mat"],
  ["the dog barks at night"],
  ["no", "not at all"],
]


def test_scores_are_those_of_the_command(caplog):
  sacrebleu = pytest.importorskip("sacrebleu")
  caplog.set_level("INFO", "dlcore")
  values = translation_scores([*TRANSLATION], PREDICTED, REFERENCES)
  first = [references[0] for references in REFERENCES]
  second = [[*references, None][1] for references in REFERENCES]
  streams = [first, second]
  expected = {
    "bleu": sacrebleu.corpus_bleu(PREDICTED, streams).score,
    "chrf": sacrebleu.corpus_chrf(PREDICTED, streams).score,
    "ter": sacrebleu.corpus_ter(PREDICTED, streams).score,
  }
  assert values == pytest.approx(expected)
  assert "nrefs:var" in caplog.text
  assert "|version:" in caplog.text


def test_equal_texts_have_the_best_scores():
  pytest.importorskip("sacrebleu")
  texts = ["one two three four five", "six seven eight nine ten"]
  values = translation_scores(["bleu", "chrf"], texts, [[t] for t in texts])
  assert values == pytest.approx({"bleu": 100, "chrf": 100})


def test_the_package_is_needed_for_its_scores_only(monkeypatch):
  monkeypatch.setitem(sys.modules, "sacrebleu", None)
  check_translation(())
  assert translation_scores((), PREDICTED, REFERENCES) == {}
  with pytest.raises(UserError, match="package sacrebleu") as error:
    check_translation(("bleu",))
  assert "--extra translation" in error.value.lines[-1]
  with pytest.raises(UserError, match="score of translations 'blue'"):
    check_translation(("blue",))
