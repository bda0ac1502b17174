"""The page about a run or several, written from their folders alone."""

from dlcore.report import estimates, features, predictions
from dlcore.report.groups import is_group
from dlcore.report.page import compare, write

__all__ = [
  "compare",
  "estimates",
  "features",
  "is_group",
  "predictions",
  "write",
]
