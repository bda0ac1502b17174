"""How arrays are laid out over devices, and how a step is compiled for them."""

from dlcore.sharding.partitioner import Partitioner, partitioner
from dlcore.sharding.placement import fits_on_device
from dlcore.sharding.rules import DATA_AXIS, STATE_RULES, partition_specs

__all__ = [
  "DATA_AXIS",
  "STATE_RULES",
  "Partitioner",
  "fits_on_device",
  "partition_specs",
  "partitioner",
]
