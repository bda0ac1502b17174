"""The tokens of conversations, compared with those of transformers."""

import functools
import json
from pathlib import Path

import pytest
import tokenizers

from dlcore import data
from dlcore.data.text import jinja_sandbox, jinja_template
from dlcore.data.text.chat_files import Message
from dlcore.data.text.chat_template import ChatEncoder, as_jinja
from dlcore.data.text.jinja_encoder import JinjaEncoder
from dlcore.data.text.jinja_template import JinjaTemplate
from dlcore.data.text.published_template import read_template
from dlcore.errors import UserError

GOLDEN = json.loads(
  (Path(__file__).parents[1] / "golden" / "chat.json").read_text()
)
QUESTION = [Message("user", "How much is 7 + 8?")]
LINE = "{% for m in messages %}{{ m.role + ': ' + m.content + '</s>' }}"
PLAIN = LINE + "{% endfor %}"

TWICE = "{% for i in 'x' * 9999 %}{% for j in 'x' * 9999 %}"
END = "{% endfor %}"
DOUBLED = (
  "{{% set n = namespace(x='x') %}}{{% for i in range(40) %}}"
  "{{% set n.x = {} %}}{{% endfor %}}"
)
LONG = "{% set y = 'x' * 9999 %}"
"""Beginnings of templates that would make too much."""


@functools.cache
def tokenizer():
  inner = tokenizers.Tokenizer.from_str(GOLDEN["tokenizer"])
  return data.LibraryTokenizer.of(inner)


def check_tokens(encoder, template):
  rows = zip(GOLDEN["conversations"], GOLDEN["expected"][template], strict=True)
  for turns, expected in rows:
    messages = [Message(*turn) for turn in turns]
    if expected is None:
      with pytest.raises(UserError, match="that the chat template accepts"):
        encoder.encode(messages)
      continue
    found = encoder.encode(messages)
    assert found.ids == expected["ids"]
    assert [*map(int, found.scored)] == expected["mask"]
  if template in GOLDEN["prompts"]:
    found = encoder.encode_prompt(QUESTION[0].content)
    assert found == GOLDEN["prompts"][template]


@pytest.mark.parametrize("template", GOLDEN["own"])
def test_the_tokens_of_answers_are_those_of_transformers(template):
  check_tokens(ChatEncoder(template, tokenizer()), template)


@pytest.mark.parametrize("kind", ["marked", "unmarked"])
@pytest.mark.parametrize("template", GOLDEN["unmarked"])
def test_published_templates_give_the_tokens_of_transformers(template, kind):
  source = JinjaTemplate(GOLDEN[kind][template], GOLDEN["tokens"])
  check_tokens(JinjaEncoder(source, tokenizer()), template)


@pytest.mark.parametrize("template", GOLDEN["own"])
def test_a_template_written_in_jinja_gives_the_same_tokens(template):
  source = JinjaTemplate(as_jinja(template))
  encoder = JinjaEncoder(source, tokenizer())
  check_tokens(encoder, template)
  own = ChatEncoder(template, tokenizer())
  assert encoder.encode_prompt("a question") == own.encode_prompt("a question")


def test_the_loss_may_include_all_messages():
  encoder = JinjaEncoder(JinjaTemplate(PLAIN), tokenizer(), "all")
  found = encoder.encode([*QUESTION, Message("assistant", "15")])
  assert all(found.scored)
  assert found.text == "How much is 7 + 8?15"
  assert tokenizer().inner.decode(found.ids, skip_special_tokens=False) == (
    "user: How much is 7 + 8?</s>assistant: 15</s>"
  )


def test_white_space_around_answers_is_kept():
  encoder = JinjaEncoder(JinjaTemplate(PLAIN), tokenizer())
  found = encoder.encode([*QUESTION, Message("assistant", " 15\n")])
  scored = [i for i, s in zip(found.ids, found.scored, strict=True) if s]
  assert tokenizer().decode(scored) == "15\n"  # Up to the end.
  assert "assistant:  15\n</s>" in tokenizer().inner.decode(
    found.ids, skip_special_tokens=False
  )


@pytest.mark.parametrize(
  ("source", "expected"),
  [
    # Text inside of the marks follows the end: nothing outside is scored.
    ("{% generation %}{{ m.content }}</s>\n{% endgeneration %}", "15</s>\n"),
    ("{% generation %}{{ m.content }}{% endgeneration %}</s>", "15</s>"),
    # As of Llama 2.
    ("{{ m.content }} </s>", "15 </s>"),
  ],
)
def test_an_answer_has_one_end(source, expected):
  source = (
    "{% for m in messages %}{% if m.role == 'user' %}<turn>{{ m.content }}"
    f"{{% else %}}{source}{{% endif %}}{{% endfor %}}"
  )
  encoder = JinjaEncoder(JinjaTemplate(source), tokenizer())
  found = encoder.encode([*QUESTION, Message("assistant", "15"), *QUESTION])
  scored = [i for i, s in zip(found.ids, found.scored, strict=True) if s]
  text = tokenizer().inner.decode(scored, skip_special_tokens=False)
  assert text == expected
  assert tokenizer().inner.id_to_token(encoder.end_id) == "</s>"


@pytest.mark.parametrize(
  ("source", "message"),
  [
    ("{% for %}", "expected a chat template in Jinja"),
    ("x" * (jinja_template.MAX_SOURCE + 1), "expected a chat template in Jin"),
    ("{{ messages[7].content }}", "UndefinedError"),
    ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    ("{{ cycler.__init__.__globals__ }}", "SecurityError"),
    ("{% for i in range(10 ** 9) %}{% endfor %}", "OverflowError"),
    (f"{TWICE}x{2 * END}", "OverflowError"),
    ("{% set _budget = namespace(spend=dict, counted={}.fromkeys) %}"
     f"{TWICE}{2 * END}", "OverflowError"),
    ("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
     "a recursive loop"),
    ("{% for i in range(99) %}{{ (['x' * 9999] * 99) | map('upper') | list }}"
     "{% endfor %}", "OverflowError"),
    ("{{ 'x' * 10 ** 9 }}", "OverflowError"),
    ("{{ 10 ** 10 ** 10 }}", "OverflowError"),
    (f"{DOUBLED.format('n.x + n.x')}", "OverflowError"),
    (f"{DOUBLED.format('n.x ~ n.x')}", "OverflowError"),
    (f"{DOUBLED.format('n.x[::1] ~ n.x')}", "OverflowError"),
    (f"{DOUBLED.format('[n.x, n.x]')}{{{{ n.x }}}}", "OverflowError"),
    (f"{DOUBLED.format('[n.x, n.x]')}{{{{ n.x | string }}}}", "OverflowError"),
    (f"{DOUBLED.format('[n.x, n.x]')}{{{{ n.x | tojson }}}}", "OverflowError"),
    (f"{DOUBLED.format('[n.x, n.x]')}{{{{ n.x | join }}}}", "OverflowError"),
    ("{% macro f(n) %}{{ f(n) ~ f(n) }}{% endmacro %}{{ f(1) }}", "Error"),
    ("{% set n = namespace(x='xx') %}{% for i in range(40) %}{% set n.x %}"
     "{{ n.x }}{{ n.x }}{% endset %}{% endfor %}", "OverflowError"),
    (f"{LONG}{{{{ y.replace('x', y) }}}}", "OverflowError"),
    (f"{LONG}{{{{ y | replace('x', y) }}}}", "OverflowError"),
    (f"{LONG}{{{{ y.join(y) }}}}", "OverflowError"),
    (f"{LONG}{{{{ y | join(y) }}}}", "OverflowError"),
    ("{{ 1 | round(10 ** 9, 'ceil') }}", "OverflowError"),
    ("{{ '%999999999999d' % 1 }}", "TypeError"),
    ("{{ '{:999999999999}'.format(1) }}", "SecurityError"),
    ("{{ 'x'.ljust(10 ** 11) }}", "SecurityError"),
    ("{{ 'x'.encode().ljust(10 ** 11) }}", "SecurityError"),
    ("{{ (1).to_bytes(10 ** 11, 'big') }}", "SecurityError"),
    ("{{ 'x' | center(10 ** 11) }}", "No filter named 'center'"),
    ("{{ [1] | batch(10 ** 9, 0) }}", "No filter named 'batch'"),
    ("{{ messages | tojson(indent=10 ** 9) }}", "OverflowError"),
    ("{% set _ = messages.append(1) %}", "SecurityError"),
    ("{{ raise_exception('no') }}", "TemplateError: no"),
    ("{{ messages | tojson }}", "a special token behind each answer"),
    ("{{ messages[0].content }}", "writes the answers as they are"),
    ("{% for m in messages %}{{ m.content | length }}{% endfor %}",
     "writes the answers as they are"),
    ("{% for m in messages %}{{ m.content }}\n{% endfor %}",
     "a special token behind each answer"),
  ],
)  # fmt: skip
def test_templates_that_fail_are_refused(source, message):
  with pytest.raises(UserError, match="expected") as error:
    JinjaEncoder(JinjaTemplate(source), tokenizer())
  assert message in str(error.value)
  assert len(error.value.lines) <= 3


def test_the_length_of_a_text_follows_that_of_the_messages(monkeypatch):
  monkeypatch.setattr(jinja_sandbox, "CHARACTERS", 400)
  messages = [Message("user", "x" * 10_000), Message("assistant", "y")]
  encoder = JinjaEncoder(JinjaTemplate(PLAIN), tokenizer())
  assert len(encoder.encode(messages).ids) > 1_000
  longer = "{% for i in range(30) %}" + PLAIN + "{% endfor %}"
  with pytest.raises(UserError, match="too many characters"):
    JinjaTemplate(longer).render(messages)


@pytest.mark.parametrize(
  ("files", "expected"),
  [
    ({}, None),
    ({"tokenizer_config.json": {"eos_token": "</s>"}}, None),
    ({"tokenizer_config.json": {"chat_template": "a"}}, ("a", {})),
    (
      {
        "tokenizer_config.json": {
          "chat_template": [
            {"name": "tool_use", "template": "b"},
            {"name": "default", "template": "a"},
          ],
          "bos_token": {"content": "<s>"},
          "add_bos_token": True,
        },
        "special_tokens_map.json": {"eos_token": "</s>", "bos_token": "x"},
      },
      ("a", {"bos_token": "<s>", "eos_token": "</s>"}),
    ),
    # A file of its own prevails.
    (
      {
        "chat_template.jinja": "c",
        "tokenizer_config.json": {"chat_template": "a"},
      },
      ("c", {}),
    ),
    ({"chat_template.json": {"chat_template": "d"}}, ("d", {})),
  ],
)
def test_the_template_of_a_folder_is_read(files, expected, tmp_path):
  for name, content in files.items():
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
  found = read_template(tmp_path)
  assert (found and (found.source, found.tokens)) == expected


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("tokenizer_config.json", b"["),
    ("tokenizer_config.json", b'{"chat_template": 3}'),
    ("tokenizer_config.json", b'{"chat_template": [{"name": "x"}]}'),
    ("chat_template.jinja", b"\xff\xfe"),
    ("chat_template.jinja", b"x" * (4 * jinja_template.MAX_SOURCE + 1)),
    ("special_tokens_map.json", b"3"),
  ],
)
def test_a_malformed_file_of_a_template_is_named(name, content, tmp_path):
  (tmp_path / "chat_template.json").write_text('{"chat_template": "a"}')
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=name):
    read_template(tmp_path)


FEATURES = """\
{%- set ns = namespace(last=0) %}
{%- for m in messages[::-1] %}
    {%- set index = (messages | length - 1) - loop.index0 %}
    {%- if m.role == 'user' and m.content is string and not ns.last %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- macro name(m) %}{{ m['role'] | title }}{% endmacro %}
{%- if tools is defined and tools %}{{ tools | tojson(indent=2) }}{% endif %}
{%- for tool in tools or undefined_name %}{{ tool }}{% endfor %}
{%- for m in messages if m.role != 'system' %}
    {%- if loop.first %}{{ '<s>' }}{% endif %}
    {%- if m.tool_calls %}{{ m.tool_calls }}{% continue %}{% endif %}
    {{- name(m) ~ '/' ~ loop.length ~ loop.last ~ ': ' }}
    {%- set content = m.content.split('</think>')[-1].lstrip('\\n') %}
    {{- content.strip() if m.role == 'user' else content }}
    {{- '</s>\\n' if loop.nextitem is defined else '</s>' }}
{%- else %}{{ 'none' }}
{%- endfor %}
{%- for key, value in {'last': ns.last}.items() %}
    {{- [key, value] | join('=') | replace('=', '-') }}
{%- endfor %}
"""


def test_templates_may_use_what_published_ones_use():
  template = JinjaTemplate(FEATURES)
  rows = (("system", "x"), ("user", " a "), ("assistant", "b"), ("user", "c"))
  messages = [Message(*row) for row in rows]
  text, answers = template.render(messages)
  assert text == (
    "<s>User/3False: a</s>\nAssistant/3False: b</s>\nUser/3True: c</s>last-3"
  )
  assert [text[begin:end] for begin, end in answers] == ["b"]
  assert template.render(messages[:1]).text == "nonelast-0"
