"""Writes chat.json, the tokens of conversations by transformers.

Requires transformers and tokenizers: `python tests/golden/make_chat.py`. The
templates are those of ChatML and Llama 3, with the marks by which transformers
knows the tokens of the assistant (`return_assistant_tokens_mask`). The file has
the tokenizer, the conversations, and ids and masks by template.
"""

import json
from pathlib import Path

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = (
  "<|endoftext|>",
  "<|im_start|>",
  "<|im_end|>",
  "<|begin_of_text|>",
  "<|start_header_id|>",
  "<|end_header_id|>",
  "<|eot_id|>",
)

CHATML = (
  "{% for m in messages %}"
  "<|im_start|>{{ m['role'] }}\n"
  "{% if m['role'] == 'assistant' %}"
  "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
  "{% else %}{{ m['content'] }}<|im_end|>{% endif %}"
  "{{ '\n' }}"
  "{% endfor %}"
)

LLAMA = (
  "<|begin_of_text|>"
  "{% for m in messages %}"
  "<|start_header_id|>{{ m['role'] }}<|end_header_id|>{{ '\n\n' }}"
  "{% if m['role'] == 'assistant' %}"
  "{% generation %}{{ m['content'] | trim }}<|eot_id|>{% endgeneration %}"
  "{% else %}{{ m['content'] | trim }}<|eot_id|>{% endif %}"
  "{% endfor %}"
)

TEMPLATES = {"chatml": CHATML, "llama3": LLAMA}

CONVERSATIONS = (
  (("user", "How much is 7 + 8?"), ("assistant", "15")),
  (
    ("system", "Answer in one word.\nBe kind."),
    ("user", "Which color has the sea?"),
    ("assistant", "Blue."),
    ("user", "And the grass, in Österreich? 🙂"),
    ("assistant", "Green,\nas elsewhere."),
  ),
  (("user", "no answer yet"),),
  (("user", "twice"), ("assistant", "one"), ("assistant", "two  three")),
)


def make() -> None:
  """Writes the tokens of every conversation."""
  tokenizer = make_tokenizer()
  library = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
  expected = {
    name: [apply(library, template, turns) for turns in CONVERSATIONS]
    for name, template in TEMPLATES.items()
  }
  content = {
    "tokenizer": tokenizer.to_str(),
    "conversations": CONVERSATIONS,
    "expected": expected,
  }
  path = Path(__file__).with_name("chat.json")
  path.write_text(json.dumps(content) + "\n")
  print(f"{path.stat().st_size:>8,} bytes  {path.name}")


def make_tokenizer() -> Tokenizer:
  """Returns a byte-level BPE with the tokens of both templates."""
  tokenizer = Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=320,
    special_tokens=list(SPECIAL),
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  texts = [text for turns in CONVERSATIONS for turn in turns for text in turn]
  tokenizer.train_from_iterator(texts, trainer)
  return tokenizer


def apply(library, template: str, turns) -> dict[str, list[int]]:
  """Returns the ids and the mask of the tokens of the assistant."""
  output = library.apply_chat_template(
    [{"role": role, "content": content} for role, content in turns],
    chat_template=template,
    tokenize=True,
    return_dict=True,
    return_assistant_tokens_mask=True,
  )
  return {"ids": output["input_ids"], "mask": output["assistant_masks"]}


if __name__ == "__main__":
  make()
