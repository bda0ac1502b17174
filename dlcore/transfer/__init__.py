"""Published weights, in and out."""

from dlcore.transfer.export import lowered, save_pretrained
from dlcore.transfer.families import FAMILIES, Family
from dlcore.transfer.pretrained import from_pretrained, load_pretrained
from dlcore.transfer.report import Report

__all__ = [
  "FAMILIES",
  "Family",
  "Report",
  "from_pretrained",
  "load_pretrained",
  "lowered",
  "save_pretrained",
]
