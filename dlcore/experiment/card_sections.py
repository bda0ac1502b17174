"""The sections of a model card."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dlcore
from dlcore import trees
from dlcore.experiment import card_text
from dlcore.experiment.card_facts import CardFacts
from dlcore.experiment.card_text import code
from dlcore.experiment.exported_entries import target_notes, target_units_of
from dlcore.report import markup
from dlcore.report.json_values import as_mapping, as_number, as_numbers
from dlcore.report.metric_display import display, format_metric
from dlcore.task import FROZEN
from dlcore.transfer import OWN
from dlcore.transfer.io import sources

MAX_CLASSES = 100
PEFT = "peft"
SENTENCES = "sentence-transformers"
NOT_KNOWN = "not known"
HUB = "https://huggingface.co/"


def body(facts: CardFacts) -> list[str]:
  """Returns the blocks of the card after the front matter."""
  sections = {
    "Data": _data,
    "Initial weights": _initial_weights,
    "Trained parameters": _trained,
    "Training": _training,
    "Scores": _scores,
    "Use": _use,
    "Versions": _versions,
  }
  blocks = [f"# {code(facts.name)}", _head(facts)]
  for title, make in sections.items():
    blocks += [f"## {title}", *make(facts)]
  return [f"{block}\n" for block in blocks]


def _head(facts: CardFacts) -> str:
  variables = facts.run.task.variables(facts.run.params, facts.run.model_state)
  count = trees.count(variables["params"])
  task = f" for the task {code(facts.task_name)}" if facts.task_name else ""
  return (
    f"A model {code(facts.model_name)} of {count:,} parameters, trained on "
    f"{code(facts.run.info.name)}{task}. This card was written by dlcore from "
    "the record of the run."
  )


def _data(facts: CardFacts) -> list[str]:
  """Returns the name, the splits with their checksums, and the classes."""
  info, splits = facts.run.info, facts.run.folder.splits()
  paths = ", ".join(
    f"{code(value)} ({key})" for key, value in facts.data_paths.items()
  )
  names = [code(name) for name in info.schema.classes[:MAX_CLASSES]]
  more = len(info.schema.classes) - len(names)
  names += [f"and {more:,} more"] * (more > 0)
  pairs = {
    "data set": code(info.name),
    "files": paths,
    f"{len(info.schema.classes):,} classes": ", ".join(names),
  }
  rows = [
    [name, f"{split['size']:,}", code(split["sha256"])]
    for name, split in splits.items()
  ]
  return [
    card_text.facts(pairs),
    card_text.table(["split", "examples", "sha256"], rows),
  ]


def _initial_weights(facts: CardFacts) -> list[str]:
  """Returns the source of the weights, its checksum and its license."""
  if not facts.run.config:
    return ["Not recorded."]
  if not facts.source:
    model = facts.run.config["init"]["source"]
    text = "Random"
    text += f", in the model of {_source(model)}." if model else "."
    return [text]
  adapter = facts.run.config["init"]["adapter"]
  sha256 = facts.initial_weights.get("sha256", "")
  pairs = {
    "source": _source(facts.source),
    "sha256 of the loaded arrays": code(sha256) if sha256 else NOT_KNOWN,
    "license": code(facts.license) if facts.license else NOT_KNOWN,
    "adapters": code(card_text.base_name(adapter)) if adapter else "",
  }
  return [card_text.facts(pairs)]


def _source(source: str) -> str:
  """Returns a name on the hub as a link, or the last part of a path."""
  name = source.removeprefix(sources.SCHEME)
  if name == source:
    return code(card_text.base_name(source))
  repository, _, revision = name.partition("@")
  link = f"[{code(repository)}]({HUB}{repository})"
  return f"{link} at {code(revision)}" if revision else link


def _trained(facts: CardFacts) -> list[str]:
  """Returns the strategy, and the numbers of parameters in each phase."""
  blocks = []
  if facts.strategy:
    settings = facts.strategy_settings.items()
    described = ", ".join(f"{key}={value!r}" for key, value in settings)
    name = code(facts.strategy)
    blocks.append(
      f"Strategy {name}" + f", with {code(described)}" * bool(described) + "."
    )
  head = ["phase", "steps", "trained", "frozen"]
  rows = [
    [str(number), *(_number(phase.get(key)) for key in head[1:])]
    for number, phase in enumerate(facts.record.phases, 1)
  ]
  if rows:
    return [*blocks, card_text.table(head, rows)]
  frozen = trees.count(facts.run.model_state.get(FROZEN, {}))
  text = f"{trees.count(facts.run.params):,} parameters were trained"
  return [*blocks, f"{text}, and {frozen:,} were frozen."]


def _number(value: object) -> str:
  number = as_number(value)
  return "" if number is None else markup.format_number(number)


def _training(facts: CardFacts) -> list[str]:
  """Returns steps, optimizer and the choice of the checkpoint."""
  summary = facts.record.summary
  steps = "steps of the last phase" if facts.record.phases[1:] else "steps"
  loading = as_mapping(facts.run.config.get("data"))
  batch = loading.get("batch_size", facts.training.get("batch_size"))
  pairs = {
    steps: _number(summary.get("step")) if facts.is_finished else "",
    "batch size": _number(batch),
    **_optimizer(as_mapping(facts.run.config.get("optim"))),
    "seed": code(facts.record.config.get("seed", NOT_KNOWN)),
    "checkpoint": _checkpoint(facts),
    "time": _duration(summary),
    "machine": ", ".join(
      code(summary[key]) for key in ("machine", "devices") if key in summary
    ),
  }
  warning = "**The run is not finished.**"
  return [*([] if facts.is_finished else [warning]), card_text.facts(pairs)]


def _optimizer(section: Mapping[str, Any]) -> dict[str, str]:
  """Returns the facts of the section `optim`, which a run of `fit` lacks."""
  if not section:
    return {}
  return {
    "optimizer": code(section["name"]),
    "peak learning rate": _number(section["learning_rate"]),
    "schedule": code(section["schedule"]["name"]),
    "weight decay": _number(section.get("weight_decay")),
  }


def _duration(summary: Mapping[str, Any]) -> str:
  seconds = as_number(summary.get("seconds"))
  return "" if seconds is None else markup.format_duration(seconds)


def _checkpoint(facts: CardFacts) -> str:
  """Returns the exported step, and the reason of its choice."""
  step = f"step {facts.run.step:,}"
  if facts.is_finished and not facts.has_scores:
    return f"{step}, which is not the best one"
  best_by = facts.training.get("best_by")
  if "valid" not in facts.run.folder.splits() or not isinstance(best_by, str):
    return step
  order = "lowest" if best_by.startswith("-") else "highest"
  metric = code(best_by.removeprefix("-"))
  return f"{step}, with the {order} {metric} on valid"


def _scores(facts: CardFacts) -> list[str]:
  """Returns the table of scores with intervals and the trivial answer."""
  scores = facts.scores()
  if not scores:
    return ["Not measured for this checkpoint."]
  summary = facts.record.summary if facts.has_scores else {}
  intervals = as_mapping(summary.get("intervals"))
  trivial = as_numbers(summary.get("trivial"))
  metrics = dict.fromkeys(metric for by in scores.values() for metric in by)
  head, columns = ["metric"], []
  for split, values in scores.items():
    head.append(split if split.isidentifier() else code(split))
    columns.append({m: format_metric(m, v) for m, v in values.items()})
    for title, known in (
      (f"95% interval, {head[-1]}", _intervals(intervals, split)),
      (_trivial_title(summary), _of_split(trivial, split)),
    ):
      if known:
        head.append(title)
        columns.append(known)
  rows = [
    [_metric(metric), *(column.get(metric, "") for column in columns)]
    for metric in metrics
  ]
  note = [] if facts.has_scores else ["From the log, before the run has ended."]
  return [*note, card_text.table(head, rows)]


def _metric(name: str) -> str:
  title = display(name).title
  return title if title.replace(" ", "").isalnum() else code(title)


def _trivial_title(summary: Mapping[str, Any]) -> str:
  answer = summary.get("trivial_answer")
  return f"trivial answer: {code(answer)}" if answer else "trivial answer"


def _intervals(content: Mapping[str, Any], split: str) -> dict[str, str]:
  """Returns the intervals of a split as text, by metric."""
  found = {}
  for key, ends in content.items():
    name, _, metric = key.rpartition("/")
    pair = [as_number(end) for end in ends] if isinstance(ends, list) else []
    known = [format_metric(metric, end) for end in pair if end is not None]
    if name == split and len(known) == len(pair) == 2:
      found[metric] = " to ".join(known)
  return found


def _of_split(values: Mapping[str, float], split: str) -> dict[str, str]:
  pairs = ((key.rpartition("/"), value) for key, value in values.items())
  return {
    metric: format_metric(metric, value)
    for (name, _, metric), value in pairs
    if name == split
  }


def _use(facts: CardFacts) -> list[str]:
  """Returns the commands that load the files of this folder."""
  folder = Path(os.path.realpath(facts.output)).name
  if facts.library == SENTENCES:
    return [*_sentence_use(facts, folder), *target_notes(facts.run)]
  if facts.library != PEFT:
    lines = [f"model, variables = transfer.from_pretrained({folder!r})"]
    return [_python(lines), *_units(facts)]
  source = facts.source
  is_hub = source.startswith(sources.SCHEME)
  base = source if is_hub else card_text.base_name(source)
  command = (
    "experiments/train.py --config.init.strategy=lora "
    f"--config.init.source={shlex.quote(base)} "
    f"--config.init.adapter={shlex.quote(folder)} ..."
  )
  blocks = ["To train the adapters further:", card_text.fenced("bash", command)]
  if os.path.isdir(Path(os.path.expanduser(source)) / "checkpoints"):
    return blocks  # A run has no config.json of a family.
  classes = len(facts.run.info.schema.classes)
  if not classes and facts.is_classifier:
    classes = facts.run.model.num_classes  # 1 of a regression.
  size = f", num_classes={classes}" if classes else ""
  lines = [
    f"model, variables = transfer.from_pretrained({base!r}{size})",
    f"adapters = transfer.load_adapters({folder!r}, model, variables)",
    "variables = adapters.merged()",
  ]
  return [_python(lines), *_units(facts), *blocks]


def _sentence_use(facts: CardFacts, folder: str) -> list[str]:
  """Returns the code that computes embeddings or logits of texts."""
  is_classifier = facts.is_classifier
  is_pair = is_classifier and getattr(facts.run.info.schema, "is_pair", False)
  result = "logits" if is_classifier else "embeddings"
  texts = '[("a text", "its second text")]' if is_pair else '["a text"]'
  library = [
    f"model = SentenceTransformer({folder!r})",
    f"{result} = model.encode({texts})",
  ]
  head = "from sentence_transformers import SentenceTransformer"
  blocks = [_python(library, head)]
  if is_pair:
    return [*blocks, "In dlcore, the run itself reads pairs of texts."]
  own = [
    f"extractor = experiment.load_extractor(source={folder!r})",
    f"{result} = extractor.text_features({texts}).values",
  ]
  same = "The same in dlcore:"
  return [*blocks, same, _python(own, "from dlcore import experiment")]


def _units(facts: CardFacts) -> list[str]:
  """Returns a paragraph on the outputs of a regression, if it is one."""
  units = target_units_of(facts.run)
  if units is None:
    return []
  is_log = facts.run.info.schema.target_transform == "log"
  target = "logarithm of the target" if is_log else "target"
  own = (
    f"The model of dlcore predicts the normalized {target}: multiply its "
    f"output by {units.std!r}, and add {units.mean!r}."
  )
  others = f"In {facts.library}: {' '.join(target_notes(facts.run))}"
  return [own if facts.library == OWN else f"{others} {own}"]


def _python(lines: list[str], head: str = "from dlcore import transfer") -> str:
  return card_text.fenced("python", "\n".join([head, "", *lines]))


def _versions(facts: CardFacts) -> list[str]:
  """Returns the versions of the training and of the export."""
  versions = as_mapping(facts.record.summary.get("versions"))
  trained = ", ".join(code(f"{name} {v}") for name, v in versions.items())
  exported = code(f"dlcore {dlcore.__version__}")
  pairs = {"training": trained or NOT_KNOWN, "export": exported}
  return [card_text.facts(pairs)]
