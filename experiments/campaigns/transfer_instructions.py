"""Teaches a small language model to answer instructions, by adapters alone.

  transfer_instructions.py [--only=lora,full]

A Llama of bytes is trained on lines such as "665782 = six hundred and ...", of
numbers of train of `data.number_words`. Then each strategy of `STRATEGIES`
trains it on chats about other numbers of train, with configs/transfer_lm.py;
`scratch` is trained on the chats alone, `lora` has the rank `RANK`. The answers
to 1,000 numbers of test, chosen greedily, are right if they are equal, and have
an end if the model ended them. The learning rate is the one with the most right
answers to further numbers of train, with another seed. Each run is the command
that a user would type; --workdir keeps finished runs. --output is read by
experiments/results.py.
"""

import json
import statistics
from functools import partial
from pathlib import Path

import jax
import numpy as np
import timed_runs
from absl import flags

from dlcore import command, generation
from dlcore.data.text.frozen import load_table
from dlcore.experiment.restoring import restore_run

Questions = list[tuple[str, str]]

STRATEGIES = ("lora", "full", "scratch")
TUNING, SEEDS = 1, 3
FIRST_RATE = 2e-3
RANK = 16
CHATS, QUESTIONS, DEVELOPMENT = 6_000, 1_000, 500
EPOCHS = 8.0
LENGTH = 128
STEPS = 5_000
"""Of the training on lines."""

BATCH = 250
"""Questions that are answered at a time."""

WORKDIR = flags.DEFINE_string("workdir", "runs/transfer_instructions", "folder")
ONLY = flags.DEFINE_list("only", list(STRATEGIES), "some of the strategies")
COUNT = flags.DEFINE_integer("seeds", SEEDS, "number of seeds")
OUTPUT = flags.DEFINE_string(
  "output",
  "experiments/results/transfer_instructions.json",
  "the file of results",
)


def main():
  """Finishes the runs in --workdir and writes --output."""
  folder = Path(WORKDIR.value).absolute()
  folder.mkdir(parents=True, exist_ok=True)
  development, questions = write_data(folder)
  base = timed_runs.finish(
    "docs_lm:llama",
    folder / "base",
    0,
    {
      "data.name": "text_file",
      "data.path": folder / "lines.txt",
      "data.tokenizer": "bytes",
      "data.max_length": LENGTH,
      "model.max_length": LENGTH,
      "training.steps": STEPS,
    },
  )
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  results["base"] = timed_runs.of_seeds([base])
  for strategy in ONLY.value:
    results[strategy] = timed_runs.with_best_rate(
      partial(_run, folder, strategy, development, questions),
      FIRST_RATE,
      tuning=TUNING,
      draws=COUNT.value,
      metric="answers/right",
    )
    shown = {
      name: statistics.mean(results[strategy]["metrics"][name])
      for name in ("answers/right", "answers/ended")
    }
    print(strategy, shown, flush=True)
    output.write_text(json.dumps(results, indent=1) + "\n")


def write_data(folder: Path) -> tuple[Questions, Questions]:
  """Writes the lines and the chats.

  Returns:
    Questions with answers, for development and for test.
  """
  table = load_table("number_words")
  rows = list(zip(table["number"], table["english"], strict=True))
  train = [r for r, split in zip(rows, table["split"], strict=True)
           if split == "train"]  # fmt: skip
  test = [r for r, split in zip(rows, table["split"], strict=True)
          if split == "test"]  # fmt: skip
  order = np.random.default_rng(0).permutation(len(train))
  chats, development, others = (
    [train[i] for i in part]
    for part in np.split(order, (CHATS, CHATS + DEVELOPMENT))
  )
  lines = [f"{number} = {words}." for number, words in others]
  (folder / "lines.txt").write_text("\n".join(lines) + "\n")
  with (folder / "chats.jsonl").open("w") as file:
    for number, words in chats:
      messages = [
        {"role": "user", "content": _question(number)},
        {"role": "assistant", "content": words},
      ]
      file.write(json.dumps({"messages": messages}) + "\n")
  return tuple(
    [(_question(number), words) for number, words in part]
    for part in (development, test[:QUESTIONS])
  )


def _question(number: str) -> str:
  return f"Write {number} in words."


def _run(
  folder: Path,
  strategy: str,
  development: Questions,
  test: Questions,
  seed: int,
  rate: float,
) -> dict:
  """Returns the summary of a run, with the shares of right answers."""
  run = folder / f"{strategy}_{seed}_{rate:g}"
  summary = timed_runs.finish(
    "transfer_lm:chat",
    run,
    seed,
    {
      "init.source": folder / "base",
      "init.strategy": strategy,
      "data.path": folder / "chats.jsonl",
      **({"init.strategy.rank": RANK} if strategy == "lora" else {}),
      "optim.learning_rate": rate,
      "training.epochs": EPOCHS,
    },
  )
  scores = score(run, development if seed < TUNING else test)
  return {**summary, "metrics": {**summary["metrics"], **scores}}


def score(run: Path, questions: Questions) -> dict[str, float]:
  """Returns the shares of answers that are right, and that have an end."""
  restored = restore_run(run, None)
  schema = restored.info.schema
  variables = restored.task.variables(restored.params, restored.model_state)
  [end_id] = schema.end_ids
  right = ended = 0
  for start in range(0, len(questions), BATCH):
    part = questions[start : start + BATCH]
    rows = [schema.encode_prompt(question) for question, _ in part]
    length = max(map(len, rows))
    ids = np.full((len(rows), length), schema.tokenizer.pad_id, np.int32)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
      ids[i, length - len(row) :], mask[i, length - len(row) :] = row, 1
    state = generation.prefill(
      restored.model,
      variables,
      ids,
      attention_mask=mask,
      max_new_tokens=restored.model.max_length - length,
    )
    output = generation.generate(
      state,
      sampler=generation.greedy,
      key=jax.random.key(0),
      eos_ids=(end_id,),
      pad_id=schema.tokenizer.pad_id,
    )
    for row, (_, answer) in zip(np.asarray(output.ids), part, strict=True):
      ends = np.flatnonzero(row == end_id)
      ended += len(ends) > 0
      kept = row[: ends[0]] if len(ends) else row
      right += schema.tokenizer.decode(kept.tolist()) == answer
  return {
    "answers/right": right / len(questions),
    "answers/ended": ended / len(questions),
  }


if __name__ == "__main__":
  command.run(main)
