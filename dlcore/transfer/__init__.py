"""Published weights, in and out."""

from dlcore.transfer.export import (
  OWN,
  PLATFORMS,
  lowered,
  preferred,
  save_pretrained,
  write,
)
from dlcore.transfer.families import FAMILIES, Family
from dlcore.transfer.pretrained import from_pretrained, load_pretrained
from dlcore.transfer.report import Report
from dlcore.transfer.tokenizer import Tokenizer, load_tokenizer

__all__ = [
  "FAMILIES",
  "OWN",
  "PLATFORMS",
  "Family",
  "Report",
  "Tokenizer",
  "from_pretrained",
  "load_pretrained",
  "load_tokenizer",
  "lowered",
  "preferred",
  "save_pretrained",
  "write",
]
