"""Loads and saves published weights, and exports functions."""

from dlcore.transfer.families import FAMILIES, Family
from dlcore.transfer.families.own import OWN, current_fields
from dlcore.transfer.initialization import initial
from dlcore.transfer.layer_order import Layer, layer_order
from dlcore.transfer.load_report import Report
from dlcore.transfer.peft.loaded_adapters import Adapters
from dlcore.transfer.peft.loading import adapter_settings, load_adapters
from dlcore.transfer.peft.writing import save_adapters
from dlcore.transfer.pretrained import (
  from_pretrained,
  load_pretrained,
  read_published,
)
from dlcore.transfer.published_tokenizer import Tokenizer, load_tokenizer
from dlcore.transfer.saving import default_family, save_pretrained
from dlcore.transfer.special_ids import SpecialIds, load_special_ids
from dlcore.transfer.stablehlo import PLATFORMS, export_stablehlo
from dlcore.transfer.strategies import STRATEGIES, Adaptation, Strategy

__all__ = [
  "FAMILIES",
  "OWN",
  "PLATFORMS",
  "STRATEGIES",
  "Adaptation",
  "Adapters",
  "Family",
  "Layer",
  "Report",
  "SpecialIds",
  "Strategy",
  "Tokenizer",
  "adapter_settings",
  "current_fields",
  "default_family",
  "export_stablehlo",
  "from_pretrained",
  "initial",
  "layer_order",
  "load_adapters",
  "load_pretrained",
  "load_special_ids",
  "load_tokenizer",
  "read_published",
  "save_adapters",
  "save_pretrained",
]
