"""The entries of an adapter_config.json that dlcore writes."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from dlcore.transfer.io import sources
from dlcore.transfer.peft import adapter_config, module_names

TASK_TYPES = {
  "ForCausalLM": "CAUSAL_LM",
  "LMHeadModel": "CAUSAL_LM",
  "MTModel": "SEQ_2_SEQ_LM",
  "ForSequenceClassification": "SEQ_CLS",
  "ForTokenClassification": "TOKEN_CLS",
}
"""PEFT's type of task by the end of the name of a class of transformers. PEFT
has none for images."""

HEADS = {
  "SEQ_CLS": ("classifier", "score"),
  "TOKEN_CLS": ("classifier", "score"),
}
"""Modules that PEFT adds to `modules_to_save`, by type of task."""


def entries(
  config: Mapping[str, Any],
  ranks: Mapping[str, int],
  whole: Collection[str],
  others: Collection[str],
  *,
  scale: float,
  rank_stabilized: bool,
  is_transposed: bool,
  base_model: str,
) -> dict[str, Any]:
  """Returns the entries of adapter_config.json.

  Args:
    config: config.json of the model.
    ranks: ranks of the updates by module.
    whole: modules that are saved as a whole.
    others: modules without an update.
    scale: factor of all updates.
    rank_stabilized: see `tasks.lora`.
    is_transposed: whether weights are `[in, out]`, as those of GPT-2.
    base_model: see `save_adapters`.
  """
  [(rank, _)] = Counter(ranks.values()).most_common(1)

  def alpha(rank: int) -> float:
    exact = scale / adapter_config.scale(
      1.0, rank, rank_stabilized=rank_stabilized
    )
    return round(exact) if abs(exact - round(exact)) < 1e-9 else exact

  names = {n: r for n, r in ranks.items() if r != rank}
  by_rank = {
    key: value
    for value in set(names.values())
    for key in _keys([n for n in names if names[n] == value], ranks)
  }
  return {
    "peft_type": "LORA",
    "task_type": _task_type(config, whole),
    **_base_model(base_model),
    "inference_mode": True,
    "r": rank,
    "lora_alpha": alpha(rank),
    "rank_pattern": by_rank,
    "alpha_pattern": {key: alpha(value) for key, value in by_rank.items()},
    "use_rslora": rank_stabilized,
    "target_modules": module_names.targets(ranks, others),
    "modules_to_save": list(whole) or None,
    "bias": "none",
    "fan_in_fan_out": is_transposed,
    "init_lora_weights": True,
  }


def _keys(chosen: Collection[str], adapted: Collection[str]) -> list[str]:
  """Returns names for `rank_pattern` that no other adapted module matches."""
  others = [name for name in adapted if name not in chosen]
  ends = module_names.shortest_ends(chosen, others)
  return [f"^{name}" for name in sorted(chosen)] if ends is None else ends


def _task_type(config: Mapping[str, Any], whole: Collection[str]) -> str | None:
  """Returns PEFT's type of task, None if it has no such type.

  A type whose head is not saved as a whole, as PEFT expects it, is left out.
  """
  [name] = config.get("architectures") or [""]
  for end, task_type in TASK_TYPES.items():
    heads = HEADS.get(task_type)
    if name.endswith(end) and (not heads or set(heads) & set(whole)):
      return task_type
  return None


def _base_model(name: str) -> dict[str, Any]:
  """Returns the entries of the weights that the adapters belong to."""
  if not name.startswith(sources.SCHEME):
    return {"base_model_name_or_path": name or None, "revision": None}
  repository, _, revision = name.removeprefix(sources.SCHEME).partition("@")
  return {
    "base_model_name_or_path": repository,
    "revision": revision or None,
  }
