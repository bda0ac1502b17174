"""HTML pages about one run or several, from their folders alone."""

from dlcore.report import estimates
from dlcore.report.groups import is_group
from dlcore.report.page import compare, write
from dlcore.report.rate_curves import write_rate_curves

__all__ = ["compare", "estimates", "is_group", "write", "write_rate_curves"]
