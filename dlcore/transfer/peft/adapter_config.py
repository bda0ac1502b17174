"""The adapter_config.json of PEFT, which is not trusted."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.transfer.config_checks import MAX_INTEGER
from dlcore.transfer.peft import module_names

FILE = "adapter_config.json"

MAX_RANK = 1 << 14

INITIALIZATIONS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Values of `init_lora_weights` that leave the weights of the model as they
are. The others, such as "pissa" and "olora", change them."""

WITHOUT_EFFECT = {
  *("auto_mapping", "base_model_name_or_path", "inference_mode"),
  *("peft_version", "revision", "task_type", "runtime_config", "megatron_core"),
  *("qalora_group_size", "eva_config", "ensure_weight_tying"),
  # The arrays decide which modules have an adapter.
  *("exclude_modules", "layers_pattern", "layers_to_transform"),
}
"""Entries that change no output of an adapter that is read from a file."""

REMEDY = "choose a LoRA adapter without it, or merge it with PEFT"


class AdapterConfig(NamedTuple):
  """The entries of an adapter_config.json that dlcore uses."""

  rank: int = 8
  alpha: float = 8
  rank_pattern: Mapping[str, int] = {}
  """Other ranks by module, see `module_names.value_of`."""

  alpha_pattern: Mapping[str, float] = {}
  rank_stabilized: bool = False
  dora: bool = False
  dropout: float = 0.0
  target_modules: tuple[str, ...] = ()
  """Ends of the names of modules, empty for a regular expression, which is not
  evaluated."""

  has_exceptions: bool = False
  """Whether some of the target modules have no adapter."""

  modules_to_save: tuple[str, ...] = ()
  base_model: str = ""

  def rank_of(self, module: str) -> int:
    """Returns the rank of a module."""
    return module_names.value_of(self.rank_pattern, module, self.rank)

  def scale_of(self, module: str, rank: int) -> float:
    """Returns the factor of the update of a module."""
    alpha = module_names.value_of(self.alpha_pattern, module, self.alpha)
    return scale(alpha, rank, rank_stabilized=self.rank_stabilized)


def scale(alpha: float, rank: int, *, rank_stabilized: bool) -> float:
  """Returns the factor of an update, see `tasks.lora`."""
  return alpha / (math.sqrt(rank) if rank_stabilized else rank)


def parse(entries: Mapping[str, Any], path: Any) -> AdapterConfig:
  """Returns the checked entries of an adapter_config.json.

  Args:
    entries: content of the file.
    path: of the file, for messages.

  Raises:
    UserError: the adapter is of another type, has a variant that dlcore lacks,
      or a value is invalid.
  """
  _check_supported(entries)
  try:
    ranks = _pattern(entries, "rank_pattern", _rank)
    alphas = _pattern(entries, "alpha_pattern", _positive)
    targets = _names(entries, "target_modules")
    return AdapterConfig(
      rank=_rank("r", entries.get("r", 8)),
      alpha=_positive("lora_alpha", entries.get("lora_alpha", 8)),
      rank_pattern=ranks,
      alpha_pattern=alphas,
      rank_stabilized=_flag(entries, "use_rslora"),
      dora=_flag(entries, "use_dora"),
      dropout=_rate("lora_dropout", entries.get("lora_dropout", 0.0)),
      target_modules=targets,
      has_exceptions=any(
        entries.get(name) for name in ("exclude_modules", "layers_to_transform")
      ),
      modules_to_save=_names(entries, "modules_to_save"),
      base_model=_base_model(entries.get("base_model_name_or_path")),
    )
  except ValueError as error:
    raise UserError(
      f"expected a valid adapter_config.json at {path}",
      f"got {error}",
      "download or write the folder again",
    ) from error


def _check_supported(entries: Mapping[str, Any]) -> None:
  """Checks that an adapter is one of LoRA that dlcore can express.

  Raises:
    UserError: it is not.
  """
  if entries.get("peft_type") != "LORA":
    raise UserError(
      "expected an adapter with peft_type='LORA' in adapter_config.json",
      f"got {quoted(entries.get('peft_type'))}",
      "choose an adapter of LoRA, or merge it with PEFT",
    )
  if (bias := entries.get("bias", "none")) not in ("none", None):
    raise UserError(
      "expected bias='none' in adapter_config.json", f"got {quoted(bias)}",
      REMEDY,
    )  # fmt: skip
  value = entries.get("init_lora_weights")
  if not isinstance(value, str | bool | None) or value not in INITIALIZATIONS:
    raise UserError(
      "expected an init_lora_weights that keeps the weights of the model",
      f"got {quoted(value)}",
      "convert the adapter with PEFT: save_pretrained with "
      "path_initial_model_for_weight_conversion",
    )
  for name, entry in entries.items():
    if entry and name not in (*KNOWN, *WITHOUT_EFFECT):
      raise UserError(
        "expected an adapter_config.json of plain LoRA, rsLoRA or DoRA",
        f"got {quoted(name)}: {quoted(entry)}",
        REMEDY,
      )


KNOWN = (
  *("peft_type", "bias", "init_lora_weights", "r", "lora_alpha"),
  *("rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_dropout"),
  *("target_modules", "modules_to_save", "fan_in_fan_out"),
)
"""Entries that `parse` reads. `fan_in_fan_out` does not change the arrays."""


def _pattern(entries: Mapping[str, Any], name: str, check: Any) -> dict:
  """Returns an object of numbers by module.

  Raises:
    ValueError: it is not one.
  """
  value = entries.get(name) or {}
  if not isinstance(value, dict):
    raise ValueError(f"{name}={quoted(value)}")
  module_names.check_patterns(name, value)
  return {key: check(f"{name}[{quoted(key)}]", x) for key, x in value.items()}


def _number(name: str, value: Any) -> float:
  """Returns a finite number.

  Raises:
    ValueError: it is not one.
  """
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  # Compared before it is converted: an integer may exceed a float.
  if not is_number or not -MAX_INTEGER <= value <= MAX_INTEGER:
    raise ValueError(f"{name}={quoted(value)}")
  return value


def _rank(name: str, value: Any) -> int:
  if type(value) is not int or not 1 <= value <= MAX_RANK:
    raise ValueError(
      f"{name}={quoted(value)}, which is not a rank from 1 to {MAX_RANK}"
    )
  return value


def _positive(name: str, value: Any) -> float:
  # Smaller values than 1e-6 would vanish in float32.
  if _number(name, value) < 1e-6:
    raise ValueError(f"{name}={quoted(value)}, which is not above 0")
  return value


def _rate(name: str, value: Any) -> float:
  if not 0 <= _number(name, value) < 1:
    raise ValueError(f"{name}={quoted(value)}, which is not a rate below 1")
  return float(value)


def _flag(entries: Mapping[str, Any], name: str) -> bool:
  value = entries.get(name) or False
  if not isinstance(value, bool):
    raise ValueError(f"{name}={quoted(value)}")
  return value


def _names(entries: Mapping[str, Any], name: str) -> tuple[str, ...]:
  """Returns a list of names, empty for a regular expression.

  Raises:
    ValueError: it is neither.
  """
  value = entries.get(name) or []
  if isinstance(value, str) and name == "target_modules":
    return ()
  if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
    raise ValueError(f"{name}={quoted(value)}")
  return tuple(value)


def _base_model(value: Any) -> str:
  if not isinstance(value, str | None):
    raise ValueError(f"base_model_name_or_path={quoted(value)}")
  return value or ""
