"""Which ids a model may generate."""

from types import SimpleNamespace

from dlcore.data.text.generated_ids import generated_ids
from dlcore.data.text.tokenizer import make_tokenizer

CHARACTERS = make_tokenizer("characters", ["abc"], min_count=1)


def test_ids_without_text_are_not_generated_but_the_end_is():
  ids = generated_ids(CHARACTERS, SimpleNamespace(vocab_size=10))
  text = set(CHARACTERS.encode("abc"))
  assert ids.eos_ids == (CHARACTERS.eos_id,)
  assert ids.pad_id == CHARACTERS.pad_id
  assert set(ids.suppress_tokens) == {*range(10)} - text - {CHARACTERS.eos_id}


def test_a_model_that_translates_generates_ids_of_its_targets():
  model = SimpleNamespace(vocab_size=50, target_vocab_size=8)
  assert max(generated_ids(CHARACTERS, model).suppress_tokens) == 7


def test_further_ids_end_a_text_and_may_be_generated():
  model = SimpleNamespace(vocab_size=CHARACTERS.vocab_size)
  ids = generated_ids(CHARACTERS, model, [4])
  assert ids.eos_ids == (CHARACTERS.eos_id, 4)
  assert 4 not in ids.suppress_tokens
