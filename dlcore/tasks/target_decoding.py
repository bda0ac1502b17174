"""Generation of targets by encoder-decoders, and their scores."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import generation, metrics
from dlcore.data import Tokenizer
from dlcore.data.info import IGNORED, IS_EXACT, LABELS, REFERENCE, SOURCE_ID
from dlcore.data.source import Arrays
from dlcore.data.text.generated_ids import generated_ids
from dlcore.data.text.reference_texts import unpack_texts
from dlcore.data.text.target_tokens import start_id
from dlcore.errors import UserError
from dlcore.metrics import Sequences
from dlcore.tasks.class_decisions import decide_class
from dlcore.typing import Array

DECODER_TOKENS = "decoder_input_ids"
"""The argument of an encoder-decoder for the target so far."""

UNKNOWN = -2
"""A token of a reference that no prediction is equal to."""

NO_TOKEN = -1
"""The prediction where the model's outputs are not finite."""


def generator(
  model: Any,
  tokenizer: Tokenizer,
  num_beams: int,
  length_penalty: float,
  max_new_tokens: int,
) -> Callable[..., Array]:
  """Returns `(variables, input_ids [B, S], attention_mask=) -> ids [B, T]`.

  Raises:
    UserError: a setting is out of range.
  """
  _check_generation(num_beams, length_penalty, max_new_tokens)
  options = generated_ids(tokenizer, model)._asdict()

  def generate(variables: Any, ids: Array, attention_mask: Array | None = None):
    state = generation.prefill(
      model,
      variables,
      ids,
      attention_mask=attention_mask,
      max_new_tokens=max_new_tokens or ids.shape[1],
      decoder_start_id=start_id(tokenizer),
    )
    if num_beams == 1:
      key = jax.random.key(0)  # Not used, as the sampler is not random.
      sampler = _most_probable
      return generation.generate(state, sampler=sampler, key=key, **options).ids
    beams = generation.beam_search(
      state, num_beams=num_beams, length_penalty=length_penalty, **options
    )
    is_finite = jnp.isfinite(beams.scores[:, :1])
    return jnp.where(is_finite, beams.ids[:, 0], NO_TOKEN)

  return generate


def _most_probable(key: Array, logits: Array) -> Array:
  """Returns the id of the largest logit, `NO_TOKEN` if one is NaN."""
  del key
  return decide_class(logits)


def _check_generation(
  num_beams: int, length_penalty: float, max_new_tokens: int
) -> None:
  if num_beams < 1:
    raise UserError("expected num_beams of at least 1", f"got {num_beams}")
  if max_new_tokens < 0:
    raise UserError(
      "expected max_new_tokens of at least 0", f"got {max_new_tokens}"
    )
  if not 0 <= length_penalty < math.inf:
    raise UserError(
      "expected length_penalty of at least 0", f"got {length_penalty}"
    )


def score_function(
  tokenizer: Tokenizer, names: Sequence[str]
) -> Callable[[Arrays, Arrays], dict[str, float]]:
  """Returns `Task.score` of the generated targets.

  Raises:
    UserError: see `metrics.check_translation`.
  """
  metrics.check_translation(names)
  # Those of words are tokens already.
  has_parts = tokenizer.kind not in ("spaces", "words")

  def score(rows: Arrays, targets: Arrays) -> dict[str, float]:
    predicted, references, groups = paired(rows, targets, tokenizer)
    rates = metrics.error_rates(predicted, references, groups)
    texts = [to_text(ids, tokenizer) for ids in predicted.rows()]
    others = reference_texts(targets, tokenizer)
    matches = np.array([a == b for a, b in zip(texts, others, strict=True)])
    if REFERENCE not in targets and IS_EXACT in targets:
      matches &= np.asarray(targets[IS_EXACT]) > 0
    values = {
      "exact_match": _share_of_groups(matches, groups),
      "token_error_rate": rates["error_rate"],
    }
    if has_parts:
      words, expected = metrics.words_as_ids([texts, others])
      rates = metrics.error_rates(words, expected, groups)
      values["word_error_rate"] = rates["error_rate"]
    grouped = metrics.grouped_texts(texts, others, groups)
    return values | metrics.translation_scores(names, *grouped)

  return score


def paired(
  rows: Arrays, targets: Arrays, tokenizer: Tokenizer
) -> tuple[Sequences, Sequences, np.ndarray]:
  """Returns generated targets, references, and which belong to one example.

  Args:
    rows: `predicted`, int `[N, T]`, of `generator`.
    targets: `labels`, int `[N, T]`, and perhaps `source_id`, int `[N]`.
    tokenizer: of the target.

  Returns:
    The sequences without their ends, and int `[N]`, see `metrics.least_errors`.
  """
  assert tokenizer.eos_id is not None
  predicted = Sequences.before(rows["predicted"], tokenizer.eos_id)
  references = _references(targets, tokenizer)
  groups = np.arange(len(references.ids))
  if tokenizer.unknown_id is not None:
    is_unknown = references.ids == tokenizer.unknown_id
    ids = np.where(is_unknown, UNKNOWN, references.ids)
    references = references._replace(ids=ids)
  return predicted, references, np.asarray(targets.get(SOURCE_ID, groups))


def reference_texts(targets: Arrays, tokenizer: Tokenizer) -> list[str]:
  """Returns the texts of the targets, of their tokens if there are no others.

  Args:
    targets: `labels`, int `[N, T]`, and perhaps `reference`.
    tokenizer: of the target.
  """
  if REFERENCE in targets:
    return unpack_texts(np.asarray(targets[REFERENCE]))
  rows = _references(targets, tokenizer).rows()
  return [to_text(ids, tokenizer) for ids in rows]


def _references(targets: Arrays, tokenizer: Tokenizer) -> Sequences:
  """Returns the targets without their ends."""
  end = tokenizer.eos_id
  assert end is not None
  labels = targets[LABELS]
  return Sequences.before(np.where(labels == IGNORED, end, labels), end)


def to_text(ids: list[int], tokenizer: Tokenizer) -> str:
  """Returns the text of ids; `NO_TOKEN` counts as an unknown symbol."""
  text = tokenizer.decode([i for i in ids if i != NO_TOKEN])
  return f"{text}\ufffd" if NO_TOKEN in ids else text


def _share_of_groups(matches: np.ndarray, groups: np.ndarray) -> float:
  """Returns the share of the groups of which a row matches."""
  _, numbers = np.unique(groups, return_inverse=True)
  return float(np.mean(np.bincount(numbers, matches) > 0))


def decode_target(ids: np.ndarray, tokenizer: Tokenizer) -> str | None:
  """Returns the text of a generated target, None if it is not finite.

  Args:
    ids: int `[T]`, a row of `generator`.
    tokenizer: of the target.
  """
  assert tokenizer.eos_id is not None
  if (ids == NO_TOKEN).any():
    return None
  [row] = Sequences.before(ids[None], tokenizer.eos_id).rows()
  return tokenizer.decode(row)


def decoder_inputs(
  labels: np.ndarray | Array, tokenizer: Tokenizer
) -> dict[str, Array]:
  """Returns the decoder's inputs for teacher forcing: a start before labels.

  Args:
    labels: int `[B, T]`, the target, with -100 for padding.
    tokenizer: of the target.
  """
  start = start_id(tokenizer)
  labels = jnp.asarray(labels)[:, :-1]
  shifted = jnp.pad(labels, ((0, 0), (1, 0)), constant_values=start)
  ids = jnp.where(shifted == IGNORED, tokenizer.pad_id, shifted)
  return {DECODER_TOKENS: ids}
