"""Exported functions: generation, and those that StableHLO cannot express."""

import functools

import jax
import numpy as np
import pytest
from jax import export
from small_models import initialized

from dlcore import generation, models, transfer
from dlcore.errors import UserError

SMALL = {"vocab_size": 19, "width": 16, "depth": 1, "mlp_dim": 24}
GPT2 = models.GPT2(**SMALL, num_heads=2, max_length=20)
SEQ2SEQ = models.Seq2Seq(vocab_size=19, target_vocab_size=13, width=16, depth=1)
IDS = np.random.default_rng(0).integers(1, 19, (3, 5), np.int32)


SEARCH = functools.partial(generation.beam_search, num_beams=2)
START = {"decoder_start_id": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("model", "settings", "decode"),
  [
    (GPT2, {}, generation.generate),
    (GPT2, {}, SEARCH),
    (SEQ2SEQ, START, generation.generate),
    (SEQ2SEQ, START, SEARCH),
  ],
  ids=["gpt2", "gpt2 search", "seq2seq", "seq2seq search"],
)
def test_generation_is_exported_for_every_batch_size(model, settings, decode):
  weights = initialized(model, *([IDS] * (1 + len(settings))))

  def run(ids, mask):
    state = generation.prefill(
      model, weights, ids, attention_mask=mask, max_new_tokens=4, **settings
    )
    return decode(state, eos_ids=(3,))

  example = {"ids": ((5,), np.int32), "mask": ((5,), np.int32)}
  program = export.deserialize(
    bytearray(transfer.export_stablehlo(lambda **x: tuple(run(**x)), example))
  )
  for batch in (1, 3):
    ids = IDS[:batch]
    mask = np.ones_like(ids)
    mask[0, :2] = 0
    expected = jax.jit(run)(ids, mask)
    for left, right in zip(
      program.call(ids=ids, mask=mask), expected, strict=True
    ):
      np.testing.assert_allclose(left, right, rtol=1e-5)


@pytest.mark.parametrize(
  "function",
  [
    lambda x: x[: len(x)],
    lambda x: x * float(x.sum()),
    lambda x: x if x.shape[0] > 3 else 2 * x,
  ],
)
def test_a_function_that_depends_on_the_batch_size_is_refused(function):
  with pytest.raises(UserError, match="for every batch size B") as error:
    transfer.export_stablehlo(function, {"x": ((2,), np.float32)})
  assert len(error.value.lines) == 3
