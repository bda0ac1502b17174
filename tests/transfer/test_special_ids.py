"""Ids that end sequences, from the files of a published folder."""

import json

import jax
import numpy as np
import pytest
import tokenizers

from dlcore import generation, models, transfer
from dlcore.errors import UserError

VOCAB = {"a": 0, "b": 1, "</s>": 2, "<pad>": 3}


def write(folder, **contents):
  """Writes JSON files by name without the suffix."""
  for name, content in contents.items():
    (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
  inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(VOCAB, "a"))
  inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  inner.add_special_tokens(["</s>", "<pad>"])
  inner.save(str(tmp_path / "tokenizer.json"))
  return tmp_path


FILES = {
  "generation_config": {"eos_token_id": [0, 1]},
  "config": {"eos_token_id": 1},
  "tokenizer_config": {"eos_token": {"content": "</s>"}},
}
EXPECTED = [(0, 1), (1,), (2,), ()]


@pytest.mark.parametrize("first", range(4))
def test_the_first_file_with_an_entry_counts(folder, first):
  names = list(FILES)
  write(folder, **{name: {"eos_token_id": None} for name in names[:first]})
  write(folder, **{name: FILES[name] for name in names[first:]})
  assert transfer.load_special_ids(folder).eos_ids == EXPECTED[first]
  assert transfer.load_tokenizer(folder).eos_ids == EXPECTED[first]


def test_a_special_token_may_be_in_a_separate_file(folder):
  write(folder, special_tokens_map={"eos_token": "</s>"})
  assert transfer.load_tokenizer(folder).eos_ids == (2,)


def test_without_a_tokenizer_the_ids_of_an_encoder_decoder_are_known(tmp_path):
  ids = {"eos_token_id": 0, "pad_token_id": 5, "decoder_start_token_id": 5}
  words = {"bad_words_ids": [[5], [1, 2]], "suppress_tokens": [7]}
  write(tmp_path, config=ids, generation_config=words)
  assert transfer.load_special_ids(tmp_path) == ((0,), 5, 5, (7, 5))


def test_the_padding_of_a_tokenizer_without_one_is_the_end(folder):
  write(folder, config={"eos_token_id": 2})
  assert transfer.load_tokenizer(folder).pad_id == 2
  write(folder, config={"eos_token_id": 2, "pad_token_id": 3})
  assert transfer.load_tokenizer(folder).pad_id == 3
  write(folder, config={"eos_token_id": 2, "pad_token_id": -1})
  assert transfer.load_tokenizer(folder).pad_id == 2


@pytest.mark.parametrize("ids", ["2", 1.5, True, [1, None], {"a": 1}, 2**31])
def test_entries_that_are_no_ids_are_refused(folder, ids):
  write(folder, config={"eos_token_id": ids})
  for load in (transfer.load_special_ids, transfer.load_tokenizer):
    with pytest.raises(UserError, match="eos_token_id in") as error:
      load(folder)
    assert len(error.value.lines) == 3


def test_a_missing_folder_is_refused(tmp_path):
  with pytest.raises(UserError, match="no such file") as error:
    transfer.load_special_ids(tmp_path / "absent")
  assert len(error.value.lines) == 3


@pytest.mark.slow
def test_generation_of_a_loaded_folder_stops_and_its_text_has_no_padding(
  folder,
):
  """The example of the README, with a model that always predicts the end."""
  model = models.GPT2(
    vocab_size=4, width=4, depth=1, num_heads=2, max_length=16
  )
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), np.zeros((1, 2), int), train=False)
  )
  variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, "f"), shapes)
  variables["params"]["norm"]["bias"][0] = 1
  variables["params"]["word_embedding"]["embedding"][2, 0] = 1
  transfer.save_pretrained(folder, model, variables, config={"eos_token_id": 2})
  loaded, variables = transfer.from_pretrained(folder)
  tokenizer = transfer.load_tokenizer(folder)
  prompts = tokenizer.encode(["a b", "b"])
  output = generation.generate(
    generation.prefill(
      loaded,
      variables,
      prompts["input_ids"],
      attention_mask=prompts["attention_mask"],
      max_new_tokens=8,
    ),
    eos_ids=tokenizer.eos_ids,
    pad_id=tokenizer.pad_id,
  )
  assert output.lengths.tolist() == [1, 1]
  assert tokenizer.decode(output.ids) == ["", ""]
