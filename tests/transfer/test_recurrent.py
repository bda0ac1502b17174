"""Special cases of the published weights of recurrent networks."""

import json

import pytest
from golden import FOLDER, NAMES

from dlcore.errors import UserError
from dlcore.models import RecurrentNetwork
from dlcore.transfer import FAMILIES
from dlcore.transfer.io.safetensors import File


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("torch_")])
def test_a_written_config_contains_the_arguments_of_torch(name):
  metadata = File(FOLDER / f"{name}.safetensors").metadata
  config = json.loads(metadata["config"])
  family = FAMILIES[metadata["family"]]
  written = family.describe(family.build(config))
  for key in config.keys() & written.keys():
    assert written[key] == config[key]


def test_unsupported_recurrent_networks_are_refused():
  family = FAMILIES["torch/lstm"]
  with pytest.raises(UserError, match="layer_norm"):
    family.rules(RecurrentNetwork(layer_norm=True))
  with pytest.raises(UserError, match="projection"):
    family.build({"model_type": "torch/lstm", "proj_size": 2})
