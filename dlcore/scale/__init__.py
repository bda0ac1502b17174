"""The same step on one device or many."""

from dlcore.scale.parallel import AXIS, DataParallel, data_parallel, on_device

__all__ = ["AXIS", "DataParallel", "data_parallel", "on_device"]
