"""Where the data lies: on the device, or on the host and read by batch."""

from dlcore.data import Source
from dlcore.errors import UserError
from dlcore.sharding.partitioner import Partitioner

PLACEMENTS = ("auto", "device", "stream")


def fits_on_device(
  placement: str, partitioner: Partitioner, *sources: Source | None
) -> bool:
  """Returns whether the arrays of `sources` are kept on the device.

  Args:
    placement: `"device"`, `"stream"`, or `"auto"`, which decides by size.
    partitioner: the devices.
    *sources: all data that is used at the same time.

  Raises:
    UserError: `placement` is unknown, or the data is not in memory.
  """
  if placement not in PLACEMENTS:
    raise UserError(
      "expected placement to be 'auto', 'device' or 'stream'",
      f"got {placement!r}",
    )
  arrays = [source.arrays for source in sources if source is not None]
  in_memory = all(part is not None for part in arrays)
  if placement == "device" and not in_memory:
    raise UserError(
      "expected data in memory for placement='device'",
      "got data that is read batch by batch because of its size",
      "use placement='stream'",
    )
  if placement == "stream" or not in_memory:
    return False
  size = sum(array.nbytes for part in arrays for array in (part or {}).values())
  return placement == "device" or size <= partitioner.memory_for_data()
