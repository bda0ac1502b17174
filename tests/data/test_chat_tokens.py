"""Conversations have the tokens and the mask of transformers."""

import json
from pathlib import Path

import pytest
import tokenizers

from dlcore import data
from dlcore.data.text.chat_files import Message
from dlcore.data.text.chat_template import ChatEncoder

GOLDEN = json.loads(
  (Path(__file__).parents[1] / "golden" / "chat.json").read_text()
)


@pytest.mark.parametrize("template", GOLDEN["expected"])
def test_the_tokens_of_answers_are_those_of_transformers(template):
  inner = tokenizers.Tokenizer.from_str(GOLDEN["tokenizer"])
  encoder = ChatEncoder(template, data.LibraryTokenizer.of(inner))
  rows = zip(GOLDEN["conversations"], GOLDEN["expected"][template], strict=True)
  for turns, expected in rows:
    found = encoder.encode([Message(*turn) for turn in turns])
    assert found.ids == expected["ids"]
    assert [*map(int, found.scored)] == expected["mask"]
