"""Selects the family of weights: by name, config.json or published names."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dlcore.errors import UserError, lookup
from dlcore.filesystem import quoted
from dlcore.transfer.families import FAMILIES, Family, name_rules, own
from dlcore.transfer.families.config_fields import UNSUPPORTED
from dlcore.transfer.families.name_rules import Rule
from dlcore.transfer.families.own import OWN

TIMM = "timm/"
"""Prefix of the families whose config.json has an architecture of timm."""

CREATE = (
  "create the model by models.create, and load the weights by "
  "transfer.load_pretrained"
)
"""Third line of the error for weights whose model is not known."""


class SelectedFamily(NamedTuple):
  """A family, and its name rules for one model."""

  name: str
  family: Family
  rules: Sequence[Rule]


def by_name(name: str, model: Any, paths: Iterable[str]) -> SelectedFamily:
  """Returns the family `name`, with its rules for a model.

  Args:
    name: key of `FAMILIES`, or "dlcore".
    model: the module.
    paths: paths of the model's variables.

  Raises:
    UserError: the family does not exist, or has no such models.
  """
  if name == OWN:
    return SelectedFamily(OWN, own.FAMILY, [Rule(path, path) for path in paths])
  family = lookup({**FAMILIES, OWN: own.FAMILY}, name, "family of weights")
  if not isinstance(model, family.model):
    raise UserError(
      f"expected a {family.model.__name__}, the model of the family {name!r}",
      f"got a {type(model).__name__}",
      "choose another model or another family",
    )
  return SelectedFamily(name, family, family.rules(model))


def infer(
  config: Mapping[str, Any] | None,
  names: Collection[str],
  model: Any,
  paths: Collection[str],
) -> SelectedFamily:
  """Returns the family of a config.json, or the one that matches most names.

  Args:
    config: content of the config.json, if there is one.
    names: published names.
    model: the module.
    paths: paths of the model's variables.

  Raises:
    UserError: the config.json names an unknown family, or no family of the
      model matches a name.
  """
  if name := config_family(config):
    _check_known(name)
    return by_name(name, model, paths)
  if any(name.startswith("params/") for name in names):
    return by_name(OWN, model, paths)
  candidates = [by_name(name, model, paths) for name in candidate_names(model)]
  scores = [_num_reads(selected, names, paths) for selected in candidates]
  if max(scores, default=0) > 0:
    return candidates[scores.index(max(scores))]
  examples = ", ".join(quoted(name) for name in list(names)[:3])
  matching = _not_inferred(names, model, paths)
  raise UserError(
    f"expected weights of a {type(model).__name__}, in the format of "
    f"{', '.join([*candidate_names(model), OWN])}",
    f"got {len(names)} arrays: {examples or 'none'}",
    f"pass family={matching!r}, whose names they have"
    if matching
    else "pass family=NAME, or choose weights of such a model",
  )


def _not_inferred(
  names: Collection[str], model: Any, paths: Collection[str]
) -> str | None:
  """Returns the family that is never inferred, but has these names."""
  for name, family in FAMILIES.items():
    if family.inferred or not isinstance(model, family.model):
      continue
    try:
      is_family = family.describe(model).get("model_type", name) == name
      if is_family and _num_reads(by_name(name, model, paths), names, paths):
        return name
    except UserError:
      continue
  return None


def candidate_names(model: Any) -> list[str]:
  """Returns the names of the families of a model, the default first."""
  return [
    name
    for name, family in FAMILIES.items()
    if family.inferred and isinstance(model, family.model)
  ]


def config_family(config: Mapping[str, Any] | None) -> str | None:
  """Returns the family that a config.json names, or None."""
  config = config or {}
  if isinstance(model_type := config.get("model_type"), str):
    return model_type
  architecture = str(config.get("architecture", ""))
  matches = [
    name
    for name, family in FAMILIES.items()
    if name.startswith(TIMM) and family.has_architecture(architecture)
  ]
  # ViT and DeiT are one family of two names.
  return max(
    matches,
    key=lambda name: architecture.startswith(name.removeprefix(TIMM)),
    default=None,
  )


def required_family(config: Mapping[str, Any] | None, folder: Any) -> Family:
  """Returns the family of the config.json in a folder.

  Raises:
    UserError: there is no config.json, or it does not name a known family.
  """
  name = config_family(config)
  if name is not None:
    _check_known(name)
    if name == OWN:
      own.check_complete(config or {}, folder)
    return {**FAMILIES, OWN: own.FAMILY}[name]
  expected = f"expected a config.json of a known model in {folder}"
  if config is None:
    raise UserError(expected, "got none", CREATE)
  if architecture := config.get("architecture"):
    raise UserError(
      expected,
      f"got the architecture {quoted(architecture)}",
      UNSUPPORTED,
    )
  raise UserError(expected, "got no model_type", CREATE)


def _check_known(name: str) -> None:
  """Checks the family that a config.json names.

  Raises:
    UserError: it is unknown. The message lists all families, not the nearest
      name: models of similar names differ.
  """
  if name not in (*FAMILIES, OWN):
    known = ", ".join(name for name in FAMILIES if "/" not in name)
    raise UserError(
      f"expected a model_type among {known}",
      f"got {quoted(name)}",
      UNSUPPORTED,
    )


def source_names(
  selected: SelectedFamily, names: Collection[str]
) -> dict[str, str]:
  """Returns the names in a source by the names in the rules.

  They differ by the family's prefix if the source has a head and the model has
  none, or the reverse.
  """
  prefix = selected.family.prefix
  if not prefix:
    return {name: name for name in names}
  sources = {name: name for name in names if _is_known(selected.rules, name)}
  for name in names:
    others = [prefix + name, name.removeprefix(prefix)]
    known = [o for o in others if _is_known(selected.rules, o)]
    key = known[0] if known and known[0] not in sources else name
    sources.setdefault(key, name)
  return sources


def _is_known(rules: Sequence[Rule], name: str) -> bool:
  return any(
    name_rules.match(rule.published, name) is not None for rule in rules
  )


def _num_reads(
  selected: SelectedFamily, names: Collection[str], paths: Collection[str]
) -> int:
  renamed = source_names(selected, names)
  return len(name_rules.assign(selected.rules, renamed, paths).reads)
