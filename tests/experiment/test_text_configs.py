"""The variants of the configs of embedded texts."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

from dlcore import experiment, training
from dlcore.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = {
  name: runpy.run_path(str(CONFIGS / f"{name}.py"))
  for name in ("language_id", "reviews")
}
VARIANTS = [
  (name, variant)
  for name, file in FILES.items()
  for variant in file["VARIANTS"]
]


@pytest.mark.parametrize("name", FILES)
def test_the_default_is_the_first_variant_and_others_are_refused(name):
  get_config, variants = FILES[name]["get_config"], FILES[name]["VARIANTS"]
  assert get_config() == get_config(next(iter(variants)))
  for variant, (model, *_) in variants.items():
    config = get_config(variant)
    assert config.data.name == name
    assert config.model.name == model["name"]
  with pytest.raises(UserError, match="did you mean 'gru'"):
    get_config("grue")


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@pytest.mark.fast_cases("language_id-ngram_bag", "reviews-text_cnn")
def test_every_variant_makes_a_step(name, variant):
  parts = experiment.build(FILES[name]["get_config"](variant).to_dict())
  rows = np.arange(16, dtype=np.int32)
  batch = {**parts.splits.train.read(rows), "index": rows, "slot": rows}
  state = jax.eval_shape(
    lambda batch: training.init_state(parts.task, parts.tx, batch), batch
  )
  _, log = jax.eval_shape(
    training.make_step(parts.task, parts.tx), state, batch
  )
  assert {"loss", "accuracy"} <= log.keys()
