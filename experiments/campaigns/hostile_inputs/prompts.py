"""Hostile prompts, texts and files for runs on texts, and their tokenizers."""

import json
import random
import shutil
from pathlib import Path

from hostile_inputs import text_cases, text_data
from hostile_inputs.case import Case, Kind, Script, digits
from hostile_inputs.mutations import mutate_bytes, mutate_json
from hostile_inputs.valid_texts import CONTEXT, FORMAT_OF, FORMATS

DATA, SUMS = "assets/data.json", "sha256.json"
GENERATING = ("story", "context", "pairs")
"""Runs whose models generate texts."""

TOKENIZERS = {
  "table": "words",
  "folder": "characters",
  "running text": "characters",
  "running JSON": "characters",
  "CoNLL": "spaces",
  "table of pairs": "words",
}
"""The kind of tokenizer of the run on each format."""

PROMPTS = (
  *("", " ", "\n", "the", "the \0", "\udcff", "\ud800", "\ufeffthe", "字" * 9),
  *("a" * 20, "a" * 10_000, "a " * 10_000, "é" * 300, "\u0301" * 999, "\t"),
  *("a\tb", "\tb", "a\t", "a\tb\tc", "\r\n", "\u2028", "--prompt=x", "\\u0000"),
  *("<s>", "</s>", "<unk>", "[MASK]", "\x1b[31mred", "{}", '{"text": 1}', "@f"),
)  # fmt: skip


def copy_run(name: str, folder: Path, valid: Path) -> Path:
  """Copies one of the valid runs."""
  return Path(shutil.copytree(valid / "runs" / name, folder / "run"))


def prompt(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A prompt that is empty, long, unknown or no text."""
  name = generator.choice((*GENERATING, *FORMAT_OF))
  text = generator.choice(PROMPTS)
  where = f"--workdir={valid / 'runs' / name}"
  case = Case(
    Script("generate", (where, f"--prompt={text}", "--max_new_tokens=4"))
  )
  if name == "context" and len(text) > CONTEXT:  # Tokens are characters.
    return case._replace(silent=lambda _: "a prompt that is too long")
  return case


def generation(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Extreme settings of the generation."""
  run = valid / "runs" / generator.choice(GENERATING)
  floats = (
    "0",
    "-1",
    "1e-320",
    "1e-45",
    "1e39",
    "nan",
    "inf",
    "-inf",
    "0.5",
    "2",
  )
  integers = ("-1", "0", "1", "5", "1000", "2147483647", "2147483648", "x",
              str(10**30), str(digits(generator)))  # fmt: skip
  flags = {
    "temperature": floats,
    "top_p": floats,
    "min_p": floats,
    "repetition_penalty": floats,
    "top_k": integers,
    "num_beams": integers,
    "no_repeat_ngram_size": integers,
    "max_new_tokens": integers,
    "seed": integers,
    "step": integers,
    "stop": ("", "e", "\0", "a" * 10_000, "\ud800"),
  }
  names = generator.sample(sorted(flags), generator.choice((1, 1, 2, 3)))
  chosen = {"max_new_tokens": "4", "prompt": "the fine"}
  chosen |= {name: generator.choice(flags[name]) for name in names}
  arguments = (f"--{name}={value}" for name, value in chosen.items())
  return Case(Script("generate", (f"--workdir={run}", *arguments)))


def texts(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Texts on the command line of predict.py."""
  run = valid / "runs" / generator.choice(tuple(FORMAT_OF))
  count = generator.choice((1, 2, 40))
  chosen = [f"--text={generator.choice(PROMPTS)}" for _ in range(count)]
  return Case(Script("predict", (f"--workdir={run}", *chosen)))


def files(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Files of predict.py: mutated, or of the format of another run."""
  name = generator.choice(tuple(FORMAT_OF))
  written = generator.choice((FORMAT_OF[name], *FORMATS))
  paths = text_cases.write(written, folder, valid)
  for path in paths[-generator.choice((1, 2)) :]:
    mutate_bytes(path, generator)
  arguments = [f"--workdir={valid / 'runs' / name}"]
  if generator.random() < 0.3:
    suffix = generator.choice(("csv", "jsonl", "txt"))
    arguments.append(f"--output={folder}/rows.{suffix}")
  inputs = generator.choice((map(str, paths[:5]), [str(folder)]))
  return Case(Script("predict", (*arguments, *inputs)))


def damaged_file(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A file of predict.py that is damaged as those of the training data."""
  damages = ("empty", "empty cells", "long", "strange characters", "encoding",
             "line ends", "broken JSON", "missing column")  # fmt: skip
  make = text_data.KIND.written[generator.choice(damages)]
  make(folder, generator, valid)
  run = valid / "runs" / generator.choice(tuple(FORMAT_OF))
  return Case(Script("predict", (f"--workdir={run}", str(folder))))


def tokenizer(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A tokenizer in data.json that is damaged, or that of another run."""
  name = generator.choice(tuple(FORMAT_OF))
  run = copy_run(name, folder, valid)
  content = json.loads((run / DATA).read_text())
  part = folder / "tokenizer.json"
  if generator.random() < 0.3:
    other = generator.choice(tuple(FORMAT_OF))
    source = json.loads((valid / "runs" / other / DATA).read_text())
    content["schema"]["tokenizer"] = source["schema"]["tokenizer"]
  else:
    part.write_text(json.dumps(content["schema"]["tokenizer"]))
    mutate_json(part, generator)
    try:
      content["schema"]["tokenizer"] = json.loads(part.read_text())
    except (ValueError, RecursionError):
      content["schema"]["tokenizer"] = generator.choice((None, [], {}, "x"))
  (run / DATA).write_text(json.dumps(content))
  if generator.random() < 0.7:
    (run / SUMS).unlink()
  return use(name, run, generator, valid)


def use(name: str, run: Path, generator: random.Random, valid: Path) -> Case:
  """Returns the case that predicts, generates, evaluates or continues."""
  where = f"--workdir={run}"
  match generator.randrange(4):
    case 0:
      return Case(Script("evaluate", (where,)))
    case 1 if name in GENERATING:
      arguments = (where, "--prompt=the fine", "--max_new_tokens=4")
      return Case(Script("generate", arguments))
    case 2:
      config = f"--config={valid / name}.py"
      return Case(Script("train", (config, where, "--config.training.steps=4")))
    case _:
      return Case(Script("predict", (where, "--text=the\tfine")))


def tokenizer_file(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A tokenizer.json that is damaged, for training on texts."""
  path = Path(shutil.copy(valid / "tokenizer.json", folder / "tokenizer.json"))
  for _ in range(generator.choice((1, 1, 3))):
    (mutate_json if generator.random() < 0.8 else mutate_bytes)(path, generator)
  name = generator.choice(("table", "running text", "table of pairs"))
  text_cases.write(name, folder, valid)
  tokenizer = f"--config.data.tokenizer={path}"
  if generator.random() < 0.3:
    return text_cases.train_case(name, folder, valid, tokenizer)
  return text_cases.load_case(name, folder, tokenizer=str(path))


def other_weights(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Weights whose tokenizer is not that of the data."""
  name = generator.choice(tuple(TOKENIZERS))
  text_cases.write(name, folder, valid)
  run = generator.choice(tuple(FORMAT_OF))
  overrides = [f"--config.init.source={valid / 'runs' / run}"]
  kind = "spaces"
  if name != "CoNLL":
    kinds = ("words", "characters", "bytes", str(valid / "tokenizer.json"))
    kind = generator.choice(kinds)
    overrides.append(f"--config.data.tokenizer={kind}")
  case = text_cases.train_case(name, folder, valid, *overrides)
  if kind != TOKENIZERS[FORMAT_OF[run]]:
    return case._replace(silent=lambda _: f"weights of {run} with {kind}")
  return case


def training(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Files and settings of train_tokenizer.py."""
  name = generator.choice(("table", "JSON lines", "running text"))
  [path] = text_cases.write(name, folder, valid)
  if generator.random() < 0.6:
    mutate_bytes(path, generator)
  kind = generator.choice(("bpe", "wordpiece", "unigram", "x"))
  size = generator.choice(("300", "300", "0", "-1", "6", "261", str(10**30)))
  column = generator.choice(("text", "text", "", "x", "answer"))
  output = generator.choice((f"{folder}/t.json", "x", "/dev/full", f"{folder}"))
  arguments = (f"--input={path}", f"--kind={kind}", f"--vocab_size={size}",
               f"--column={column}", f"--output={output}")  # fmt: skip
  return Case(Script("train_tokenizer", arguments))


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A valid prompt in which characters were changed."""
  text = bytearray("the fine café number 3".encode())
  for _ in range(generator.choice((1, 3, 20))):
    text[generator.randrange(len(text))] = generator.randrange(1, 256)
  prompt = text.decode("utf-8", "surrogateescape")
  name = generator.choice(tuple(FORMAT_OF))
  where = f"--workdir={valid / 'runs' / name}"
  if name in GENERATING:
    arguments = (where, f"--prompt={prompt}", "--max_new_tokens=4")
    return Case(Script("generate", arguments))
  return Case(Script("predict", (where, f"--text={prompt}")))


KIND = Kind(
  {
    "prompt": prompt,
    "generation": generation,
    "texts": texts,
    "files": files,
    "damaged file": damaged_file,
    "tokenizer of a run": tokenizer,
    "tokenizer.json": tokenizer_file,
    "other weights": other_weights,
    "training of tokenizers": training,
  },
  mutate,
)
