"""Conversations: formats, the loss on answers, splits and bad input."""

import gzip
import json
import logging
import shutil

import numpy as np
import pytest

from dlcore import data
from dlcore.data.info import IGNORED
from dlcore.data.text.chat_files import Message
from dlcore.data.text.chat_template import ChatEncoder
from dlcore.data.text.symbol_tokenizers import ByteTokenizer
from dlcore.errors import UserError

TURNS = [
  (f"What is {i} plus {i}?", f"It is {2 * i}." + " Indeed." * (i % 3))
  for i in range(12)
]


def messages(question, answer, system=""):
  turns = [("system", system)] * bool(system)
  turns += [("user", question), ("assistant", answer)]
  return {"messages": [{"role": r, "content": c} for r, c in turns]}


def sharegpt(question, answer):
  turns = [("human", question), ("gpt", answer)]
  return {"conversations": [{"from": r, "value": v} for r, v in turns]}


def alpaca(question, answer):
  return {"instruction": question, "input": "", "output": answer}


@pytest.fixture
def load(tmp_path, caplog):
  """Writes objects to a file and loads it: `(splits, notes)`."""

  def load(rows=None, name="own.jsonl", **settings):
    rows = [messages(*turn) for turn in TURNS] if rows is None else rows
    lines = [r if isinstance(r, str) else json.dumps(r) for r in rows]
    content = "".join(f"{line}\n" for line in lines).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if ".gz" in name else content)
    caplog.clear()
    caplog.set_level(logging.WARNING)
    settings = {"max_length": 128, **settings}
    splits = data.load("chat", path=str(path), **settings)
    return splits, "\n".join(splits.train.info.notes)

  return load


def segments(source):
  """The ids and labels of each segment of the rows of a source."""
  parts = []
  arrays = source.arrays
  names = ("input_ids", "labels", "segment_ids", "positions")
  for ids, labels, segment, positions in zip(
    *(arrays[name] for name in names), strict=True
  ):
    for number in range(1, segment.max() + 1):
      at = segment == number
      np.testing.assert_array_equal(positions[at], np.arange(at.sum()))
      parts.append((ids[at], labels[at]))
  return parts


def texts_of(splits):
  decode = splits.train.info.schema.tokenizer.decode
  return [{decode(ids.tolist()) for ids, _ in segments(s)} for s in splits]


@pytest.mark.parametrize("name", ["own.jsonl", "own.jsonl.gz"])
def test_all_formats_give_the_same_rows(load, name):
  expected, _ = load()
  for form in (messages, sharegpt, alpaca):
    splits, _ = load([form(*turn) for turn in TURNS], name)
    for one, other in zip(expected, splits, strict=True):
      assert one.info.sha256 == other.info.sha256
  parts = texts_of(expected)
  assert sum(map(len, parts)) == len(set.union(*parts)) == len(TURNS)


@pytest.mark.parametrize("loss", ["assistant", "all"])
def test_the_labels_are_the_answers_and_their_ends_or_all_tokens(load, loss):
  splits, notes = load(loss=loss)
  decode = splits.train.info.schema.tokenizer.decode
  answers = {f"User: {q}\n\nAssistant: {a}\n\n": a for q, a in TURNS}
  scored = 0
  for source in splits:
    for ids, labels in segments(source):
      whole, kept = decode(ids.tolist()), labels[labels != IGNORED]
      scored += source is splits.train and len(kept)
      expected = whole[1:] if loss == "all" else answers[whole]
      assert decode(kept.tolist()) == expected
      assert ByteTokenizer.eos_id in kept
  assert f"the loss includes {scored:,} of" in notes
  total = sum(source.arrays["num_characters"].sum() for source in splits)
  sizes = [len(a) + (len(q) if loss == "all" else 0) for q, a in TURNS]
  # Of all, the first token of a conversation is no label.
  assert total == pytest.approx(sum(sizes), rel=0.02 * (loss == "all"))


def test_equal_conversations_are_in_one_split_as_groups_are(load):
  rows = [{**messages(*turn), "who": i // 3} for i, turn in enumerate(TURNS)]
  splits, notes = load([*rows, *rows])
  parts = texts_of(splits)
  assert sum(map(len, parts)) == len(TURNS)
  assert "12 of 24 examples repeat others" in notes
  splits, _ = load(rows, group="who", test_fraction=0.25, valid_fraction=0.3)
  groups = [
    {i // 3 for i, (q, _) in enumerate(TURNS) if any(q in t for t in part)}
    for part in texts_of(splits)
  ]
  assert sum(map(len, groups)) == len(set.union(*groups)) == 4


@pytest.mark.parametrize(
  ("line", "reason"),
  [
    ("{", "own.jsonl:13: Expecting property name"),
    ("[1]", "own.jsonl:13: a JSON array; write an object in each line"),
    ('{"text": "a"}', "among the keys 'text'"),
    ('{"messages": [{"role": "tool", "content": "a"}]}', "the role 'tool'"),
    ('{"messages": [{"role": "user", "content": "a"}]}', "no message of the a"),
    ('{"messages": [{"role": "assistant", "content": 3}]}', "content is no te"),
    ('{"instruction": "a", "output": null}', "output is no text"),
    ('{"conversations": 3}', "'conversations' is no list"),
  ],
)
def test_a_malformed_line_is_named_or_skipped(load, line, reason):
  rows = [*(messages(*turn) for turn in TURNS), line]
  with pytest.raises(UserError, match="expected a conversation in") as caught:
    load(rows)
  assert reason in str(caught.value)
  assert len(caught.value.lines) == 3
  splits, notes = load(rows, on_bad="skip")
  assert "1 bad lines were skipped" in notes
  assert sum(map(len, texts_of(splits))) == len(TURNS)


def test_long_conversations_are_truncated_and_counted_or_refused(load):
  rows = [messages(*turn) for turn in TURNS]
  late, wide = messages("why" * 60, "so"), messages("why", "so" * 80)
  splits, notes = load([*rows, late, wide])
  assert "2 of 14 conversations are truncated to 128 tokens: " in notes
  assert "without an answer within max_length were left out: " in notes
  assert sum(map(len, texts_of(splits))) == len(TURNS) + 1
  with pytest.raises(UserError, match=r"got 2 conversations that are too long"):
    load([*rows, late, wide], on_long="error")


def test_a_prompt_is_the_beginning_of_a_conversation():
  encoder = ChatEncoder("plain", ByteTokenizer())
  turn = [Message("user", "Why?"), Message("assistant", "So.")]
  prompt, whole = encoder.encode_prompt("Why?"), encoder.encode(turn).ids
  assert whole[: len(prompt)] == prompt
  answer = whole[len(prompt) :]
  assert answer[: answer.index(encoder.end_id)] == ByteTokenizer().encode("So.")


def test_new_conversations_are_examples(load, tmp_path):
  splits, _ = load()
  info = splits.train.info
  path = tmp_path / "new.jsonl"
  lines = [json.dumps(messages("Why?", "So.")), "{}", json.dumps(alpaca(*"ab"))]
  path.write_text("\n".join(lines))
  batches = list(info.schema.read([path], info, 1))
  names = [name for batch in batches for name in batch.names]
  assert names == [f"{path}:1", f"{path}:3"]
  assert [name for b in batches for name, _ in b.errors] == [f"{path}:2"]
  ids = batches[0].arrays["input_ids"][0]
  kept = batches[0].arrays["segment_ids"][0] > 0
  decoded = info.schema.tokenizer.decode(ids[kept].tolist())
  assert decoded == "User: Why?\n\nAssistant: So.\n\n"
  labels = batches[0].arrays["labels"][0]
  scored = labels[labels != IGNORED].tolist()
  assert info.schema.tokenizer.decode(scored) == "So."


@pytest.fixture(scope="module")
def chat_tokenizer(tmp_path_factory):
  """The path of a tokenizer.json with the tokens of ChatML."""
  tokenizers = pytest.importorskip("tokenizers")
  from dlcore.data.text.tokenizer_training import train_tokenizer

  texts = [text for turn in TURNS for text in turn]
  inner = train_tokenizer(texts, kind="bpe", vocab_size=280).inner
  tokens = ("<|im_start|>", "<|im_end|>")
  inner.add_special_tokens(
    [tokenizers.AddedToken(token, special=True) for token in tokens]
  )
  path = tmp_path_factory.mktemp("chat") / "tokenizer.json"
  path.write_text(inner.to_str())
  return str(path)


def test_roles_are_tokens_that_no_content_contains(load, chat_tokenizer):
  rows = [messages(*turn, system="Be brief.") for turn in TURNS]
  rows[3] = messages("<|im_end|>", "<|im_start|>user")
  settings = {"tokenizer": chat_tokenizer, "template": "chatml"}
  splits, _ = load(rows, **settings)
  schema = splits.train.info.schema
  start, end = map(schema.tokenizer.token_id, ("<|im_start|>", "<|im_end|>"))
  counts = [
    ((ids == start).sum(), (ids == end).sum(), (labels == end).sum())
    for source in splits
    for ids, labels in segments(source)
  ]
  assert sorted(counts) == [(2, 2, 1)] + [(3, 3, 1)] * (len(TURNS) - 1)
  assert schema.end_ids == (end,)
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  assert data.info_from_json(content).schema == schema
  with pytest.raises(UserError, match=r"with the token '<\|start_header_id"):
    load(rows, **{**settings, "template": "llama3"})
  with pytest.raises(UserError, match="kind 'bytes' without it"):
    load(rows, template="chatml")


NO_SYSTEM = (
  "{% for m in messages %}{% if m.role == 'system' %}"
  "{{ raise_exception('no system role') }}{% endif %}"
  "{{ '<|im_start|>' + m.content + eos_token }}{% endfor %}"
)


@pytest.fixture
def folder(chat_tokenizer, tmp_path):
  """A folder of a tokenizer with a chat template."""
  folder = tmp_path / "published"
  folder.mkdir()
  shutil.copy(chat_tokenizer, folder)
  settings = {"chat_template": NO_SYSTEM, "eos_token": "<|im_end|>"}
  (folder / "tokenizer_config.json").write_text(json.dumps(settings))
  return folder


@pytest.mark.parametrize("setting", ["folder", "file", "template"])
def test_the_template_is_the_one_of_the_tokenizer(
  load, folder, chat_tokenizer, tmp_path, setting
):
  settings = {
    "folder": {"tokenizer": str(folder)},
    "file": {"tokenizer": str(folder / "tokenizer.json")},
    "template": {
      "tokenizer": chat_tokenizer,
      "template": str(tmp_path / "own.jinja"),
    },
  }[setting]
  own = NO_SYSTEM.replace("eos_token", "'<|im_end|>'")
  (tmp_path / "own.jinja").write_text(own)
  splits, notes = load(**settings)
  assert "by the template 'jinja'" in notes
  schema = splits.train.info.schema
  answers = {f"{q}{a}": a for q, a in TURNS}
  decode, end = schema.tokenizer.decode, schema.tokenizer.token_id("<|im_end|>")
  for source in splits:
    for ids, labels in segments(source):
      kept = labels[labels != IGNORED]
      assert decode(kept.tolist()) == answers[decode(ids.tolist())]
      assert kept[-1] == end
  assert schema.end_ids == (end,)
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  assert data.info_from_json(content).schema == schema
  # A run with this data has the same template.
  run = tmp_path / "run" / "assets"
  run.mkdir(parents=True)
  (run / "data.json").write_text(json.dumps(content))
  assert load(tokenizer=str(run.parent))[0].train.info.schema == schema


def test_without_a_template_it_is_the_one_of_known_tokens(load, chat_tokenizer):
  schema = load(tokenizer=chat_tokenizer)[0].train.info.schema
  assert schema.template == "chatml"
  assert load()[0].train.info.schema.template == "plain"


def test_a_conversation_that_the_template_refuses_is_named(load, folder):
  rows = [messages(f"question {i}", f"answer {i}") for i in range(60)]
  rows[4] = messages("question", "answer", system="Be brief.")
  with pytest.raises(UserError, match=r"own\.jsonl:5.*no system role"):
    load(rows, tokenizer=str(folder))
  splits, notes = load(rows, tokenizer=str(folder), on_bad="skip")
  assert "own.jsonl:5" in notes
  assert sum(map(len, texts_of(splits))) == len(rows) - 1


@pytest.mark.parametrize(
  ("template", "message"),
  [
    ("chatlm", "did you mean 'chatml'"),
    ("missing.jinja", "No such file"),
    ("chatml", "with the token '<|im_start|>'"),
  ],
)
def test_a_wrong_template_is_refused(load, template, message):
  with pytest.raises(UserError) as error:
    load(template=template)
  assert message in str(error.value)


def test_a_template_in_jinja_has_a_tokenizer_of_its_own(load, tmp_path):
  (tmp_path / "own.jinja").write_text(NO_SYSTEM)
  with pytest.raises(UserError, match=r"tokenizer\.json of the chat template"):
    load(template=str(tmp_path / "own.jinja"))


def test_new_conversations_are_read_in_order_with_their_errors(
  load, folder, tmp_path
):
  schema = load(tokenizer=str(folder))[0].train.info
  rows = [messages("a", "b"), messages("c", "d", system="x"), "{",
          messages("e", "f"), messages("g", "h")]  # fmt: skip
  lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
  path = tmp_path / "new.jsonl"
  path.write_text("\n".join(lines))
  batches = list(schema.schema.read([path], schema, 2))
  names = [[name.rpartition(":")[2] for name in b.names] for b in batches]
  errors = [[name.rpartition(":")[2] for name, _ in b.errors] for b in batches]
  assert names == [["1"], ["4"], ["5"]]
  assert errors == [["2"], ["3"], []]
  sizes = [len(b.arrays["input_ids"]) for b in batches]
  assert sizes == [1, 1, 1]


@pytest.mark.parametrize("system", [None, ""])
def test_an_empty_system_message_is_left_out(load, system):
  rows = [{**sharegpt(*turn), "system": system} for turn in TURNS]
  expected = load([sharegpt(*turn) for turn in TURNS])[0].train.info.sha256
  assert load(rows)[0].train.info.sha256 == expected
