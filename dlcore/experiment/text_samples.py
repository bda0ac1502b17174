"""Samples of a language model, and translations, for the report."""

import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from dlcore import data, generation
from dlcore.data.info import IGNORED, LABELS, TOKENS
from dlcore.data.text.generated_ids import generated_ids
from dlcore.experiment.build import Experiment
from dlcore.report.data_arrays import spread
from dlcore.tasks.target_decoding import decode_target
from dlcore.training import Samples
from dlcore.typing import Array, ModelState, Params

MIN_STEPS = 20
"""Steps of a run from which samples and tokens of its model are shown. They
take seconds, and fewer steps are a check."""

SAMPLES = 3
PROMPT = 48
"""Tokens of a prompt, or a quarter of a row if it is shorter."""

NEW_TOKENS = 240
SHORT_PROMPT, FEW_NEW_TOKENS = 24, 64
"""The same for samples as training goes on."""

TEMPERATURE = 0.8

logger = logging.getLogger("dlcore")


def training_samples(experiment: Experiment) -> Samples | None:
  """Returns how the model generates texts as training goes on.

  A language model continues 3 texts of the validation split by 64 tokens, at a
  temperature of 0.8 with the seed of the run. A model of pairs translates 3 of
  its texts as in evaluation. None for other models, and for runs of fewer than
  20 steps.

  The texts of `configs/docs_lm.py:gpt2` took 2% of the CPU time of a training
  step, and their compilation 3 s where that of the step took 8 s (two busy
  cores of an AMD EPYC, jax 0.12.0).
  """
  source = experiment.splits.valid
  if source is None or experiment.steps < MIN_STEPS:
    return None
  if source.info.schema.translates:
    return _translations(experiment, source)
  return _continuations(experiment, source, SHORT_PROMPT, FEW_NEW_TOKENS)


def sample_texts(
  experiment: Experiment,
  source: data.Source,
  variables: tuple[Params, ModelState],
) -> dict[str, np.ndarray]:
  """Returns `sample_prompt` and `sample_text` of `report_arrays`.

  The prompts are the beginnings of some rows.

  Args:
    experiment: the parts of the run.
    source: the examples.
    variables: those of the task that evaluation uses.

  Returns:
    An empty dict if the model does not continue texts, or the data has no
    tokenizer.
  """
  samples = _continuations(experiment, source, PROMPT, NEW_TOKENS)
  if samples is None:
    return {}
  try:
    output = jax.device_get(jax.jit(samples.generate)(*variables))
  except Exception as error:  # Samples must not cost the run.
    logger.warning("the report omits samples of the model: %r", error)
    return {}
  return {
    "sample_prompt": np.array(samples.prompts, str),
    "sample_text": np.array(samples.decode(output), str),
  }


def _continuations(
  experiment: Experiment, source: data.Source, prompt: int, new_tokens: int
) -> Samples | None:
  """Returns how a language model continues some rows, None for other models.

  Args:
    experiment: the parts of the run.
    source: the examples.
    prompt: number of tokens of a prompt, or a quarter of a row if it is less.
    new_tokens: largest number of generated tokens.
  """
  schema, model = source.info.schema, experiment.model
  tokenizer = getattr(schema, "tokenizer", None)
  is_other = getattr(model, "head", None) != "lm" or schema.translates
  if is_other or tokenizer is None:
    return None
  ids = source.read(_rows(source))[TOKENS]
  prompts = ids[:, : max(1, min(prompt, ids.shape[1] // 4))]
  begins = [*map(tokenizer.decode, prompts.tolist())]
  end_ids = getattr(schema, "end_ids", ())
  ids_of_text = generated_ids(tokenizer, model, end_ids)

  def generate(params: Params, model_state: ModelState) -> Array:
    """Returns new ids, `[B, T]`, with padding after the end."""
    state = generation.prefill(
      model,
      experiment.task.variables(params, model_state),
      prompts,
      max_new_tokens=min(new_tokens, _room(model, prompts.shape[1])),
    )
    return generation.generate(
      state,
      sampler=generation.sampling(temperature=TEMPERATURE),
      key=jax.random.key(experiment.config["seed"]),
      **ids_of_text._asdict(),
    ).ids

  def decode(output: np.ndarray) -> list[str]:
    # Together, since a space may separate the first word from the prompt.
    return [
      tokenizer.decode([*ids, *new])[len(begin) :]
      for begin, ids, new in zip(
        begins, prompts.tolist(), output.tolist(), strict=True
      )
    ]

  return Samples(begins, generate, decode)


def _translations(experiment: Experiment, source: data.Source) -> Samples:
  """Returns how a model translates some sources, and the true targets."""
  schema: Any = source.info.schema
  batch = source.read(_rows(source))
  tokenizer = schema.output_tokenizer
  labels = np.where(batch[LABELS] == IGNORED, tokenizer.eos_id, batch[LABELS])
  inputs = {name: batch[name] for name in source.info.inputs}
  key = jax.random.key(experiment.config["seed"])

  def generate(params: Params, model_state: ModelState) -> Array:
    rows = experiment.task.predict(params, model_state, inputs, key)
    return rows["predicted"]

  def decode(ids: np.ndarray) -> Sequence[str]:
    return [decode_target(row, tokenizer) or "" for row in ids]

  prompts = schema.display(batch).tolist()
  return Samples(prompts, generate, decode, decode(labels))


def _rows(source: data.Source) -> np.ndarray:
  """Returns the indices of the examples, int32 `[S]`."""
  return spread(np.arange(source.size), SAMPLES).astype(np.int32)


def _room(model: Any, length: int) -> int:
  """Returns how many tokens the model can generate after a prompt."""
  most = getattr(model, "max_length", None)
  return NEW_TOKENS if most is None else most - length + 1
