"""HTML pages about one run or several, from their folders alone."""

from dlcore.report import estimates
from dlcore.report.data_arrays import write_data
from dlcore.report.groups import is_group
from dlcore.report.page import compare, write
from dlcore.report.rate_curves import write_rate_curves
from dlcore.report.search_content import SearchResult, SearchTrial
from dlcore.report.search_page import write_search
from dlcore.report.trivial_remark import trivial_remark

__all__ = [
  "SearchResult",
  "SearchTrial",
  "compare",
  "estimates",
  "is_group",
  "trivial_remark",
  "write",
  "write_data",
  "write_rate_curves",
  "write_search",
]
