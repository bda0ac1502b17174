"""The page about a run, written from its folder alone."""

from dlcore.report import predictions
from dlcore.report.page import write

__all__ = ["predictions", "write"]
