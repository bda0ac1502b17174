"""generate.py: text from a run, and refusals of other runs and prompts."""

import pytest

from dlcore import experiment
from dlcore.errors import UserError
from dlcore.experiment import GenerationSettings

TEXT = "the cat sat on the mat and the dog sat on the log. " * 40


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


def test_a_model_of_a_repeated_text_continues_it(run):
  text = continuation(run, "the cat sat", temperature=0.0, max_new_tokens=20)
  assert text == " on the mat and the "


def test_an_evaluation_continues_the_carry_of_the_run(run):
  """A run that is read from its folder has no carry; its task has one."""
  summary = experiment.RunFolder(run).read_json("summary.json")["metrics"]
  values = experiment.evaluate(run)
  for name in ("loss", "bits_per_character", "perplexity"):
    assert values[name] == pytest.approx(summary[f"test/{name}"], rel=1e-5)
  assert values["bits_per_byte"] == pytest.approx(values["bits_per_token"])


def test_samples_follow_the_seed_and_beams_need_none(run):
  settings = {"max_new_tokens": 12, "temperature": 3.0, "min_p": 0.01}
  one, same, other = (
    continuation(run, "the dog", seed=seed, **settings) for seed in (1, 1, 2)
  )
  assert one == same != other
  greedy = continuation(run, "the dog", temperature=0.0, max_new_tokens=12)
  beams = continuation(run, "the dog", num_beams=3, max_new_tokens=12)
  assert beams == greedy == " sat on the "


def test_text_ends_before_a_stop_string(run):
  settings = {"temperature": 0.0, "max_new_tokens": 60}
  assert continuation(run, "the", stop=["mat"], **settings).endswith("the ")
  pieces = list(
    experiment.generate_text(
      run, "the", GenerationSettings(stop=["mat"], **settings)
    )
  )
  assert len(pieces) > 5  # Token by token.
  assert "m" not in "".join(pieces)


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


def test_an_empty_prompt_is_refused(run, shell):
  answer = shell("generate", f"--workdir={run}", "--prompt=")
  assert (answer.code, answer.err) == (
    2,
    ["expected --prompt=VALUE", "got an empty --prompt"],
  )
