"""Loads and saves published weights."""

from dlcore.transfer.families import FAMILIES, Family
from dlcore.transfer.families.own import OWN, current_fields
from dlcore.transfer.load_report import Report
from dlcore.transfer.pretrained import from_pretrained, load_pretrained
from dlcore.transfer.saving import (
  PLATFORMS,
  lowered,
  preferred,
  save_pretrained,
  write,
)
from dlcore.transfer.tokenizer import Tokenizer, load_tokenizer

__all__ = [
  "FAMILIES",
  "OWN",
  "PLATFORMS",
  "Family",
  "Report",
  "Tokenizer",
  "current_fields",
  "from_pretrained",
  "load_pretrained",
  "load_tokenizer",
  "lowered",
  "preferred",
  "save_pretrained",
  "write",
]
