"""Hostile chat templates, which are programs in Jinja."""

import json
import random
import shutil
from pathlib import Path

from hostile_inputs.case import EXTREMES, Case, nested
from hostile_inputs.text_cases import load_case, write

PLAIN = (
  "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}"
  "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
MARKED = (
  "{% for m in messages %}{% generation %}{{ m.content + eos_token }}"
  "{% endgeneration %}{% endfor %}"
)
LOOP = "{% for i in range(99999) %}"
HOSTILE = (
  LOOP + LOOP + "x" + 2 * "{% endfor %}",
  LOOP * 20 + "{% endfor %}" * 20,
  "{% for i in range(10 ** 18) %}{% endfor %}",
  "{{ 'x' * 10 ** 12 }}",
  "{{ [0] * 10 ** 12 }}",
  "{{ 9 ** 9 ** 9 }}",
  "{{ messages * 10 ** 9 }}",
  "{{ ''.__class__.__mro__[1].__subclasses__() }}",
  "{{ cycler.__init__.__globals__.os.system('gs from a template') }}",
  "{{ lipsum.__globals__ }}",
  "{% include '/etc/passwd' %}",
  "{% import 'os' as os %}",
  "{% extends messages %}",
  "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
  "{% set ns = namespace(x=1) %}{% for i in range(999) %}"
  "{% set ns.x = ns.x * 9999999 %}{% endfor %}{{ ns.x }}",
  "{% set ns = namespace(x='a') %}{% for i in range(99) %}"
  "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
  "{{ raise_exception('x' * 60000) }}",
  "{{ raise_exception() }}",
  "{{ 1 / 0 }}",
  "{{ undefined.x.y }}",
  "{{ messages[0].content.format_map(x) }}",
  "{{ 'x' | center(10 ** 11) }}",
  "{{ '%999999999999d' | format(1) }}",
  "{{ '{:999999999999}'.format(1) }}",
  "{{ 'x'.ljust(10 ** 11) }}",
  "{{ ('x' * 10 ** 7).replace('x', 'x' * 10 ** 7) }}",
  "{{ ('x' * 10 ** 7) | replace('x', 'x' * 10 ** 7) }}",
  "{{ ('x' * 10 ** 7).join('x' * 10 ** 7) }}",
  "{% set ns = namespace(x='a') %}{% for i in range(99) %}"
  "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
  "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(1) }}",
  "{% for i in 'x' * 10 ** 7 %}{% for j in 'x' * 10 ** 7 %}{% endfor %}"
  "{% endfor %}",
  "{{ messages | tojson }}",
  "{% for m in messages %}{{ m.content | reverse }}{% endfor %}",
  "{% for m in messages %}{{ m.content }}{% endfor %}",
  "{" * 5000,
  "{{ " + "(" * 5000,
  "{{ " + "[" * 400 + "]" * 400 + " }}",
  "{% if x %}" * 500,
  "{# " + "x" * 300_000,
  "\ufdd0{{ messages[0].content }}\ufdef",
  "",
)


def templates(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A tokenizer whose chat template is hostile, damaged or of another type."""
  write("chats", folder, valid)
  tokenizer = folder / "tokenizer"
  tokenizer.mkdir()
  shutil.copy(valid / "tokenizer.json", tokenizer)
  good = generator.choice((PLAIN, MARKED))
  at = generator.randrange(len(good))
  cut = (
    good[:at]
    + generator.choice(("", "}", "{%", "|", "\0", " x "))
    + (good[at + generator.choice((0, 1, 3)) :])
  )
  source = generator.choice((*HOSTILE, *[cut] * 20, good))
  settings = {
    "chat_template": source,
    "eos_token": generator.choice(
      (*["<|endoftext|>"] * 4, "</s>", "x", "", None)
    ),
  }
  if generator.random() < 0.2:
    extreme = generator.choice((*EXTREMES[:10], [{"name": "default"}], {}))
    settings[generator.choice(sorted(settings))] = extreme
  text = json.dumps(settings)
  match generator.randrange(10):
    case 0:
      text = nested(generator.choice((900, 100_000)))
    case 1:
      encoded = source.encode("utf-8", "surrogatepass")
      data = generator.choice((encoded, b"\xff" + encoded, encoded * 3))
      (tokenizer / "chat_template.jinja").write_bytes(data)
  (tokenizer / "tokenizer_config.json").write_text(text)
  return load_case("chats", folder, tokenizer=str(tokenizer))
