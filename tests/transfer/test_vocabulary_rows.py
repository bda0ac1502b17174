"""Tokens that are added to published weights."""

import jax
import numpy as np
import pytest

from dlcore import models, transfer, trees
from dlcore.errors import UserError

SIZES = {"depth": 1, "width": 8, "num_heads": 2, "max_length": 16}
CASES = {
  "bert": ("bert_base", {**SIZES, "mlp_dim": 16, "head": "mlm"}),
  "gpt2": ("gpt2", {**SIZES, "mlp_dim": 16}),
  "untied": ("llama3_8b", {**SIZES, "mlp_dim": 16, "num_kv_heads": 1}),
}
VOCABULARY = "^model.vocab_size$"


def written(tmp_path, name, **fields):
  """Returns a published folder, its model and its variables."""
  model = models.create(name, vocab_size=11, **fields)
  init = jax.jit(lambda ids: model.init(jax.random.key(1), ids, train=False))
  variables = init(np.zeros((1, 4), np.int32))
  transfer.save_pretrained(tmp_path / "weights", model, variables)
  return tmp_path / "weights", model, variables


@pytest.mark.parametrize("case", CASES)
def test_new_tokens_begin_with_the_mean_of_the_others(case, tmp_path):
  name, fields = CASES[case]
  folder, model, variables = written(tmp_path, name, **fields)
  larger, loaded = transfer.from_pretrained(folder, vocab_size=13)
  assert larger.vocab_size == 13
  before, after = trees.flatten(variables), trees.flatten(loaded)
  changed = [path for path in after if after[path].shape != before[path].shape]
  assert changed
  for path, leaf in before.items():
    leaf, new = np.asarray(leaf), np.asarray(after[path])
    axis = [*leaf.shape].index(11) if path in changed else 0
    kept, added = np.split(new, [leaf.shape[axis]], axis)
    np.testing.assert_array_equal(kept, leaf, err_msg=path)
    mean = leaf.astype(np.float64).mean(axis, keepdims=True)
    np.testing.assert_allclose(
      added, np.repeat(mean, added.shape[axis], axis), atol=1e-7
    )
  # The logits of the known tokens are the same.
  ids = np.array([[3, 1, 10, 4]], np.int32)
  old = model.apply(variables, ids, train=False)
  np.testing.assert_allclose(
    larger.apply(loaded, ids, train=False)[..., :11], old, atol=1e-6
  )


def test_a_larger_vocabulary_must_be_allowed(tmp_path):
  name, fields = CASES["gpt2"]
  folder, model, variables = written(tmp_path, name, **fields)
  larger = model.clone(vocab_size=13)
  shapes = jax.eval_shape(
    lambda: larger.init(
      jax.random.key(0), np.zeros((1, 4), np.int32), train=False
    )
  )
  for source in (folder, variables):
    with pytest.raises(UserError, match=r"vocab_size|word_embedding"):
      transfer.load_pretrained(source, larger, shapes)
    _, report = transfer.load_pretrained(
      source, larger, shapes, allow=VOCABULARY
    )
    assert "new tokens" in report.reshaped["params/word_embedding/embedding"]


@pytest.mark.parametrize("fields", [{"width": 16}, {"vocab_size": 9}])
def test_other_shapes_are_not_new_tokens(fields, tmp_path):
  name, settings = CASES["gpt2"]
  folder, _, _ = written(tmp_path, name, **settings)
  with pytest.raises(UserError):
    transfer.from_pretrained(folder, **{"vocab_size": 13, **fields})
