"""Loads and saves published weights, and exports functions."""

from dlcore.transfer.encoders import Encoder, load_encoder
from dlcore.transfer.families import FAMILIES, Family
from dlcore.transfer.families.own import OWN, current_fields
from dlcore.transfer.initialization import initial
from dlcore.transfer.layer_order import Layer, layer_order
from dlcore.transfer.load_report import Report, arrays_sha256, loaded_sha256
from dlcore.transfer.peft.loaded_adapters import Adapters
from dlcore.transfer.peft.loading import adapter_settings, load_adapters
from dlcore.transfer.peft.writing import save_adapters
from dlcore.transfer.phase import Adaptation, Strategy
from dlcore.transfer.pretrained import (
  from_pretrained,
  load_pretrained,
  published_model,
  read_published,
)
from dlcore.transfer.published_tokenizer import Tokenizer, load_tokenizer
from dlcore.transfer.saving import default_family, save_pretrained
from dlcore.transfer.sentence_export import (
  base_encoder,
  save_sentence_encoder,
)
from dlcore.transfer.sentence_modules import SentenceModules, sentence_modules
from dlcore.transfer.special_ids import SpecialIds, load_special_ids
from dlcore.transfer.stablehlo import PLATFORMS, export_stablehlo
from dlcore.transfer.strategies import STRATEGIES
from dlcore.transfer.tokenizer_export import save_tokenizer

__all__ = [
  "FAMILIES",
  "OWN",
  "PLATFORMS",
  "STRATEGIES",
  "Adaptation",
  "Adapters",
  "Encoder",
  "Family",
  "Layer",
  "Report",
  "SentenceModules",
  "SpecialIds",
  "Strategy",
  "Tokenizer",
  "adapter_settings",
  "arrays_sha256",
  "base_encoder",
  "current_fields",
  "default_family",
  "export_stablehlo",
  "from_pretrained",
  "initial",
  "layer_order",
  "load_adapters",
  "load_encoder",
  "load_pretrained",
  "load_special_ids",
  "load_tokenizer",
  "loaded_sha256",
  "published_model",
  "read_published",
  "save_adapters",
  "save_pretrained",
  "save_sentence_encoder",
  "save_tokenizer",
  "sentence_modules",
]
