"""HTML pages about one run or several, from their folders alone."""

from dlcore.report import estimates
from dlcore.report.data_arrays import write_data
from dlcore.report.groups import is_group
from dlcore.report.page import compare, write

__all__ = ["compare", "estimates", "is_group", "write", "write_data"]
