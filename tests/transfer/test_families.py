"""Every published naming, by its golden files: in, out, and in again."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from dlcore import transfer
from dlcore.transfer import FAMILIES, naming, safetensors, sources

GOLDEN = Path(__file__).parents[1] / "golden"


def _is_whole(path):
  """Tells whether the config alone makes the model."""
  metadata = safetensors.File(path).metadata
  return "config" in metadata and "settings" not in metadata


FILES = [
  path for path in sorted(GOLDEN.glob("*.safetensors")) if _is_whole(path)
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_published_weights_go_in_and_out(path, tmp_path):
  golden = safetensors.File(path)
  about = golden.metadata
  config = json.loads(about["config"])
  weights = {
    name.removeprefix("weight/"): array
    for name, array in golden.items()
    if name.startswith("weight/")
  }
  folder = tmp_path / "published"
  safetensors.write(folder / sources.WHOLE, weights, {"format": "pt"})
  (folder / sources.CONFIG).write_text(
    json.dumps({"model_type": about["family"], **config})
  )
  model, variables = transfer.from_pretrained(folder)

  # Without a config.json the family is told by the names.
  if FAMILIES[about["family"]].model:
    shapes = jax.eval_shape(lambda: variables)
    loaded, report = transfer.load_pretrained(
      folder / sources.WHOLE, model, shapes
    )
    assert not report.reshaped
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)

  again = tmp_path / "again"
  transfer.save_pretrained(
    again,
    model,
    variables,
    channels=_channels(config),
    family=about["family"],
  )
  written = safetensors.File(again / sources.WHOLE)
  counters = {name for name in written if name.endswith("batches_tracked")}
  assert written.keys() - counters <= weights.keys()
  for name in written.keys() - counters:
    np.testing.assert_array_equal(written[name], weights[name], err_msg=name)
  written = json.loads((again / sources.CONFIG).read_text())
  assert FAMILIES[naming.named(written)].build(written) == model


def _channels(config):
  known = config.get("model_args", {}).get("in_chans")
  return known or config.get("num_channels", 3)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_its_functions(name):
  family = FAMILIES[name]
  assert all(map(callable, (family.rules, family.build, family.config)))
  assert isinstance(family.model, type | None)
