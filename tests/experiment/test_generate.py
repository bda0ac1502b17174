"""generate.py: text from a run, and refusals of other runs and prompts."""

import json

import pytest

from dlcore import experiment, models
from dlcore.errors import UserError
from dlcore.experiment import GenerationSettings

TEXT = "the cat sat on a mat while my dog ran up. " * 50


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The run of a small model of a text that repeats itself."""
  folder = tmp_path_factory.mktemp("language_model")
  (folder / "text.txt").write_text(TEXT)
  config = experiment.complete(
    {
      "data": {
        "name": "text_file",
        "path": str(folder / "text.txt"),
        "batch_size": 8,
        "max_length": 16,
        "sampling": "sequential",
      },
      "model": {"name": "gru", "width": 32, "head": "lm"},
      "task": {"name": "language_model", "carry": True},
      "optim": {"learning_rate": 3e-2, "schedule": {"name": "constant"}},
      "training": {"steps": 300, "eval_batch_size": 2},
      "sharding": {"devices": 1},
    }
  )
  experiment.train(config, folder / "run", progress=False)
  return folder / "run"


def continuation(run, prompt, **settings):
  return "".join(
    experiment.generate_text(run, prompt, GenerationSettings(**settings))
  )


@pytest.mark.slow
def test_a_model_of_a_repeated_text_continues_it(run):
  text = continuation(run, "the cat sat", temperature=0.0, max_new_tokens=20)
  assert text == " on a mat while my d"


@pytest.mark.slow
def test_every_token_of_a_file_but_the_first_is_scored(run, tmp_path):
  (tmp_path / "new.txt").write_text(TEXT[:40])
  rows = list(experiment.predict(run, [tmp_path / "new.txt"]))
  assert [row["tokens"] for row in rows] == [16, 16, 7]


@pytest.mark.slow
def test_an_evaluation_continues_the_carry_of_the_run(run):
  """A run that is read from its folder has no carry; its task has one."""
  summary = experiment.RunFolder(run).read_json("summary.json")["metrics"]
  values = experiment.evaluate(run)
  for name in ("loss", "bits_per_character", "perplexity"):
    assert values[name] == pytest.approx(summary[f"test/{name}"], rel=1e-5)
  assert values["bits_per_byte"] == pytest.approx(values["bits_per_token"])


@pytest.mark.slow
def test_a_model_of_conversations_answers_and_ends(tmp_path):
  lines = [
    json.dumps({"instruction": f"{word}?", "output": f"{word}!"})
    for word in ("yes", "no", "why", "so")
  ]
  (tmp_path / "own.jsonl").write_text("\n".join(lines * 8))
  for split in ("valid", "test"):
    (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
  config = experiment.complete(
    {
      "data": {
        "name": "chat",
        "train": str(tmp_path / "own.jsonl"),
        "valid": str(tmp_path / "valid.jsonl"),
        "test": str(tmp_path / "test.jsonl"),
        "batch_size": 4,
        "max_length": 64,
      },
      "model": {"name": "gpt2", "width": 64, "depth": 2, "num_heads": 2},
      "task": {"name": "language_model"},
      "optim": {"learning_rate": 3e-3, "schedule": {"name": "constant"}},
      "training": {"steps": 200, "eval_batch_size": 2},
      "sharding": {"devices": 1},
    }
  )
  experiment.train(config, tmp_path / "run", progress=False)
  for word in ("yes", "why"):
    assert continuation(tmp_path / "run", f"{word}?", temperature=0.0) == (
      f"{word}!"
    )


@pytest.mark.slow
def test_samples_follow_the_seed_and_beams_need_none(run):
  settings = {"max_new_tokens": 12, "temperature": 3.0, "min_p": 0.01}
  one, same, other = (
    continuation(run, "my dog", seed=seed, **settings) for seed in (1, 1, 2)
  )
  assert one == same != other
  greedy = continuation(run, "my dog", temperature=0.0, max_new_tokens=12)
  beams = continuation(run, "my dog", num_beams=3, max_new_tokens=12)
  assert beams == greedy == " ran up. the"


@pytest.mark.slow
def test_text_ends_before_a_stop_string(run):
  settings = {"temperature": 0.0, "max_new_tokens": 60}
  assert continuation(run, "the", stop=["mat"], **settings).endswith(
    "sat on a "
  )
  pieces = list(
    experiment.generate_text(
      run, "the", GenerationSettings(stop=["mat"], **settings)
    )
  )
  assert len(pieces) > 5  # Token by token.
  assert "m" not in "".join(pieces)


@pytest.mark.slow
def test_the_script_prints_the_prompt_and_its_continuation(run, shell):
  answer = shell(
    "generate",
    f"--workdir={run}",
    "--prompt=the cat é",
    "--temperature=0",
    "--max_new_tokens=5",
  )
  assert answer.code == 0, answer.err
  assert answer.out.startswith("the cat é")
  assert len(answer.out) == len("the cat é") + 5 + 1
  assert "1 of the 9 tokens of the prompt are not in the vocabulary" in (
    "\n".join(answer.err)
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"temperature": -1.0}, "temperature > 0"),
    ({"top_k": -1}, "top_k of at least 0"),
    ({"top_p": 2.0}, "top_p"),
    ({"repetition_penalty": 0.0}, "repetition_penalty"),
    ({"num_beams": 2, "top_k": 3}, "num_beams=1"),
    ({"num_beams": 0}, "num_beams to be an integer >= 1"),
    ({"stop": [""]}, "stop strings"),
  ],
)
def test_settings_out_of_range_are_refused(run, settings, message):
  with pytest.raises(UserError, match=message) as error:
    continuation(run, "the", **settings)
  assert len(error.value.lines) <= 3


def test_an_empty_prompt_and_another_folder_are_refused(tmp_path, shell):
  answer = shell("generate", f"--workdir={tmp_path}", "--prompt=")
  assert (answer.code, answer.err) == (
    2,
    ["error: expected --prompt=VALUE", "  got an empty --prompt"],
  )
  answer = shell("generate", f"--workdir={tmp_path}", "--prompt=a")
  assert answer.code == 2
  assert len(answer.err) <= 3


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"top_k": -1}, "top_k of at least 0"),
    ({"max_new_tokens": -1}, "max_new_tokens of at least 0"),
    ({"max_new_tokens": 3 * 10**9}, "max_new_tokens of at most 1,000,000"),
    ({"seed": 10**20}, "seed of at most"),
    ({"num_beams": 2, "min_p": 0.1}, "num_beams=1"),
  ],
)
def test_settings_are_checked_before_the_run_is_read(settings, message):
  with pytest.raises(UserError, match=message):
    continuation("no such folder", "the", **settings)


def test_a_run_of_another_kind_is_refused(digits):
  workdir, _ = digits
  with pytest.raises(UserError, match="of a language model") as error:
    continuation(workdir, "the")
  assert "without a tokenizer" in error.value.lines[1]


@pytest.mark.slow
def test_a_prompt_longer_than_the_model_is_refused(run):
  restored = experiment.text_generation.restore_run(run, None)
  model = models.GPT2(vocab_size=20, max_length=4)
  check = experiment.text_generation._prompt_ids
  tokenizer = restored.info.schema.tokenizer
  short = restored._replace(model=model)
  assert len(check(short, tokenizer, "the ")) == 4
  with pytest.raises(UserError, match="at most 4 tokens") as error:
    check(short, tokenizer, "the c")
  assert error.value.lines[1:] == ("got 5", "shorten the prompt")
