"""Writes chat.json, the tokens of conversations by transformers.

Requires transformers and tokenizers: `python tests/golden/make_chat.py`. The
templates are those of ChatML and Llama 3, with the marks by which transformers
knows the tokens of the assistant (`return_assistant_tokens_mask`), and others
in the ways in which tokenizers are published: without marks (`unmarked`), whose
masks are those of the same template with marks. The file has the tokenizer, the
conversations, and ids, masks and prompts by template; null where a template
refuses a conversation.
"""

import json
import re
from pathlib import Path

import jinja2
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
  "<s>",
  "</s>",
  "<turn>",
  "</turn>",
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

LINES = """{{ bos_token }}
{% for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|user|>\\n' + message.content + eos_token }}
    {%- elif message.role == 'system' %}
        {{- '<|system|>\\n' + message.content + eos_token }}
    {%- else %}
        {{- '<|assistant|>\\n' }}{% generation %}
        {{- message.content + eos_token }}{% endgeneration %}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\\n' }}
{%- endif %}
"""

BRACKETS = (
  "{{ bos_token }}"
  "{% if messages and messages[0]['role'] == 'system' %}"
  "{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}"
  "{% else %}{% set rest = messages %}{% endif %}"
  "{% for m in rest %}"
  "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
  "{{ raise_exception('Roles must alternate') }}{% endif %}"
  "{% if m['role'] == 'user' %}"
  "{% if loop.first and system is defined %}"
  "{{ '[INST] ' + system + '\n\n' + m['content'] + ' [/INST]' }}"
  "{% else %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% endif %}"
  "{% else %}"
  "{{ ' ' }}{% generation %}{{ m['content'] | trim + eos_token }}"
  "{% endgeneration %}{% endif %}{% endfor %}"
)

TURNS = (
  "{{ bos_token }}"
  "{% if messages and messages[0]['role'] == 'system' %}"
  "{{ raise_exception('System role not supported') }}{% endif %}"
  "{% for m in messages %}"
  "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
  "{{ '<turn>' + role + '\n' }}"
  "{% if role == 'model' %}"
  "{% generation %}{{ m['content'] | trim + '</turn>' }}{% endgeneration %}"
  "{% else %}{{ m['content'] | trim + '</turn>' }}{% endif %}"
  "{{ '\n' }}{% endfor %}"
  "{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
)

DATED = (
  "{% if strftime_now is defined and never %}{{ strftime_now('%d %b %Y') }}"
  "{% else %}{% set date = '26 Jul 2024' %}{% endif %}"
  "{{ '<|im_start|>system\nToday is ' + date + '. ' }}"
  "{% if messages and messages[0].role == 'system' %}"
  "{{ messages[0].content }}{% else %}{{ 'Be helpful.' }}{% endif %}"
  "{{ '<|im_end|>\n' }}"
  "{% for m in messages if m.role != 'system' %}"
  "{{ '<|im_start|>' + m.role + '\n' }}"
  "{% if m.role == 'assistant' %}"
  "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
  "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}"
  "{% endfor %}"
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

OTHERS = {
  "brackets": BRACKETS,
  "dated": DATED,
  "lines": LINES,
  "turns": TURNS,
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
"""Names of special tokens in these templates."""

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
  library = transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, **TOKENS
  )
  expected = {
    name: [apply(library, template, turns) for turns in CONVERSATIONS]
    for name, template in (TEMPLATES | OTHERS).items()
  }
  content = {
    "tokenizer": tokenizer.to_str(),
    "tokens": TOKENS,
    "conversations": CONVERSATIONS,
    "own": list(TEMPLATES),
    "marked": TEMPLATES | OTHERS,
    "unmarked": {name: unmarked(text) for name, text in OTHERS.items()},
    "expected": expected,
    "prompts": {
      name: prompt(library, template) for name, template in OTHERS.items()
    },
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


def unmarked(template: str) -> str:
  """Returns a template without the marks of answers."""
  return re.sub(r"{% (end)?generation %}", "", template)


def apply(library, template: str, turns) -> dict[str, list[int]] | None:
  """Returns the ids and the mask of the tokens of the assistant."""
  try:
    output = library.apply_chat_template(
      [{"role": role, "content": content} for role, content in turns],
      chat_template=template,
      tokenize=True,
      return_dict=True,
      return_assistant_tokens_mask=True,
    )
  except jinja2.TemplateError:
    return None
  return {"ids": output["input_ids"], "mask": output["assistant_masks"]}


def prompt(library, template: str) -> list[int]:
  """Returns the ids of a question, up to the answer."""
  return library.apply_chat_template(
    [{"role": "user", "content": "How much is 7 + 8?"}],
    chat_template=template,
    add_generation_prompt=True,
    tokenize=True,
    return_dict=True,
  )["input_ids"]


if __name__ == "__main__":
  make()
