"""Samples of a language model, for the report."""

import logging
from typing import Any

import jax
import numpy as np

from dlcore import data, generation
from dlcore.data.info import TOKENS
from dlcore.experiment.build import Experiment
from dlcore.report.data_arrays import spread
from dlcore.typing import ModelState, Params, PyTree

SAMPLES = 3
PROMPT = 48
"""Tokens of a prompt, or a quarter of a row if it is shorter."""

NEW_TOKENS = 240
TEMPERATURE = 0.8

logger = logging.getLogger("dlcore")


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
    An empty dict if the model does not predict the next token, or the data has
    no tokenizer.
  """
  tokenizer = getattr(source.info.schema, "tokenizer", None)
  if getattr(experiment.model, "head", None) != "lm" or tokenizer is None:
    return {}
  rows = spread(np.arange(source.size), SAMPLES).astype(np.int32)
  ids = source.read(rows)[TOKENS]
  prompts = ids[:, : max(1, min(PROMPT, ids.shape[1] // 4))]
  try:
    model_variables = experiment.task.variables(*variables)
    eos = (tokenizer.eos_id, *getattr(source.info.schema, "end_ids", ()))
    output = _continue(
      experiment.model,
      model_variables,
      prompts,
      tokenizer,
      tuple({*eos} - {None}),
    )
  except Exception as error:  # Samples must not cost the run.
    logger.warning("the report omits samples of the model: %r", error)
    return {}
  texts = []
  for prompt, new in zip(prompts.tolist(), output.tolist(), strict=True):
    begin = tokenizer.decode(prompt)
    # Together, since a space may separate the first word from the prompt.
    texts.append((begin, tokenizer.decode([*prompt, *new])[len(begin) :]))
  begins, ends = zip(*texts, strict=True)
  return {
    "sample_prompt": np.array(begins, str),
    "sample_text": np.array(ends, str),
  }


def _continue(
  model: Any,
  variables: PyTree,
  prompts: np.ndarray,
  tokenizer: Any,
  eos: tuple[int, ...],
) -> np.ndarray:
  """Returns new ids, `[B, T]`, with padding after the end."""
  most = getattr(model, "max_length", None)
  room = NEW_TOKENS if most is None else most - prompts.shape[1] + 1
  # Weights may have more ids than their tokenizer.
  others = {*tokenizer.special_ids} - {*eos}
  others |= {*range(tokenizer.vocab_size, model.vocab_size)}

  @jax.jit
  def generate(variables: PyTree):
    state = generation.prefill(
      model, variables, prompts, max_new_tokens=min(NEW_TOKENS, room)
    )
    return generation.generate(
      state,
      sampler=generation.sampling(temperature=TEMPERATURE),
      key=jax.random.key(0),
      eos_ids=eos,
      suppress_tokens=sorted(others),
      pad_id=tokenizer.pad_id,
    )

  return np.asarray(generate(variables).ids)
